//! The last step of a concept's way into the index, whichever way its expertise came.

use std::{sync::Arc, time::Instant};

use lode_domain::{
    concept::Concept,
    event::{JobEvent, Scored},
    id::ModelHash,
    job::{Job, JobConcept},
    lint::{Finding, lint},
    query::IndexedConcept,
    record::{ConceptHeader, ConceptKey},
};
use lode_index::{Index, IndexError, Staging};
use lode_ops::pause_at;
use lode_proto::Fault;

use crate::{fault, intake::IntakeError, job::JobHandle, metrics};

/// Settles concepts of one job, each once, whoever comes first.
pub(crate) struct Committer {
    pub(crate) index: Index,
    pub(crate) job: Arc<JobHandle>,
    pub(crate) model: ModelHash,
    pub(crate) precision: String,
}

impl Committer {
    /// Under what a concept stands in the index.
    pub(crate) fn key(&self, concept: &JobConcept) -> ConceptKey {
        ConceptKey { model: self.model, concept: concept.id.clone(), recipe: self.job.spec.recipe }
    }

    /// Room for a concept's expertise.
    pub(crate) fn stage(&self, concept: &JobConcept) -> Result<Staging, Fault> {
        self.index.stage_measured(&self.key(concept), self.job.spec.measures).map_err(fault::of_index)
    }

    /// Commits a concept of `table`, or notes why it cannot be had; does nothing if somebody has, or is about to.
    ///
    /// # Errors
    /// If what came is not whole, or the index does not take it.
    pub(crate) fn settle(
        &self,
        table: &Job,
        concept: &JobConcept,
        staging: Option<Staging>,
        outcome: Result<Scored, String>,
    ) -> Result<(), IntakeError> {
        if outcome.is_ok() && staging.is_none() && !self.job.is_done(&concept.id) {
            return Err(IntakeError::Worker(Fault::internal(format!("`{}` came without blocks", concept.id))));
        }
        if !self.job.claim(&concept.id) {
            return Ok(());
        }
        let settled = self.settle_claimed(table, concept, staging, outcome);
        if settled.is_err() {
            // Whoever comes next may have it.
            self.job.unclaim(&concept.id);
        }
        settled
    }

    fn settle_claimed(
        &self,
        table: &Job,
        concept: &JobConcept,
        staging: Option<Staging>,
        outcome: Result<Scored, String>,
    ) -> Result<(), IntakeError> {
        let scored = match outcome {
            Ok(scored) => scored,
            Err(error) => {
                self.job.tell(JobEvent::ConceptFailed { concept: concept.id.clone(), error });
                return Ok(());
            }
        };
        let mut findings = strict_findings(table, concept);
        findings.extend(scored.findings);
        findings.sort_by_key(|finding| finding.kind);
        if self.job.spec.strict && !findings.is_empty() {
            self.job.tell(JobEvent::ConceptFailed { concept: concept.id.clone(), error: strict_error(&findings) });
            return Ok(());
        }
        let Some(staging) = staging else {
            return Err(IntakeError::Worker(Fault::internal(format!("`{}` came without blocks", concept.id))));
        };
        let header = ConceptHeader {
            positives: scored.positives,
            negatives: scored.negatives,
            findings,
            precision: self.precision.clone(),
            limit_per_class: self.job.spec.limit_per_class,
            seed: self.job.spec.seed,
            units: 0,
            held_out: scored.held_out,
            measures: self.job.spec.measures,
            details: scored.details,
        };
        pause_at("coordinator-commit");
        let started = Instant::now();
        staging.commit(&header).map_err(of_staging)?;
        metrics::COMMIT_SECONDS.observe(started.elapsed());
        pause_at("coordinator-committed");
        let key = self.key(concept);
        let header = self.index.header(&key).map_err(|error| IntakeError::Own(fault::of_index(error)))?;
        self.job.tell(JobEvent::ConceptIndexed(IndexedConcept { concept: key.concept, recipe: key.recipe, header }));
        Ok(())
    }
}

/// Whose fault it is that blocks cannot be staged or committed.
pub(crate) fn of_staging(error: IndexError) -> IntakeError {
    match error {
        IndexError::Incomplete { .. }
        | IndexError::OutOfRange { .. }
        | IndexError::Twice { .. }
        | IndexError::OtherColumns { .. }
        | IndexError::BadValue { .. } => IntakeError::Worker(Fault::internal(error)),
        other => IntakeError::Own(fault::of_index(other)),
    }
}

/// What can be said of a concept's sentences without a tokenizer: repeated ones and ones in both classes.
///
/// Empty and too long ones are found, and dropped, where the tokenizer is: on the worker.
pub(crate) fn strict_findings(job: &Job, concept: &JobConcept) -> Vec<Finding> {
    let texts = |numbers: &[u32]| numbers.iter().map(|&s| job.sentences[s as usize].clone()).collect();
    let (positive, negative) = (texts(&concept.positive), texts(&concept.negative));
    let mut findings = lint(&Concept { id: concept.id.clone(), positive, negative }, None);
    use lode_domain::lint::FindingKind::{BothClasses, Duplicate};
    findings.retain(|finding| matches!(finding.kind, Duplicate | BothClasses));
    findings
}

/// The error that findings are under `--strict`.
pub(crate) fn strict_error(findings: &[Finding]) -> String {
    let told: Vec<String> = findings.iter().map(|f| format!("{} ({}: {})", f.kind, f.count, f.example)).collect();
    format!("--strict: {}", told.join(", "))
}
