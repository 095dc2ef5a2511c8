//! From responses to summaries, unit block by unit block: finished ones, all concepts of the shard from one sort per unit; or
//! partial ones, the responses as they are.

use lode_domain::{
    event::{PartialUnits, Scored, ShardEvent},
    expertise::{ExpertiseBlock, UnitExpertise},
    score::{Labels, Scorer},
};
use lode_ops::pause_at;
use lode_proto::Fault;
use rayon::prelude::*;
use tokio::sync::mpsc::Sender;

use crate::shard::PreparedShard;

/// Where a shard's events go. A slow receiver blocks the sender; a receiver that is gone ends the work.
pub(crate) type Events = Sender<Result<ShardEvent, Fault>>;

/// The receiver is gone: the job was cancelled, or the coordinator died.
pub(crate) struct Gone;

/// Responses in one message of a partial summary at most, unless one unit has more: 4 MiB.
const MESSAGE_RESPONSES: usize = 1 << 20;

/// Summarises a shard whose responses are complete, and streams the result.
pub(crate) fn summarise(shard: &PreparedShard, events: &Events) -> Result<(), Gone> {
    pause_at("worker-first-block");
    // The last count must not be left out.
    let told = send(events, ShardEvent::Progress(shard.progress))
        .and_then(|()| if shard.is_partial() { partial(shard, events) } else { finished(shard, events) });
    match told {
        Ok(()) => Ok(()),
        Err(Stop::Gone) => Err(Gone),
        Err(Stop::Fault(fault)) => events.blocking_send(Err(fault)).map_err(|_| Gone),
    }
}

/// Why a summary ends early.
enum Stop {
    Gone,
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

fn send(events: &Events, event: ShardEvent) -> Result<(), Stop> {
    events.blocking_send(Ok(event)).map_err(|_| Stop::Gone)
}

/// Expertise, then what each concept's rests on.
fn finished(shard: &PreparedShard, events: &Events) -> Result<(), Stop> {
    let outcomes: Vec<Result<Scored, String>> = shard.concepts.iter().map(|concept| concept.outcome()).collect();
    let scored: Vec<u32> =
        (0..).zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(place, _)| place).collect();
    if !scored.is_empty() {
        let labels = labels(shard, &scored)?;
        let blocks = shard.store.blocks();
        for block in 0..blocks {
            for (&concept, block) in scored.iter().zip(score_block(shard, block, &labels)?) {
                send(events, ShardEvent::Block { concept, block })?;
            }
            if block == blocks / 2 {
                pause_at("worker-mid-stream");
            }
        }
    }
    pause_at("worker-last-block");
    for (concept, outcome) in (0..).zip(outcomes) {
        send(events, ShardEvent::ConceptDone { concept, outcome })?;
    }
    Ok(())
}

/// The labels of the concepts at `scored`, over the places of the store.
fn labels(shard: &PreparedShard, scored: &[u32]) -> Result<Labels, Fault> {
    let places = shard.places();
    let of = |numbers: &[u32]| numbers.iter().map(|&number| places[number as usize]).collect::<Vec<u32>>();
    let classes: Vec<(Vec<u32>, Vec<u32>)> = scored
        .iter()
        .map(|&concept| {
            let concept = &shard.concepts[concept as usize];
            (of(&concept.positive), of(&concept.negative))
        })
        .collect();
    let borrowed: Vec<(&[u32], &[u32])> = classes.iter().map(|(on, off)| (&on[..], &off[..])).collect();
    Labels::new(shard.sentences.len(), &borrowed).map_err(Fault::internal)
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

/// What was dropped, then the responses in unit order, `[unit, sentence]`, sentences in the order in which they were sent.
fn partial(shard: &PreparedShard, events: &Events) -> Result<(), Stop> {
    send(events, ShardEvent::Dropped(shard.dropped.clone()))?;
    let sentences = shard.sentences.len();
    if sentences == 0 {
        return Ok(());
    }
    let places = shard.places();
    let units_a_message = (MESSAGE_RESPONSES / sentences).max(1);
    let blocks = shard.store.blocks();
    for block in 0..blocks {
        let units = shard.store.units(block);
        let by_unit = shard.store.by_unit(block).map_err(Fault::internal)?;
        for (part, rows) in by_unit.chunks(units_a_message * sentences).enumerate() {
            let responses: Vec<f32> =
                rows.chunks_exact(sentences).flat_map(|row| places.iter().map(|&place| row[place as usize])).collect();
            let start = (units.start + part * units_a_message) as u32;
            let units = (rows.len() / sentences) as u32;
            send(events, ShardEvent::Partial(PartialUnits { start, units, responses }))?;
        }
        if block == blocks / 2 {
            pause_at("worker-mid-stream");
        }
    }
    pause_at("worker-last-block");
    Ok(())
}
