//! From responses to expertise: unit block by unit block, all concepts of the shard from one sort per unit.

use lode_domain::{
    event::ShardEvent,
    expertise::{ExpertiseBlock, UnitExpertise},
    score::{Labels, Scorer},
};
use lode_proto::Fault;
use rayon::prelude::*;
use tokio::sync::mpsc::Sender;

use crate::shard::PreparedShard;

/// Where a shard's events go. A slow receiver blocks the sender; a receiver that is gone ends the work.
pub(crate) type Events = Sender<Result<ShardEvent, Fault>>;

/// The receiver is gone: the job was cancelled, or the coordinator died.
pub(crate) struct Gone;

/// Scores a shard whose responses are complete, and streams the result.
pub(crate) fn score(shard: &PreparedShard, events: &Events) -> Result<(), Gone> {
    let send = |event| events.blocking_send(event).map_err(|_| Gone);
    let outcomes: Vec<_> = shard.concepts.iter().map(|concept| concept.outcome()).collect();
    let scored: Vec<u32> =
        (0..).zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(place, _)| place).collect();
    if !scored.is_empty() {
        let of_place = |&place: &u32| {
            let concept = &shard.concepts[place as usize];
            (&concept.positive[..], &concept.negative[..])
        };
        let labels = match Labels::new(shard.sentences.len(), &scored.iter().map(of_place).collect::<Vec<_>>()) {
            Ok(labels) => labels,
            Err(error) => return send(Err(Fault::internal(error))),
        };
        for block in 0..shard.store.blocks() {
            match score_block(shard, block, &labels) {
                Err(fault) => return send(Err(fault)),
                Ok(blocks) => {
                    for (&concept, block) in scored.iter().zip(blocks) {
                        send(Ok(ShardEvent::Block { concept, block }))?;
                    }
                }
            }
        }
    }
    for (concept, outcome) in (0..).zip(outcomes) {
        send(Ok(ShardEvent::ConceptDone { concept, outcome }))?;
    }
    Ok(())
}

/// One block of units for all concepts, `[concept]`, on all cores.
fn score_block(shard: &PreparedShard, block: usize, labels: &Labels) -> Result<Vec<ExpertiseBlock>, Fault> {
    let units = shard.store.units(block);
    let by_unit = shard.store.by_unit(block).map_err(Fault::internal)?;
    // `[unit][concept]`
    let scores: Vec<Vec<UnitExpertise>> = by_unit
        .par_chunks_exact(labels.sentences())
        .zip(units.clone().into_par_iter())
        .map_init(
            || Scorer::new(labels),
            |scorer, (responses, unit)| {
                let scored = scorer.score(responses);
                let scored = scored.map_err(|error| Fault::invalid(format!("unit {unit}: {error}")))?;
                Ok(scored.map(UnitExpertise::from).collect())
            },
        )
        .collect::<Result<_, Fault>>()?;
    let mut blocks = vec![ExpertiseBlock::with_capacity(units.start as u32, units.len()); labels.concepts()];
    for unit in scores {
        blocks.iter_mut().zip(unit).for_each(|(block, expertise)| block.push(expertise));
    }
    Ok(blocks)
}
