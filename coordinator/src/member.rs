//! One worker of the cluster: how it is called, how fast it is, what it does, and when it was last heard of.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use lode_domain::{
    cluster::WorkerCard,
    id::{JobId, WorkerId},
};
use lode_proto::{Credentials, Fault};
use tokio_util::sync::CancellationToken;

use crate::{worker_client::WorkerClient, workload::Workload};

/// What a new measurement of a worker's speed counts beside what was known.
const NEW_SPEED: f64 = 0.5;

/// One registered worker.
pub(crate) struct Member {
    pub(crate) id: WorkerId,
    pub(crate) card: WorkerCard,
    client: ArcSwap<(Credentials, WorkerClient)>,
    /// Fires when it is taken out of the registry.
    pub(crate) gone: CancellationToken,
    /// Samples that it generates.
    generating: AtomicU32,
    /// Until when it is not asked to generate: it said that it has no room.
    resting: Mutex<Option<Instant>>,
    last_seen: Mutex<Instant>,
    /// Tokens per second of its forward passes.
    speed: Mutex<f64>,
    /// What it mines.
    load: Mutex<Workload>,
    /// When any of its shards was last heard of.
    heard: Mutex<Instant>,
    said_goodbye: AtomicBool,
}

impl Member {
    /// A worker that has just come, called through `client` with these credentials.
    pub(crate) fn new(id: WorkerId, card: WorkerCard, client: (Credentials, WorkerClient)) -> Self {
        let told = card.tokens_per_second;
        let speed = if told.is_finite() && told > 0.0 { told } else { 1.0 };
        Self {
            id,
            card,
            client: ArcSwap::from_pointee(client),
            gone: CancellationToken::new(),
            generating: AtomicU32::new(0),
            resting: Mutex::default(),
            last_seen: Mutex::new(Instant::now()),
            speed: Mutex::new(speed),
            load: Mutex::default(),
            heard: Mutex::new(Instant::now()),
            said_goodbye: AtomicBool::new(false),
        }
    }

    /// A fault of this worker, with its name.
    pub(crate) fn fault(&self, fault: Fault) -> Fault {
        Fault { message: format!("{} at {}: {}", self.id, self.card.url, fault.message), ..fault }
    }

    /// Through which it is called.
    pub(crate) fn client(&self) -> WorkerClient {
        self.client.load().1.clone()
    }

    /// Whether it is called with these.
    pub(crate) fn is_called_by(&self, credentials: &Credentials) -> bool {
        self.client.load().0 == *credentials
    }

    /// Has it called with other credentials from now on; calls that run stay as they are.
    pub(crate) fn is_called_with(&self, credentials: &Credentials) {
        if self.is_called_by(credentials) {
            return;
        }
        match WorkerClient::new(&self.card.url, credentials) {
            Ok(client) => {
                tracing::info!(worker = %self.id, "called with other credentials from now on");
                self.client.store(Arc::new((credentials.clone(), client)));
            }
            Err(fault) => tracing::warn!(worker = %self.id, %fault, "still called with its old credentials"),
        }
    }

    /// It has given a sign of life.
    pub(crate) fn lives(&self) {
        *locked(&self.last_seen) = Instant::now();
    }

    /// Since its last sign of life.
    pub(crate) fn silence(&self) -> Duration {
        locked(&self.last_seen).elapsed()
    }

    /// Tokens per second of its forward passes, as last measured.
    pub(crate) fn speed(&self) -> f64 {
        *locked(&self.speed)
    }

    /// Notes a measurement.
    pub(crate) fn was_seen_at(&self, tokens_per_second: f64) {
        if tokens_per_second.is_finite() && tokens_per_second > 0.0 {
            let mut speed = locked(&self.speed);
            *speed += NEW_SPEED * (tokens_per_second - *speed);
        }
    }

    /// It leaves in good order.
    pub(crate) fn says_goodbye(&self) {
        self.said_goodbye.store(true, Ordering::Relaxed);
    }

    /// Whether it left in good order.
    pub(crate) fn said_goodbye(&self) -> bool {
        self.said_goodbye.load(Ordering::Relaxed)
    }

    /// Whether it mines nothing.
    pub(crate) fn is_idle(&self) -> bool {
        locked(&self.load).is_idle()
    }

    /// Whether it can run a shard of so many sentences now.
    pub(crate) fn can_run(&self, sentences: u64) -> bool {
        locked(&self.load).has_room(self.response_bytes(sentences), self.card.memory_budget)
    }

    /// Begins a shard of so many sentences; its number, or `None` if it cannot run now.
    pub(crate) fn begin(&self, job: JobId, sentences: u64) -> Option<u64> {
        let bytes = self.response_bytes(sentences);
        let mut load = locked(&self.load);
        load.has_room(bytes, self.card.memory_budget).then(|| load.begin(job, bytes))
    }

    /// A shard's forward passes are through; false if they were before.
    pub(crate) fn has_computed(&self, number: u64) -> bool {
        locked(&self.load).computed(number)
    }

    /// A shard has ended; true if it was still being computed.
    pub(crate) fn ends(&self, number: u64) -> bool {
        locked(&self.load).end(number)
    }

    /// The job that it mines for.
    pub(crate) fn mines(&self) -> Option<JobId> {
        locked(&self.load).job()
    }

    /// Bytes of the responses to so many sentences.
    fn response_bytes(&self, sentences: u64) -> u64 {
        4 * u64::from(self.card.model.units()) * sentences
    }

    /// One of its shards was heard of.
    pub(crate) fn was_heard(&self) {
        *locked(&self.heard) = Instant::now();
    }

    /// Since any of its shards was heard of.
    pub(crate) fn quiet(&self) -> Duration {
        locked(&self.heard).elapsed()
    }

    /// Whether it can generate `samples` more. A request for more than it can ever take has it alone.
    pub(crate) fn has_room(&self, samples: u32) -> bool {
        let own = self.generating.load(Ordering::Relaxed);
        let fits = own == 0 || own.saturating_add(samples) <= self.card.sequences;
        fits && locked(&self.resting).is_none_or(|until| until <= Instant::now())
    }

    /// The share of the samples it can generate that it does.
    pub(crate) fn load(&self) -> f64 {
        f64::from(self.generating.load(Ordering::Relaxed)) / f64::from(self.card.sequences.max(1))
    }

    /// It generates `samples` more.
    pub(crate) fn begin_samples(&self, samples: u32) {
        self.generating.fetch_add(samples, Ordering::Relaxed);
    }

    /// It generates `samples` fewer.
    pub(crate) fn end_samples(&self, samples: u32) {
        self.generating.fetch_sub(samples, Ordering::Relaxed);
    }

    /// It is not asked to generate for a while.
    pub(crate) fn rest(&self, time: Duration) {
        *locked(&self.resting) = Some(Instant::now() + time);
    }
}

/// A panic while a lock was held leaves plain data behind it that is still whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
