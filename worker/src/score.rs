//! From responses to summaries, unit block by unit block: finished ones, all concepts of the shard from one sort per unit; or
//! partial ones, the responses as they are.

use std::{ops::Range, sync::mpsc::sync_channel, thread};

use lode_domain::{
    closer::{self, Details, Leaders},
    event::{PartialUnits, Scored, ShardEvent},
    expertise::ExpertiseBlock,
    holdout::Classes,
    summary::Scheme,
};
use lode_ops::pause_at;
use lode_proto::Fault;
use rayon::prelude::*;
use tokio::sync::mpsc::Sender;

use crate::{shard::PreparedShard, stages::Stage};

/// Where a shard's events go. A slow receiver blocks the sender; a receiver that is gone ends the work.
pub(crate) type Events = Sender<Result<ShardEvent, Fault>>;

/// The receiver is gone: the job was cancelled, or the coordinator died.
pub(crate) struct Gone;

/// Responses in one message of a partial summary at most, unless one unit has more: 4 MiB.
const MESSAGE_RESPONSES: usize = 1 << 20;
/// Bytes of the expertise that is made before it is sent, unless one block of units has more: three times as much is held,
/// for one part is sent while another waits and a third is scored.
const PART_BYTES: usize = 16 << 20;
/// Units in one message at most.
const MOST_UNITS: usize = 4096;

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
    let mut outcomes: Vec<Result<Scored, String>> =
        shard.concepts.iter().map(|concept| concept.outcome(&shard.spec.measures)).collect();
    let scored: Vec<u32> =
        (0..).zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(place, _)| place).collect();
    if !scored.is_empty() {
        let details = send_expertise(shard, &scored, events)?;
        for (&concept, found) in scored.iter().zip(details) {
            if let Ok(outcome) = &mut outcomes[concept as usize] {
                outcome.details = found;
            }
        }
    }
    pause_at("worker-last-block");
    for (concept, outcome) in (0..).zip(outcomes) {
        send(events, ShardEvent::ConceptDone { concept, outcome })?;
    }
    Ok(())
}

/// The concepts at `scored`, over the places of the store.
fn placed(shard: &PreparedShard, scored: &[u32]) -> Vec<Classes> {
    let places = shard.places();
    let placed = |&concept: &u32| shard.concepts[concept as usize].classes.renumbered(|number| places[number as usize]);
    scored.iter().map(placed).collect()
}

/// Sends the expertise of all units in the concepts at `scored`, and says what a closer look at the leading ones finds. One part is
/// scored while the one before is sent.
fn send_expertise(shard: &PreparedShard, scored: &[u32], events: &Events) -> Result<Vec<Details>, Stop> {
    let (concepts, measures) = (placed(shard, scored), shard.spec.measures);
    let borrowed: Vec<&Classes> = concepts.iter().collect();
    let scheme = Scheme::new(shard.sentences.len(), &borrowed, measures).map_err(Fault::internal)?;
    let mut leaders = vec![Leaders::new(&measures); concepts.len()];
    let parts = parts(shard, &scheme);
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(1);
        let (scheme, parts) = (&scheme, &parts);
        scope.spawn(move || {
            for part in parts {
                let scored = shard.stages.time(Stage::Score, || score(shard, part.clone(), scheme));
                let failed = scored.is_err();
                // A sender of messages that is gone needs no more.
                if sender.send(scored).is_err() || failed {
                    return;
                }
            }
        });
        for (part, blocks) in receiver.into_iter().enumerate() {
            let blocks = blocks?;
            leaders.iter_mut().zip(&blocks).for_each(|(leaders, block)| leaders.take(block));
            shard.stages.time(Stage::Send, || {
                let mut told = scored.iter().zip(blocks);
                told.try_for_each(|(&concept, block)| send(events, ShardEvent::Block { concept, block }))
            })?;
            if part == parts.len() / 2 {
                pause_at("worker-mid-stream");
            }
        }
        Ok::<_, Stop>(())
    })?;
    if !measures.looks_closer() {
        return Ok(vec![Details::default(); concepts.len()]);
    }
    shard.stages.time(Stage::Score, || {
        let pairs = concepts.par_iter().zip(&leaders);
        pairs.map(|(classes, leaders)| look_closer(shard, classes, leaders, events)).collect()
    })
}

/// Looks at a concept's leading units once more. It holds one block of units, and the responses of those that the regression is
/// solved over.
fn look_closer(shard: &PreparedShard, classes: &Classes, leaders: &Leaders, events: &Events) -> Result<Details, Stop> {
    let (mut held, mut by_unit) = (None, Vec::new());
    closer::look(&shard.spec.measures, classes, leaders, |unit, row| {
        if events.is_closed() {
            return Err(Stop::Gone);
        }
        let block = shard.store.block_of(unit.index());
        if held != Some(block) {
            shard.store.by_unit(block, &mut by_unit).map_err(Fault::internal)?;
            held = Some(block);
        }
        let (place, sentences) = (unit.index() - shard.store.units(block).start, shard.sentences.len());
        row.clear();
        row.extend_from_slice(&by_unit[place * sentences..][..sentences]);
        Ok(())
    })
}

/// Ranges of the store's blocks, each of as many units as make a part for all concepts of the scheme.
fn parts(shard: &PreparedShard, scheme: &Scheme) -> Vec<Range<usize>> {
    let blocks = shard.store.blocks();
    let units = (PART_BYTES / (scheme.unit_bytes() * scheme.concepts())).min(MOST_UNITS);
    let long = (units / shard.store.units(0).len().max(1)).max(1);
    (0..blocks).step_by(long).map(|first| first..(first + long).min(blocks)).collect()
}

/// The units of some blocks for all concepts, `[concept]`, on all cores.
fn score(shard: &PreparedShard, blocks: Range<usize>, scheme: &Scheme) -> Result<Vec<ExpertiseBlock>, Fault> {
    // `[block][concept]`
    let scored: Vec<Vec<ExpertiseBlock>> = blocks
        .into_par_iter()
        .map_init(
            || (scheme.scorer(), Vec::new()),
            |(scorer, by_unit), block| {
                shard.store.by_unit(block, by_unit).map_err(Fault::internal)?;
                let start = shard.store.units(block).start as u32;
                let scored = scorer.score_units(start, by_unit.chunks_exact(scheme.sentences()));
                scored.map_err(|error| Fault::invalid(error.to_string()))
            },
        )
        .collect::<Result<_, Fault>>()?;
    let mut blocks = scored.into_iter();
    let mut whole = blocks.next().unwrap_or_default();
    for block in blocks {
        whole.iter_mut().zip(&block).for_each(|(whole, block)| whole.append(block));
    }
    Ok(whole)
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
    let mut by_unit = Vec::new();
    for block in 0..blocks {
        let units = shard.store.units(block);
        shard.store.by_unit(block, &mut by_unit).map_err(Fault::internal)?;
        for (part, rows) in by_unit.chunks(units_a_message * sentences).enumerate() {
            let responses: Vec<f32> =
                rows.chunks_exact(sentences).flat_map(|row| places.iter().map(|&place| row[place as usize])).collect();
            let start = (units.start + part * units_a_message) as u32;
            let units = (rows.len() / sentences) as u32;
            let event = ShardEvent::Partial(PartialUnits { start, units, responses });
            shard.stages.time(Stage::Send, || send(events, event))?;
        }
        if block == blocks / 2 {
            pause_at("worker-mid-stream");
        }
    }
    pause_at("worker-last-block");
    Ok(())
}
