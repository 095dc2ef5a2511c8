//! What is said while a job runs: by a worker of its shard, by the coordinator of the whole job.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    closer::Details,
    concept::ConceptId,
    criterion::Measures,
    expertise::{ExpertiseBlock, Recipe},
    holdout::Classes,
    id::{JobId, ModelName, ShardId},
    lint::{Finding, FindingKind},
    plan::SplitMode,
    query::IndexedConcept,
};

/// How far the forward passes of a shard or a job are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Tokens run.
    pub tokens_done: u64,
    /// Tokens known of so far: shards count theirs when they start.
    pub tokens_total: u64,
    /// Distinct sentences run.
    pub sentences_done: u32,
    /// Distinct sentences in all.
    pub sentences_total: u32,
}

impl std::ops::AddAssign for Progress {
    fn add_assign(&mut self, other: Self) {
        // What a worker says is not to be trusted with the sum.
        self.tokens_done = self.tokens_done.saturating_add(other.tokens_done);
        self.tokens_total = self.tokens_total.saturating_add(other.tokens_total);
        self.sentences_done = self.sentences_done.saturating_add(other.sentences_done);
        self.sentences_total = self.sentences_total.saturating_add(other.sentences_total);
    }
}

/// A worker on its shard; concepts are numbered by their place in the shard.
#[derive(Clone, Debug, PartialEq)]
pub enum ShardEvent {
    /// Forward passes go on.
    Progress(Progress),
    /// Expertise of some units in one concept.
    Block {
        /// Place of the concept.
        concept: u32,
        /// The units' expertise.
        block: ExpertiseBlock,
    },
    /// All blocks of a concept were sent, or it could not be scored.
    ConceptDone {
        /// Place of the concept.
        concept: u32,
        /// What was scored, or why nothing was.
        outcome: Result<Scored, String>,
    },
    /// For a shard of sentences without concepts, before its blocks: those that have no responses, ascending.
    Dropped(Vec<DroppedSentence>),
    /// Responses of the next units, in unit order, to all other sentences of such a shard.
    Partial(PartialUnits),
}

/// Responses of consecutive units to the sentences of a shard that were not dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct PartialUnits {
    /// Number of the first unit.
    pub start: u32,
    /// How many units.
    pub units: u32,
    /// `[unit, sentence]`
    pub responses: Vec<f32>,
}

/// A sentence that is not scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedSentence {
    /// Its place in the shard.
    pub sentence: u32,
    /// Why: [`FindingKind::Empty`] or [`FindingKind::TooLong`].
    pub kind: FindingKind,
}

/// What a concept's score rests on.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Scored {
    /// Positive sentences scored.
    pub positives: u32,
    /// Negative sentences scored.
    pub negatives: u32,
    /// Positive and negative sentences held out.
    pub held_out: (u32, u32),
    /// What was dropped: empty and too long sentences.
    pub findings: Vec<Finding>,
    /// What a closer look at leading units found.
    pub details: Details,
}

impl Scored {
    /// A score of the labels that are left after dropping what `findings` tell, some of them held out if so measured.
    ///
    /// # Errors
    /// If a class is empty, the text says what was dropped; or if it has nothing to hold out.
    pub fn of(classes: &Classes, measures: &Measures, findings: Vec<Finding>) -> Result<Self, String> {
        let Classes { positive, negative, held_positive, held_negative } = classes;
        let class_of = |positives: &[u32]| if positives.is_empty() { "positive" } else { "negative" };
        if !positive.is_empty() && !negative.is_empty() {
            if measures.holdout.is_some() && (held_positive.is_empty() || held_negative.is_empty()) {
                let class = class_of(held_positive);
                return Err(format!("its {class} sentences are all the same, so none can be held out"));
            }
            let count = |class: &[u32]| class.len() as u32;
            let held_out = (count(held_positive), count(held_negative));
            let (positives, negatives, details) = (count(positive), count(negative), Details::default());
            return Ok(Self { positives, negatives, held_out, findings, details });
        }
        let class = class_of(positive);
        let dropped: Vec<String> = findings.iter().map(|f| format!("{} {}", f.count, f.kind)).collect();
        Err(format!("no {class} sentence is left after dropping {}", dropped.join(" and ")))
    }
}

/// What a job was asked to do, apart from its sentences.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSpec {
    /// The model.
    pub model: ModelName,
    /// How responses are taken.
    pub recipe: Recipe,
    /// How many sentences of each class were drawn at most; recorded with the result.
    pub limit_per_class: u32,
    /// Seed of the draw; recorded with the result.
    pub seed: u64,
    /// Whether empty, too long and repeated sentences and ones in both classes are errors.
    pub strict: bool,
    /// Whether concepts may be split by sentences over several workers; the result is the same.
    pub split: SplitMode,
    /// What is measured beside AP.
    pub measures: Measures,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Shards are waiting or running.
    Running,
    /// Every concept is in the index.
    Done,
    /// At least one concept is not; those that are stay.
    Failed,
    /// Someone stopped it; concepts that were indexed before stay.
    Cancelled,
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        })
    }
}

/// The coordinator on a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEvent {
    /// The plan stands.
    Planned(Planned),
    /// Forward passes go on, over all shards.
    Progress(Progress),
    /// A concept is in the index for good.
    ConceptIndexed(IndexedConcept),
    /// A concept could not be mined.
    ConceptFailed {
        /// Which.
        concept: ConceptId,
        /// Why.
        error: String,
    },
    /// A shard broke off and runs again.
    ShardRetried {
        /// Which.
        shard: ShardId,
        /// Why.
        error: String,
    },
    /// Nothing more will come.
    Ended {
        /// How it ended.
        state: JobState,
        /// Why it failed; empty otherwise.
        error: String,
    },
}

/// How a job is divided, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Shards: of whole concepts, and ranges of sentences of those that are split.
    pub shards: u32,
    /// Concepts.
    pub concepts: u32,
    /// How many of them are split by sentences.
    pub split_concepts: u32,
    /// Distinct sentences.
    pub distinct_sentences: u32,
    /// Sentences that will run, once for every shard that needs one and whose worker does not hold it from before.
    pub run_sentences: u32,
    /// Sum over concepts and classes: what a loop over concepts would run.
    pub listed_sentences: u64,
    /// Workers that have the model.
    pub workers: u32,
}

/// A job in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct JobStatus {
    /// Its id.
    pub id: JobId,
    /// The model it mines.
    pub model: ModelName,
    /// Where it stands.
    pub state: JobState,
    /// Concepts asked for.
    pub concepts: u32,
    /// Concepts in the index.
    pub indexed: u32,
    /// Concepts that could not be mined.
    pub failed: u32,
    /// Forward passes.
    pub progress: Progress,
    /// Why it failed; empty otherwise.
    pub error: String,
}
