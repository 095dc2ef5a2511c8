//! One worker's go at one shard: what is sent, and what comes back.

use std::sync::Arc;

use futures::StreamExt as _;
use lode_domain::{cluster::ShardSpec, event::ShardEvent, id::ShardId, job::Job};
use lode_proto::Fault;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    intake::{ConceptIntake, IntakeError, take_concepts, take_range},
    meter::Meter,
    registry::Occupied,
    spool::{RangeFile, RangeWriter},
};

/// Events between a worker's stream and the disk, of up to 4 MiB each; a full channel slows the worker down.
const IN_FLIGHT: usize = 2;

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
    /// Frees the worker when it is dropped, if it is not free yet.
    pub(crate) occupied: Option<Occupied>,
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
    let intake = tokio::task::spawn_blocking(move || match goal {
        Goal::Concepts(concepts) => take_concepts(&concepts, receiver).map(|()| None),
        Goal::Range(writer) => take_range(*writer, receiver),
    });
    let streamed = async {
        let mut events = worker.client().mine(spec, shard).await?;
        while let Some(event) = events.next().await {
            let event = event?;
            meter.hear(&event);
            worker.was_heard();
            // The worker says so without fail: its device can begin with the next shard.
            if matches!(&event, ShardEvent::Progress(now) if now.sentences_done == now.sentences_total) {
                occupied.computed();
            }
            // A closed channel means that the intake has all it needs, or failed; then its fault is the one that counts.
            if sender.send(event).await.is_err() {
                break;
            }
            meter.listen();
        }
        Ok::<_, Fault>(())
    };
    // A dropped stream tells the worker.
    let (broken, is_dropped) = tokio::select! {
        biased;
        streamed = streamed => (streamed.err(), false),
        () = stop.cancelled() => (Some(Fault::cancelled("it was stopped")), true),
        () = worker.gone.cancelled() => (Some(Fault::unavailable("it left, or gave no sign of life")), true),
    };
    drop(sender);
    // A worker that was told to stop is free, though what it sent may still be on its way into the index. One that has delivered
    // waits until that is done: or what is on its way would become more and more.
    let mut occupied = Some(occupied).filter(|_| !is_dropped);
    meter.stop_listening();
    let mut intake = intake;
    let taken = tokio::select! {
        taken = &mut intake => taken,
        () = stop.cancelled() => {
            drop(occupied.take());
            intake.await
        }
    };
    let taken = taken.unwrap_or_else(|error| {
        Err(IntakeError::Own(Fault::internal(format!("the thread that takes summaries in failed: {error}"))))
    });
    if let Some(speed) = meter.speed() {
        worker.was_seen_at(speed);
    }
    Ended { attempt, shard: spec.shard, taken, broken: broken.map(|fault| worker.fault(fault)), occupied }
}
