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

/// Where a shard of whole concepts goes. It names them in the job's table: the shard's own is gone once it was sent.
pub(crate) struct ConceptIntake {
    pub(crate) committer: Committer,
    pub(crate) job: Arc<Job>,
    /// The shard's concepts, by their numbers in the job.
    pub(crate) numbers: Vec<u32>,
}

impl ConceptIntake {
    /// The concept at a place of the shard.
    fn concept(&self, place: u32) -> Result<&JobConcept, IntakeError> {
        let found = self.numbers.get(place as usize).and_then(|&number| self.job.concepts.get(number as usize));
        let told = || format!("it sent concept {place}, which its shard does not have");
        found.ok_or_else(|| IntakeError::Worker(Fault::internal(told())))
    }
}

/// A shard's way into the index: everything until the channel closes. Concepts that are done meanwhile are not taken
/// twice.
pub(crate) fn take_concepts(intake: &ConceptIntake, mut events: mpsc::Receiver<ShardEvent>) -> Result<(), IntakeError> {
    let committer = &intake.committer;
    let mut staged: BTreeMap<u32, Staging> = BTreeMap::new();
    while let Some(event) = events.blocking_recv() {
        match event {
            ShardEvent::Progress(_) => {}
            ShardEvent::Block { concept: place, block } => {
                let concept = intake.concept(place)?;
                if committer.job.is_done(&concept.id) {
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
                committer.settle(&intake.job, intake.concept(place)?, staged.remove(&place), outcome)?;
            }
            ShardEvent::Dropped(_) | ShardEvent::Partial(_) => {
                let told = "it sent a partial summary of a shard of whole concepts";
                return Err(IntakeError::Worker(Fault::internal(told)));
            }
        }
    }
    Ok(())
}

/// A range's way into the spool; `None` if the channel closed before all was there.
pub(crate) fn take_range(
    mut writer: RangeWriter,
    mut events: mpsc::Receiver<ShardEvent>,
) -> Result<Option<RangeFile>, IntakeError> {
    while let Some(event) = events.blocking_recv() {
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
