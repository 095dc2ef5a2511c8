//! Mining jobs: what is sent, in pieces that fit a message, and what is told of them.

use lode_domain::{
    event::{JobEvent, JobSpec, JobState, JobStatus, Planned, Progress},
    id::{JobId, ShardId},
    job::{Job, JobConcept},
    plan::SplitMode,
    query::IndexedConcept,
    record::ConceptHeader,
};

use super::{BadField, details, each, parsed, required, same_enum, words};
use crate::wire::{self, job_event::Event, job_part::Part};

same_enum!(JobState, JobState, "state", Running, Done, Failed, Cancelled);
same_enum!(SplitMode, SplitMode, "split", Auto, Always, Never);

/// Bytes of sentence text that go into one message: far below gRPC's usual limit of 4 MiB.
const PART_BYTES: usize = 256 * 1024;

impl From<JobSpec> for wire::JobSpec {
    fn from(spec: JobSpec) -> Self {
        Self {
            model: spec.model.to_string(),
            recipe: Some(spec.recipe.into()),
            limit_per_class: spec.limit_per_class,
            seed: spec.seed,
            strict: spec.strict,
            split: wire::SplitMode::from(spec.split).into(),
            measures: words::measures_to_wire(spec.measures),
        }
    }
}

impl TryFrom<wire::JobSpec> for JobSpec {
    type Error = BadField;

    fn try_from(spec: wire::JobSpec) -> Result<Self, BadField> {
        Ok(Self {
            model: parsed(&spec.model, "model")?,
            split: spec.split().try_into()?,
            recipe: words::recipe(spec.recipe)?,
            limit_per_class: spec.limit_per_class,
            seed: spec.seed,
            strict: spec.strict,
            measures: words::measures(spec.measures)?,
        })
    }
}

/// Cuts a job into messages: its sentences, then its concepts.
pub fn job_parts(job: Job) -> impl Iterator<Item = wire::JobPart> {
    let mut texts = job.sentences.into_iter().peekable();
    let sentences = std::iter::from_fn(move || {
        texts.peek()?;
        let mut part = wire::job_part::Sentences::default();
        let mut bytes = 0;
        while bytes < PART_BYTES {
            let Some(text) = texts.next() else { break };
            bytes += text.len();
            part.texts.push(text);
        }
        Some(Part::Sentences(part))
    });
    let concepts = job.concepts.into_iter().map(|concept| {
        let (positive, negative) = (concept.positive, concept.negative);
        Part::Concept(wire::job_part::Concept { id: Some(concept.id.into()), positive, negative })
    });
    sentences.chain(concepts).map(|part| wire::JobPart { part: Some(part) })
}

/// Bytes of memory that a job's sentences and concepts may take: several millions of sentences.
pub const MOST_JOB_BYTES: u64 = 256 << 20;

/// Puts a job's messages together again.
#[derive(Debug)]
pub struct JobAssembly {
    job: Option<Job>,
    /// Bytes that may still come.
    room: u64,
    /// Bytes that may come in all.
    most: u64,
}

impl Default for JobAssembly {
    fn default() -> Self {
        Self::with_room(MOST_JOB_BYTES)
    }
}

impl JobAssembly {
    /// An assembly that takes a job of so many bytes at most.
    pub fn with_room(bytes: u64) -> Self {
        Self { job: None, room: bytes, most: bytes }
    }

    /// Takes the next message.
    ///
    /// # Errors
    /// If it says nothing, a concept names sentences that have not come, or the job becomes too large.
    pub fn take(&mut self, part: wire::JobPart) -> Result<(), BadField> {
        let bytes = part.part.as_ref().map_or(0, bytes_of);
        let most = self.most >> 20;
        self.room = self.room.checked_sub(bytes).ok_or_else(|| {
            BadField::new(
                "part",
                format!("the job has more than {most} MiB of sentences and concepts: mine them in several jobs"),
            )
        })?;
        let job = self.job.get_or_insert_with(|| Job { sentences: Vec::new(), concepts: Vec::new() });
        match required(part.part, "part")? {
            Part::Sentences(sentences) => job.sentences.extend(sentences.texts),
            Part::Concept(concept) => {
                let id = words::concept(concept.id)?;
                let known = job.sentences.len();
                if let Some(bad) = concept.positive.iter().chain(&concept.negative).find(|&&s| s as usize >= known) {
                    return Err(BadField::new("concept", format!("`{id}` names sentence {bad} of {known}")));
                }
                job.concepts.push(JobConcept { id, positive: concept.positive, negative: concept.negative });
            }
        }
        Ok(())
    }

    /// The whole job.
    ///
    /// # Errors
    /// If no concept came.
    pub fn finish(self) -> Result<Job, BadField> {
        match self.job {
            Some(job) if !job.concepts.is_empty() => Ok(job),
            _ => Err(BadField::new("part", "no concept was sent")),
        }
    }

    /// Sentences without concepts, `[sentence]`.
    ///
    /// # Errors
    /// If none came, or a concept did.
    pub fn finish_sentences(self) -> Result<Vec<String>, BadField> {
        match self.job {
            Some(job) if !job.concepts.is_empty() => Err(BadField::new("part", "a concept was sent among sentences")),
            Some(job) if !job.sentences.is_empty() => Ok(job.sentences),
            _ => Err(BadField::new("part", "no sentence was sent")),
        }
    }
}

/// Bytes that a part of a job takes in memory, about.
fn bytes_of(part: &Part) -> u64 {
    match part {
        Part::Sentences(sentences) => {
            let text = |text: &String| (size_of::<String>() + text.len()) as u64;
            sentences.texts.iter().map(text).sum()
        }
        Part::Concept(concept) => {
            let labels = 4 * (concept.positive.len() + concept.negative.len());
            (size_of::<JobConcept>() + labels) as u64
                + concept.id.as_ref().map_or(0, |id| id.group.len() + id.name.len()) as u64
        }
    }
}

/// The wire form of a mined concept.
impl From<IndexedConcept> for wire::ConceptSummary {
    fn from(indexed: IndexedConcept) -> Self {
        let header = indexed.header;
        Self {
            concept: Some(indexed.concept.into()),
            recipe: Some(indexed.recipe.into()),
            positives: header.positives,
            negatives: header.negatives,
            findings: each(header.findings),
            precision: header.precision,
            limit_per_class: header.limit_per_class,
            seed: header.seed,
            units: header.units,
            measures: words::measures_to_wire(header.measures),
            held_out_positives: header.held_out.0,
            held_out_negatives: header.held_out.1,
            details: details::to_wire(header.details),
        }
    }
}

impl TryFrom<wire::ConceptSummary> for IndexedConcept {
    type Error = BadField;

    fn try_from(summary: wire::ConceptSummary) -> Result<Self, BadField> {
        Ok(Self {
            concept: words::concept(summary.concept)?,
            recipe: words::recipe(summary.recipe)?,
            header: ConceptHeader {
                positives: summary.positives,
                negatives: summary.negatives,
                findings: words::findings(summary.findings)?,
                precision: summary.precision,
                limit_per_class: summary.limit_per_class,
                seed: summary.seed,
                units: summary.units,
                measures: words::measures(summary.measures)?,
                held_out: (summary.held_out_positives, summary.held_out_negatives),
                details: details::from_wire(summary.details)?,
            },
        })
    }
}

impl From<Progress> for wire::Progress {
    fn from(progress: Progress) -> Self {
        Self {
            tokens_done: progress.tokens_done,
            tokens_total: progress.tokens_total,
            sentences_done: progress.sentences_done,
            sentences_total: progress.sentences_total,
        }
    }
}

impl From<wire::Progress> for Progress {
    fn from(progress: wire::Progress) -> Self {
        Self {
            tokens_done: progress.tokens_done,
            tokens_total: progress.tokens_total,
            sentences_done: progress.sentences_done,
            sentences_total: progress.sentences_total,
        }
    }
}

impl From<JobEvent> for wire::JobEvent {
    fn from(event: JobEvent) -> Self {
        let event = match event {
            JobEvent::Planned(planned) => Event::Planned(wire::job_event::Planned {
                shards: planned.shards,
                concepts: planned.concepts,
                distinct_sentences: planned.distinct_sentences,
                listed_sentences: planned.listed_sentences,
                workers: planned.workers,
                split_concepts: planned.split_concepts,
                run_sentences: planned.run_sentences,
            }),
            JobEvent::Progress(progress) => Event::Progress(progress.into()),
            JobEvent::ConceptIndexed(indexed) => Event::ConceptIndexed(indexed.into()),
            JobEvent::ConceptFailed { concept, error } => {
                Event::ConceptFailed(wire::job_event::ConceptFailed { concept: Some(concept.into()), error })
            }
            JobEvent::ShardRetried { shard, error } => {
                Event::ShardRetried(wire::job_event::ShardRetried { shard: shard.0, error })
            }
            JobEvent::Ended { state, error } => {
                Event::Ended(wire::job_event::Ended { state: wire::JobState::from(state).into(), error })
            }
        };
        Self { event: Some(event) }
    }
}

impl TryFrom<wire::JobEvent> for JobEvent {
    type Error = BadField;

    fn try_from(event: wire::JobEvent) -> Result<Self, BadField> {
        Ok(match required(event.event, "event")? {
            Event::Planned(planned) => Self::Planned(Planned {
                shards: planned.shards,
                concepts: planned.concepts,
                distinct_sentences: planned.distinct_sentences,
                listed_sentences: planned.listed_sentences,
                workers: planned.workers,
                split_concepts: planned.split_concepts,
                run_sentences: planned.run_sentences,
            }),
            Event::Progress(progress) => Self::Progress(progress.into()),
            Event::ConceptIndexed(summary) => Self::ConceptIndexed(summary.try_into()?),
            Event::ConceptFailed(failed) => {
                Self::ConceptFailed { concept: words::concept(failed.concept)?, error: failed.error }
            }
            Event::ShardRetried(retried) => Self::ShardRetried { shard: ShardId(retried.shard), error: retried.error },
            Event::Ended(ended) => Self::Ended { state: ended.state().try_into()?, error: ended.error },
        })
    }
}

impl From<JobStatus> for wire::Job {
    fn from(status: JobStatus) -> Self {
        Self {
            job: status.id.0,
            model: status.model.to_string(),
            state: wire::JobState::from(status.state).into(),
            concepts: status.concepts,
            indexed: status.indexed,
            failed: status.failed,
            progress: Some(status.progress.into()),
            error: status.error,
        }
    }
}

impl TryFrom<wire::Job> for JobStatus {
    type Error = BadField;

    fn try_from(job: wire::Job) -> Result<Self, BadField> {
        Ok(Self {
            id: JobId(job.job),
            model: parsed(&job.model, "model")?,
            state: job.state().try_into()?,
            concepts: job.concepts,
            indexed: job.indexed,
            failed: job.failed,
            progress: job.progress.unwrap_or_default().into(),
            error: job.error,
        })
    }
}
