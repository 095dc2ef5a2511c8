//! Partial summaries of a split's ranges become expertise: exactly what one worker with all sentences would have found.
//!
//! Unit block by unit block, on all cores: a block of every range is read, the blocks are merged and scored. Memory is
//! about three times [`BLOCK_BYTES`] a core, and the scores of a block, 20 bytes a unit and concept and 4 for each criterion beside AP; however many ranges and
//! sentences there are, as long as one unit's responses are below it.

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Instant};

use lode_domain::{
    closer::{self, Details, Leaders},
    concept::ConceptId,
    criterion::Measures,
    event::{DroppedSentence, Scored},
    expertise::ExpertiseBlock,
    holdout::Classes,
    job::{Job, JobConcept},
    summary::{PartialBlock, Scheme},
    unit::UnitId,
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
        .filter(|concept| !committer.job.is_done(&concept.id))
        .map(|concept| Wanted::new(concept, table, (&kept, &dropped), &committer.job.spec.measures))
        .collect();
    let scored: Vec<&Wanted<'_>> = wanted.iter().filter(|one| one.outcome.is_ok()).collect();
    let mut staged: BTreeMap<&ConceptId, Staging> = BTreeMap::new();
    let mut details: BTreeMap<ConceptId, Details> = BTreeMap::new();
    let measures = committer.job.spec.measures;
    if !scored.is_empty() {
        for one in &scored {
            staged.insert(&one.concept.id, committer.stage(one.concept)?);
        }
        let classes: Vec<&Classes> = scored.iter().map(|one| &one.classes).collect();
        let scheme = Scheme::new(kept.len(), &classes, measures).map_err(Fault::internal)?;
        let block_units = (BLOCK_BYTES / (4 * kept.len().max(1))).clamp(1, MOST_UNITS) as u32;
        let blocks: Vec<Range<u32>> =
            (0..units).step_by(block_units as usize).map(|start| start..(start + block_units).min(units)).collect();
        let mut leaders = vec![Leaders::new(&measures); scored.len()];
        // A batch of blocks at a time, so that what is scored does not run ahead of what is stored.
        for (batch, few) in blocks.chunks(rayon::current_num_threads().max(1)).enumerate() {
            if stop.is_cancelled() {
                return Err(stopped());
            }
            let merged: Vec<Vec<ExpertiseBlock>> =
                few.par_iter().map(|block| merged(ranges, block.clone(), &scheme)).collect::<Result<_, Fault>>()?;
            for block in merged {
                for ((one, expertise), leaders) in scored.iter().zip(block).zip(&mut leaders) {
                    leaders.take(&expertise);
                    if let Some(staging) = staged.get_mut(&one.concept.id) {
                        staging.write(&expertise).map_err(fault::of_index)?;
                    }
                }
            }
            if batch == 0 {
                pause_at("coordinator-merge");
            }
        }
        if measures.looks_closer() {
            let look = |(one, leaders): (&&Wanted<'_>, &Leaders)| {
                let found = closer::look(&measures, &one.classes, leaders, |unit, row| {
                    if stop.is_cancelled() { Err(stopped()) } else { whole_row(ranges, unit, row) }
                })?;
                Ok((one.concept.id.clone(), found))
            };
            details = scored.par_iter().zip(&leaders).map(look).collect::<Result<_, Fault>>()?;
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
    for mut one in wanted {
        if let (Ok(scored), Some(found)) = (&mut one.outcome, details.remove(&one.concept.id)) {
            scored.details = found;
        }
        let settled = committer.settle(table, one.concept, staged.remove(&one.concept.id), one.outcome);
        settled.map_err(|error| match error {
            IntakeError::Own(fault) | IntakeError::Worker(fault) => fault,
        })?;
    }
    Ok(())
}

fn stopped() -> Fault {
    Fault::cancelled("the job was stopped while its partial summaries were merged")
}

/// A concept that is to be scored.
struct Wanted<'a> {
    concept: &'a JobConcept,
    /// Over the sentences that have responses.
    classes: Classes,
    outcome: Result<Scored, String>,
}

impl<'a> Wanted<'a> {
    fn new(
        concept: &'a JobConcept,
        table: &Job,
        (kept, dropped): (&[u32], &[DroppedSentence]),
        measures: &Measures,
    ) -> Self {
        let places = |numbers: &[u32]| -> Vec<u32> {
            numbers.iter().filter_map(|number| kept.binary_search(number).ok()).map(|place| place as u32).collect()
        };
        let whole = Classes::whole(places(&concept.positive), places(&concept.negative));
        let classes = whole.split(measures.holdout, |place| &table.sentences[kept[place as usize] as usize]);
        let outcome = Scored::of(&classes, measures, concept.dropped(&table.sentences, dropped));
        Self { concept, classes, outcome }
    }
}

/// One unit's responses to all sentences that have any, `[sentence]`.
fn whole_row(ranges: &[RangeFile], unit: UnitId, row: &mut Vec<f32>) -> Result<(), Fault> {
    row.clear();
    for range in ranges {
        row.extend(range.read(unit.0..unit.0 + 1)?);
    }
    Ok(())
}

/// One block of units for all concepts, `[concept]`.
fn merged(ranges: &[RangeFile], units: Range<u32>, scheme: &Scheme) -> Result<Vec<ExpertiseBlock>, Fault> {
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
    whole.finish(scheme).map_err(Fault::internal)
}
