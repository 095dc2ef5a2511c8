//! What a shard's worker sends becomes expertise in the index, concept by concept; or partial summaries in the spool.
//!
//! Runs on a blocking thread: the channel before it is short, so a slow disk slows the worker's stream down and nothing
//! is dropped.

use std::{collections::BTreeMap, sync::Arc};

use lode_domain::{
    event::ShardEvent,
    job::{Job, JobConcept},
};
use lode_index::Staging;
use lode_proto::Fault;
use tokio::sync::mpsc;

use crate::{
    attempt::Meter,
    commit::{Committer, of_staging},
    spool::{RangeError, RangeFile, RangeWriter},
};

/// Why an intake ended before its work was done.
#[derive(Debug)]
pub(crate) enum IntakeError {
    /// The coordinator cannot take what workers send: trying elsewhere would not help.
    Own(Fault),
    /// The worker sent what it must not.
    Worker(Fault),
}

/// A shard's way into the index: everything until the channel closes. Concepts that are settled meanwhile are not taken
/// twice.
pub(crate) fn take_concepts(
    committer: &Committer,
    shard: &Arc<Job>,
    mut events: mpsc::Receiver<ShardEvent>,
    meter: &Meter,
) -> Result<(), IntakeError> {
    let mut staged: BTreeMap<u32, Staging> = BTreeMap::new();
    while let Some(event) = events.blocking_recv() {
        meter.hear(&event);
        match event {
            ShardEvent::Progress(_) => {}
            ShardEvent::Block { concept: place, block } => {
                let concept = concept(shard, place)?;
                if committer.job.is_settled(&concept.id) {
                    staged.remove(&place);
                    continue;
                }
                use std::collections::btree_map::Entry;
                let staging = match staged.entry(place) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => entry.insert(committer.stage(concept).map_err(IntakeError::Own)?),
                };
                staging.write(&block).map_err(of_staging)?;
            }
            ShardEvent::ConceptDone { concept: place, outcome } => {
                committer.settle(shard, concept(shard, place)?, staged.remove(&place), outcome)?;
            }
            ShardEvent::Dropped(_) | ShardEvent::Partial(_) => {
                let told = "it sent a partial summary of a shard of whole concepts";
                return Err(IntakeError::Worker(Fault::internal(told)));
            }
        }
    }
    Ok(())
}

fn concept(shard: &Job, place: u32) -> Result<&JobConcept, IntakeError> {
    let found = shard.concepts.get(place as usize);
    let told = || format!("it sent concept {place}, which its shard does not have");
    found.ok_or_else(|| IntakeError::Worker(Fault::internal(told())))
}

/// A range's way into the spool; `None` if the channel closed before all was there.
pub(crate) fn take_range(
    mut writer: RangeWriter,
    mut events: mpsc::Receiver<ShardEvent>,
    meter: &Meter,
) -> Result<Option<RangeFile>, IntakeError> {
    while let Some(event) = events.blocking_recv() {
        meter.hear(&event);
        if matches!(event, ShardEvent::Progress(_)) {
            continue;
        }
        writer.take(event).map_err(|error| match error {
            RangeError::Disk(fault) => IntakeError::Own(fault),
            RangeError::Worker(fault) => IntakeError::Worker(fault),
        })?;
        if writer.is_whole() {
            return writer.finish().map(Some).map_err(IntakeError::Own);
        }
    }
    Ok(None)
}
