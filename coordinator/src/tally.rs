//! How far a job's forward passes are, over all its shards.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use lode_domain::{
    event::{JobEvent, Progress},
    id::ShardId,
};

use crate::job::JobHandle;

/// The furthest that any attempt at each shard has come.
pub(crate) struct Tally {
    handle: Arc<JobHandle>,
    shards: Mutex<BTreeMap<ShardId, Progress>>,
}

impl Tally {
    pub(crate) fn new(handle: Arc<JobHandle>) -> Self {
        Self { handle, shards: Mutex::default() }
    }

    /// Notes one shard's progress and tells the job's. A shard that runs again, or twice, does not go back.
    pub(crate) fn note(&self, shard: ShardId, now: Progress) {
        let mut shards = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let best = shards.entry(shard).or_default();
        if now.sentences_done < best.sentences_done {
            return;
        }
        *best = now;
        let mut sum = Progress::default();
        shards.values().for_each(|one| sum += *one);
        drop(shards);
        self.handle.tell(JobEvent::Progress(sum));
    }
}
