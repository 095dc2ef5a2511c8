//! Partial summaries of a split's ranges become expertise: exactly what one worker with all sentences would have found.
//!
//! Unit block by unit block, on all cores: a block of every range is read, the blocks are merged and scored. Memory is
//! about three times [`BLOCK_BYTES`] a core, and the scores of a block, 20 bytes a unit and concept; however many ranges and
//! sentences there are, as long as one unit's responses are below it.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Instant};

use lode_domain::{
    concept::ConceptId,
    event::{DroppedSentence, Scored},
    expertise::ExpertiseBlock,
    job::{Job, JobConcept},
    score::Labels,
    summary::PartialBlock,
};
use lode_index::Staging;
use lode_ops::pause_at;
use lode_proto::Fault;
use rayon::prelude::*;
use tokio_util::sync::CancellationToken;

use crate::{commit::Committer, fault, intake::IntakeError, metrics, spool::RangeFile};

/// Bytes of one block of all ranges.
const BLOCK_BYTES: usize = 8 << 20;
/// Units of a block at most.
const MOST_UNITS: usize = 4096;

/// Merges the `ranges` that cover all sentences of `table`, and settles its concepts.
///
/// # Errors
/// If a range cannot be read or does not fit the others, the index does not take a concept, or `stop` fires.
pub(crate) fn merge(
    committer: &Committer,
    table: &Arc<Job>,
    ranges: &[RangeFile],
    units: u32,
    stop: &CancellationToken,
) -> Result<(), Fault> {
    let started = Instant::now();
    // Sentences that have responses are numbered anew, in the same order.
    let kept: Vec<u32> = ranges.iter().flat_map(|range| range.kept.iter().copied()).collect();
    let dropped: Vec<DroppedSentence> = ranges.iter().flat_map(|range| range.dropped.iter().copied()).collect();
    let wanted: Vec<Wanted<'_>> = table
        .concepts
        .iter()
        .filter(|concept| !committer.job.is_settled(&concept.id))
        .map(|concept| Wanted::new(concept, table, &kept, &dropped))
        .collect();
    let scored: Vec<&Wanted<'_>> = wanted.iter().filter(|one| one.outcome.is_ok()).collect();
    let mut staged: BTreeMap<&ConceptId, Staging> = BTreeMap::new();
    if !scored.is_empty() {
        for one in &scored {
            staged.insert(&one.concept.id, committer.stage(one.concept)?);
        }
        let classes: Vec<(&[u32], &[u32])> = scored.iter().map(|one| (&one.positive[..], &one.negative[..])).collect();
        let labels = Labels::new(kept.len(), &classes).map_err(Fault::internal)?;
        let block_units = (BLOCK_BYTES / (4 * kept.len().max(1))).clamp(1, MOST_UNITS) as u32;
        let blocks: Vec<Range<u32>> =
            (0..units).step_by(block_units as usize).map(|start| start..(start + block_units).min(units)).collect();
        // A batch of blocks at a time, so that what is scored does not run ahead of what is stored.
        for (batch, few) in blocks.chunks(rayon::current_num_threads().max(1)).enumerate() {
            if stop.is_cancelled() {
                return Err(Fault::cancelled("the job was stopped while its partial summaries were merged"));
            }
            let merged: Vec<Vec<ExpertiseBlock>> =
                few.par_iter().map(|block| merged(ranges, block.clone(), &labels)).collect::<Result<_, Fault>>()?;
            for block in merged {
                for (one, expertise) in scored.iter().zip(block) {
                    if let Some(staging) = staged.get_mut(&one.concept.id) {
                        staging.write(&expertise).map_err(fault::of_index)?;
                    }
                }
            }
            if batch == 0 {
                pause_at("coordinator-merge");
            }
        }
    }
    metrics::MERGE_SECONDS.observe(started.elapsed());
    tracing::info!(
        concepts = wanted.len(),
        ranges = ranges.len(),
        sentences = kept.len(),
        seconds = started.elapsed().as_secs_f32(),
        "partial summaries merged"
    );
    for one in wanted {
        let settled = committer.settle(table, one.concept, staged.remove(&one.concept.id), one.outcome);
        settled.map_err(|error| match error {
            IntakeError::Own(fault) | IntakeError::Worker(fault) => fault,
        })?;
    }
    Ok(())
}

/// A concept that is to be scored.
struct Wanted<'a> {
    concept: &'a JobConcept,
    /// Over the sentences that have responses.
    positive: Vec<u32>,
    negative: Vec<u32>,
    outcome: Result<Scored, String>,
}

impl<'a> Wanted<'a> {
    fn new(concept: &'a JobConcept, table: &Job, kept: &[u32], dropped: &[DroppedSentence]) -> Self {
        let places = |numbers: &[u32]| -> Vec<u32> {
            numbers.iter().filter_map(|number| kept.binary_search(number).ok()).map(|place| place as u32).collect()
        };
        let (positive, negative) = (places(&concept.positive), places(&concept.negative));
        let findings = concept.dropped(&table.sentences, dropped);
        let outcome = Scored::of(positive.len(), negative.len(), findings);
        Self { concept, positive, negative, outcome }
    }
}

/// One block of units for all concepts, `[concept]`.
fn merged(ranges: &[RangeFile], units: Range<u32>, labels: &Labels) -> Result<Vec<ExpertiseBlock>, Fault> {
    let mut parts = Vec::with_capacity(ranges.len());
    let mut first = 0;
    for range in ranges {
        let numbers: Vec<u32> = (first..first + range.kept.len() as u32).collect();
        first += range.kept.len() as u32;
        let responses = range.read(units.clone())?;
        parts.push(PartialBlock::new(units.start, units.len() as u32, numbers, responses).map_err(Fault::internal)?);
    }
    // Neighbours first: every response is copied as often as the ranges can be halved, not as often as there are ranges.
    while parts.len() > 1 {
        let pairs = parts.chunks(2).map(|pair| match pair {
            [left, right] => left.merge(right),
            rest => Ok(rest[0].clone()),
        });
        parts = pairs.collect::<Result<_, _>>().map_err(Fault::internal)?;
    }
    let whole = parts.pop().ok_or_else(|| Fault::internal("a split without ranges"))?;
    whole.finish(labels).map_err(Fault::internal)
}
