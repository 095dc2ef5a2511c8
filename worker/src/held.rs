//! The response cache as the worker's threads share it: the device thread takes from it, a thread of its own writes to it,
//! and the server asks it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    mpsc::{SyncSender, sync_channel},
};

use lode_domain::sentence::SentenceKey;
use lode_model::Responses;

use crate::cache::ResponseCache;

/// Batches that wait to be written: a disk that is slower than the device for long slows it down.
const WAITING: usize = 4;

/// What was run in one batch, `[sentence]`.
type Batch = (Vec<SentenceKey>, Responses);

/// Handle of the cache; without one, nothing is held.
#[derive(Clone, Default)]
pub(crate) struct Held(Option<Shared>);

#[derive(Clone)]
struct Shared {
    cache: Arc<Mutex<ResponseCache>>,
    writer: SyncSender<Batch>,
}

impl Held {
    /// Starts the writing thread, which ends with the last handle.
    pub(crate) fn new(cache: Option<ResponseCache>) -> Self {
        Self(cache.map(|cache| {
            let cache = Arc::new(Mutex::new(cache));
            let (writer, batches) = sync_channel::<Batch>(WAITING);
            let written = cache.clone();
            std::thread::spawn(move || {
                for (keys, responses) in batches {
                    for (row, key) in keys.into_iter().enumerate() {
                        // Locked a row at a time, so that nobody waits for a batch.
                        locked(&written).put(key, responses.row(row));
                    }
                }
            });
            Shared { cache, writer }
        }))
    }

    /// Works on the cache, if there is one.
    pub(crate) fn with<T>(&self, work: impl FnOnce(Option<&mut ResponseCache>) -> T) -> T {
        match &self.0 {
            Some(shared) => work(Some(&mut locked(&shared.cache))),
            None => work(None),
        }
    }

    /// Keeps a batch.
    pub(crate) fn keep(&self, keys: impl Iterator<Item = SentenceKey>, responses: Responses) {
        if let Some(shared) = &self.0 {
            // The writer only ends with this handle.
            let _ = shared.writer.send((keys.collect(), responses));
        }
    }

    /// For each key, whether its responses are held.
    pub(crate) fn find(&self, keys: &[SentenceKey]) -> Vec<bool> {
        self.with(|cache| keys.iter().map(|key| cache.as_ref().is_some_and(|cache| cache.contains(key))).collect())
    }
}

/// A panic while the lock was held leaves a cache whose rows are checked when they are read.
fn locked(cache: &Mutex<ResponseCache>) -> MutexGuard<'_, ResponseCache> {
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}
