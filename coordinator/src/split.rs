//! A split under way: its table of sentences, and which ranges are there.

use std::{ops::Range, sync::Arc};

use lode_domain::{concept::ConceptId, event::Planned, id::ShardId, job::Job};

use crate::{
    board::{Task, Work},
    job_run::number_of,
    spool::{RangeFile, SplitRecord, Spool},
};

/// Ranges are numbered as shards from here on, far above those of whole concepts.
const FIRST_SHARD: u64 = 1_000_000;

/// See the module.
pub(crate) struct SplitState {
    record: SplitRecord,
    /// The split's concepts over the sentences that they need.
    pub(crate) table: Arc<Job>,
    /// `[range]`
    tokens: Vec<u64>,
    preferred: Vec<Option<String>>,
    kept: Vec<Option<RangeFile>>,
}

impl SplitState {
    /// A new split of concepts of `job`.
    pub(crate) fn begin(
        record: SplitRecord,
        job: &Job,
        tokens: Vec<u64>,
        preferred: Vec<Option<String>>,
    ) -> Option<Self> {
        let table = Arc::new(table(&record, job)?);
        let kept = record.ranges.iter().map(|_| None).collect();
        Some(Self { record, table, tokens, preferred, kept })
    }

    /// A split that was under way before a restart, with the ranges that are on the disk; `None` if it is not one of what
    /// is left of `job`, or was computed in another precision.
    pub(crate) fn resume(record: SplitRecord, whole: &Job, left: &Job, spool: &Spool, precision: &str) -> Option<Self> {
        let is_left = record.concepts.iter().any(|concept| number_of(left, concept).is_some());
        if record.precision != precision || !is_left {
            return None;
        }
        // The ranges are over the sentences of all concepts of the split, those that are settled too.
        let table = Arc::new(table(&record, whole)?);
        if record.ranges.last().map(|range| range.end as usize) != Some(table.sentences.len()) {
            return None;
        }
        let kept: Vec<Option<RangeFile>> =
            (0..).zip(&record.ranges).map(|(number, range)| spool.finished(number, range, record.units)).collect();
        tracing::info!(
            ranges = kept.len(),
            there = kept.iter().flatten().count(),
            "a split goes on with the ranges that are there"
        );
        let bytes = |range: &Range<u32>| {
            table.sentences[range.start as usize..range.end as usize].iter().map(|text| 1 + text.len() as u64 / 4).sum()
        };
        let tokens = record.ranges.iter().map(bytes).collect();
        let preferred = vec![None; kept.len()];
        Some(Self { record, table, tokens, preferred, kept })
    }

    /// The concepts.
    pub(crate) fn concepts(&self) -> &[ConceptId] {
        &self.record.concepts
    }

    /// The float type that its responses were computed in.
    pub(crate) fn precision(&self) -> &str {
        &self.record.precision
    }

    /// Units of the model.
    pub(crate) fn units(&self) -> u32 {
        self.record.units
    }

    /// A range of the table's sentences.
    pub(crate) fn range(&self, number: u32) -> Range<u32> {
        self.record.ranges[number as usize].clone()
    }

    /// Shards of the ranges that are missing.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = (ShardId, Task)> {
        let missing = self.kept.iter().enumerate().filter(|(_, kept)| kept.is_none());
        missing.map(|(number, _)| {
            let task = Task::new(Work::Range(number as u32), self.tokens[number], self.preferred[number].clone());
            let task = task.of(self.record.ranges[number].len() as u64);
            (ShardId(FIRST_SHARD + number as u64), task)
        })
    }

    /// A range is there.
    pub(crate) fn keep(&mut self, number: u32, range: RangeFile) {
        self.kept[number as usize] = Some(range);
    }

    /// Whether all ranges are there.
    pub(crate) fn is_whole(&self) -> bool {
        self.kept.iter().all(Option::is_some)
    }

    /// The ranges, for the merge.
    pub(crate) fn into_ranges(self) -> Vec<RangeFile> {
        self.kept.into_iter().flatten().collect()
    }

    /// What watchers are told of a split that goes on.
    pub(crate) fn planned(&self, workers: u32) -> Planned {
        let listed = |concept: &lode_domain::job::JobConcept| (concept.positive.len() + concept.negative.len()) as u64;
        let missing = self.record.ranges.iter().zip(&self.kept).filter(|(_, kept)| kept.is_none());
        Planned {
            shards: self.record.ranges.len() as u32,
            concepts: self.record.concepts.len() as u32,
            split_concepts: self.record.concepts.len() as u32,
            distinct_sentences: self.table.sentences.len() as u32,
            run_sentences: missing.map(|(range, _)| range.len() as u32).sum(),
            listed_sentences: self.table.concepts.iter().map(listed).sum(),
            workers,
        }
    }
}

fn table(record: &SplitRecord, job: &Job) -> Option<Job> {
    let numbers: Option<Vec<u32>> = record.concepts.iter().map(|concept| number_of(job, concept)).collect();
    numbers.map(|numbers| job.part(&numbers))
}
