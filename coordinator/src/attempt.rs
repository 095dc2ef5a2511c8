//! One worker's go at one shard: what is sent, what comes back, and how fast.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use lode_domain::{
    cluster::ShardSpec,
    event::{Progress, ShardEvent},
    id::ShardId,
    job::Job,
};
use lode_proto::Fault;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    intake::{ConceptIntake, IntakeError, take_concepts, take_range},
    metrics,
    registry::Occupied,
    spool::{RangeFile, RangeWriter},
    tally::Tally,
};

/// Events between a worker's stream and the disk, of up to 4 MiB each; a full channel slows the worker down.
const IN_FLIGHT: usize = 2;
/// Tokens below which a run says little about a worker's speed.
const TELLING_TOKENS: u64 = 2_000;

/// Where a shard's summaries go.
pub(crate) enum Goal {
    /// Finished ones: into the index.
    Concepts(ConceptIntake),
    /// Partial ones: into the spool.
    Range(Box<RangeWriter>),
}

/// A run that has ended.
pub(crate) struct Ended {
    pub(crate) attempt: u64,
    pub(crate) shard: ShardId,
    /// Frees the worker when it is dropped.
    pub(crate) occupied: Occupied,
    /// A whole range, if one came.
    pub(crate) taken: Result<Option<RangeFile>, IntakeError>,
    /// Why the stream broke off, if it did.
    pub(crate) broken: Option<Fault>,
}

/// Runs one shard on one worker, until the end, `stop`, or the worker is gone.
pub(crate) async fn run(
    attempt: u64,
    spec: ShardSpec,
    shard: Job,
    goal: Goal,
    occupied: Occupied,
    meter: Arc<Meter>,
    stop: CancellationToken,
) -> Ended {
    let worker = occupied.worker.clone();
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let heard = meter.clone();
    let intake = tokio::task::spawn_blocking(move || match goal {
        Goal::Concepts(concepts) => take_concepts(&concepts, receiver, &heard).map(|()| None),
        Goal::Range(writer) => take_range(*writer, receiver, &heard),
    });
    let streamed = async {
        let mut events = worker.client().mine(spec, shard).await?;
        while let Some(event) = events.next().await {
            // A closed channel means that the intake has all it needs, or failed; then its fault is the one that counts.
            if sender.send(event?).await.is_err() {
                break;
            }
        }
        Ok::<_, Fault>(())
    };
    // A dropped stream tells the worker.
    let broken = tokio::select! {
        biased;
        streamed = streamed => streamed.err(),
        () = stop.cancelled() => Some(Fault::cancelled("it was stopped")),
        () = worker.gone.cancelled() => Some(Fault::unavailable("it left, or gave no sign of life")),
    };
    drop(sender);
    let taken = intake.await.unwrap_or_else(|error| {
        Err(IntakeError::Own(Fault::internal(format!("the thread that takes summaries in failed: {error}"))))
    });
    if let Some(speed) = meter.speed() {
        worker.was_seen_at(speed);
    }
    Ended { attempt, shard: spec.shard, taken, broken: broken.map(|fault| worker.fault(fault)), occupied }
}

/// How far and how fast an attempt is.
pub(crate) struct Meter {
    tally: Arc<Tally>,
    shard: ShardId,
    reading: Mutex<Reading>,
}

struct Reading {
    started: Instant,
    /// When the worker was last heard of.
    heard: Instant,
    /// When forward passes were first and last told of.
    first: Option<(Instant, u64)>,
    last: Option<(Instant, u64)>,
    progress: Progress,
}

impl Meter {
    pub(crate) fn new(tally: Arc<Tally>, shard: ShardId) -> Self {
        let now = Instant::now();
        let reading = Reading { started: now, heard: now, first: None, last: None, progress: Progress::default() };
        Self { tally, shard, reading: Mutex::new(reading) }
    }

    /// Notes what the worker sent.
    pub(crate) fn hear(&self, event: &ShardEvent) {
        let mut reading = self.reading();
        reading.heard = Instant::now();
        let ShardEvent::Progress(now) = event else { return };
        metrics::TOKENS_MINED.add(now.tokens_done.saturating_sub(reading.progress.tokens_done));
        let mark = (reading.heard, now.tokens_done);
        reading.first.get_or_insert(mark);
        reading.last = Some(mark);
        reading.progress = *now;
        drop(reading);
        self.tally.note(self.shard, *now);
    }

    /// Since the worker was last heard of.
    pub(crate) fn silence(&self) -> Duration {
        self.reading().heard.elapsed()
    }

    /// How long the attempt should still take: by its own speed while it runs, and no less than it has been silent.
    pub(crate) fn remaining(&self) -> Duration {
        let reading = self.reading();
        let silence = reading.heard.elapsed();
        let Progress { tokens_done, tokens_total, .. } = reading.progress;
        let left = tokens_total.saturating_sub(tokens_done) as f64;
        let speed = tokens_done as f64 / reading.started.elapsed().as_secs_f64().max(1e-3);
        let forward =
            if left > 0.0 && speed > 0.0 { Duration::from_secs_f64((left / speed).min(1e6)) } else { Duration::ZERO };
        forward.max(silence)
    }

    /// Tokens per second between the first and the last sign of forward passes, if there were enough.
    fn speed(&self) -> Option<f64> {
        let reading = self.reading();
        let ((from, before), (to, after)) = reading.first.zip(reading.last)?;
        let tokens = after.checked_sub(before).filter(|&tokens| tokens >= TELLING_TOKENS)?;
        Some(tokens as f64 / (to - from).as_secs_f64().max(1e-3))
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
