//! What a shard's worker sends becomes expertise in the index, concept by concept.
//!
//! Runs on a blocking thread: the channel before it is short, so a slow disk slows the worker's stream down and nothing
//! is dropped.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use lode_domain::{
    concept::Concept,
    event::{JobEvent, Progress, Scored, ShardEvent},
    id::ModelHash,
    job::{Job, JobConcept},
    lint::{Finding, lint},
    query::IndexedConcept,
    record::{ConceptHeader, ConceptKey},
};
use lode_index::{Index, Staging};
use lode_proto::Fault;
use tokio::sync::mpsc;

use crate::{fault, job::JobHandle, metrics};

/// One shard's way into the index.
pub(crate) struct Intake {
    pub(crate) index: Index,
    pub(crate) job: Arc<JobHandle>,
    pub(crate) model: ModelHash,
    pub(crate) precision: String,
    /// The shard, as it was sent to the worker.
    pub(crate) shard: Arc<Job>,
}

/// What became of a shard's concepts.
#[derive(Default)]
pub(crate) struct Taken {
    /// Places in the shard that need no other run: indexed, or failed for good.
    pub(crate) settled: Vec<u32>,
    /// Why the rest is missing, if the intake itself failed.
    pub(crate) fault: Option<Fault>,
}

impl Intake {
    /// Takes events until the channel closes; `progress` hears of the forward passes.
    pub(crate) fn run(self, mut events: mpsc::Receiver<ShardEvent>, progress: impl Fn(Progress)) -> Taken {
        let mut taken = Taken::default();
        let mut staged: BTreeMap<u32, Staging> = BTreeMap::new();
        while let Some(event) = events.blocking_recv() {
            let done = match event {
                ShardEvent::Progress(now) => {
                    progress(now);
                    Ok(())
                }
                ShardEvent::Block { concept, block } => self
                    .staging(&mut staged, concept)
                    .and_then(|staging| staging.write(&block).map_err(fault::of_index)),
                ShardEvent::ConceptDone { concept, outcome } => {
                    self.settle(concept, staged.remove(&concept), outcome).map(|()| taken.settled.push(concept))
                }
            };
            if let Err(fault) = done {
                taken.fault = Some(fault);
                break;
            }
        }
        taken
    }

    fn concept(&self, place: u32) -> Result<&JobConcept, Fault> {
        let concept = self.shard.concepts.get(place as usize);
        concept
            .ok_or_else(|| Fault::internal(format!("the worker sent concept {place}, which its shard does not have")))
    }

    fn staging<'s>(&self, staged: &'s mut BTreeMap<u32, Staging>, place: u32) -> Result<&'s mut Staging, Fault> {
        use std::collections::btree_map::Entry;
        match staged.entry(place) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let staging = self.index.stage(&self.key(place)?).map_err(fault::of_index)?;
                Ok(entry.insert(staging))
            }
        }
    }

    fn key(&self, place: u32) -> Result<ConceptKey, Fault> {
        let concept = self.concept(place)?.id.clone();
        Ok(ConceptKey { model: self.model, concept, recipe: self.job.spec.recipe })
    }

    /// Commits a concept, or notes why it cannot be had.
    fn settle(&self, place: u32, staging: Option<Staging>, outcome: Result<Scored, String>) -> Result<(), Fault> {
        let concept = self.concept(place)?;
        let scored = match outcome {
            Ok(scored) => scored,
            Err(error) => {
                self.job.tell(JobEvent::ConceptFailed { concept: concept.id.clone(), error });
                return Ok(());
            }
        };
        let mut findings = strict_findings(&self.shard, concept);
        findings.extend(scored.findings);
        findings.sort_by_key(|finding| finding.kind);
        if self.job.spec.strict && !findings.is_empty() {
            self.job.tell(JobEvent::ConceptFailed { concept: concept.id.clone(), error: strict_error(&findings) });
            return Ok(());
        }
        let staging = staging.ok_or_else(|| Fault::internal(format!("`{}` came without blocks", concept.id)))?;
        let header = ConceptHeader {
            positives: scored.positives,
            negatives: scored.negatives,
            findings,
            precision: self.precision.clone(),
            limit_per_class: self.job.spec.limit_per_class,
            seed: self.job.spec.seed,
            units: 0,
        };
        let started = Instant::now();
        staging.commit(&header).map_err(fault::of_index)?;
        metrics::COMMIT_SECONDS.observe(started.elapsed());
        let key = self.key(place)?;
        let header = self.index.header(&key).map_err(fault::of_index)?;
        self.job.tell(JobEvent::ConceptIndexed(IndexedConcept { concept: key.concept, recipe: key.recipe, header }));
        Ok(())
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
