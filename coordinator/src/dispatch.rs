//! Generation requests: conditions are resolved in the index, the request waits for a place on a worker, and what the worker
//! generates goes to the client.
//!
//! As long as nothing was generated, a request whose worker is lost goes to another one. Afterwards it ends with an error that says
//! so: another worker's samples would begin anew.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use lode_domain::generation::{GenerateEvent, GenerateRequest, ResolvedRequest};
use lode_proto::{Caller, Fault, FaultKind, trace::carried};
use tokio::{
    sync::mpsc::{self, OwnedPermit, Sender},
    time::{Duration, Instant, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    Coordinator,
    member::Member,
    metrics::Generation,
    places::{Place, Wanted},
};

/// Events at most that wait for a client that is slow to read, unless its text is through before: the tokens of 128 samples of
/// 512 tokens.
const MOST_IN_FLIGHT: u64 = 1 << 16;
/// How many workers a request may lose before anything was generated.
const MOST_LOSSES: u32 = 5;
/// How long a worker that has no room after all is left alone.
const REST: Duration = Duration::from_millis(100);

type Event = Result<GenerateEvent, Fault>;

/// Generates on the least loaded worker that has the model, when it is the caller's turn, and counts what becomes of the request.
///
/// # Errors
/// If the model or a concept is unknown, a k does not fit, there is no worker, or too many requests wait; later faults are in the
/// stream. Who drops the stream, or waits no more for it, gives the place on the worker back.
pub(crate) async fn generate(
    coordinator: &Arc<Coordinator>,
    request: GenerateRequest,
) -> Result<impl Stream<Item = Event> + Send + use<>, Fault> {
    let mut generation = Generation::arrives(request.samples);
    let events = begin(coordinator, request).await.inspect_err(|fault| generation.is_refused(fault))?;
    Ok(events.inspect(move |event| generation.sees(event)))
}

/// The events until `deadline`, then an error.
pub(crate) fn until(
    events: impl Stream<Item = Event> + Send + 'static,
    deadline: Instant,
) -> impl Stream<Item = Event> + Send {
    stream::unfold(Some(Box::pin(events)), move |events| async move {
        let mut events = events?;
        match timeout_at(deadline, events.next()).await {
            Ok(event) => Some((event?, Some(events))),
            Err(_) => Some((Err(late()), None)),
        }
    })
}

/// The error of a request whose caller does not wait any more.
pub(crate) fn late() -> Fault {
    Fault::late("the text was not complete by the caller's own deadline")
}

async fn begin(
    coordinator: &Arc<Coordinator>,
    request: GenerateRequest,
) -> Result<impl Stream<Item = Event> + Send + use<>, Fault> {
    let deadline = Instant::now() + coordinator.limits.longest;
    let (own, name, samples) = (coordinator.clone(), request.model.clone(), request.samples);
    let resolved = tokio::task::spawn_blocking(move || own.resolver.resolve(&own.index, request))
        .await
        .map_err(|error| Fault::internal(format!("resolving the conditions failed: {error}")))??;
    let in_flight = in_flight(&resolved);
    let wanted = Wanted { model: resolved.model, name, samples, caller: Caller::current() };
    let begun = timeout_at(deadline, first_place(coordinator, resolved, wanted));
    let (place, first, rest) = begun.await.unwrap_or_else(|_| Err(overdue(0)))?;
    let relay = Relay { place, open: samples, tokens: 0 };
    Ok(relay.start((first, rest), in_flight, deadline))
}

/// How many events may wait for the client: all, within reason. Then a worker's place is free as soon as the text is complete, and
/// the prompts of one request, each of which waits for the others to begin, never keep each other from a place.
fn in_flight(request: &ResolvedRequest) -> usize {
    let events = u64::from(request.samples) * (u64::from(request.sampling.max_new_tokens) + 1);
    // A place more for how it ends.
    events.min(MOST_IN_FLIGHT) as usize + 1
}

/// Waits for a place on a worker, and there for the first event.
async fn first_place(
    coordinator: &Coordinator,
    resolved: ResolvedRequest,
    wanted: Wanted,
) -> Result<(Place, GenerateEvent, impl Stream<Item = Event> + Send + Unpin + use<>), Fault> {
    let mut losses = 0;
    loop {
        let place = coordinator.places.find(wanted.clone()).await?;
        let worker = place.worker.clone();
        let begun = tokio::select! {
            begun = first_event(&worker, resolved.clone()) => begun,
            fault = loss(&worker) => Err(fault),
        };
        match begun {
            Ok((first, rest)) => return Ok((place, first, rest)),
            Err(fault) if fault.kind == FaultKind::Exhausted => {
                tracing::info!(fault = %worker.fault(fault), "a worker has less room than it said");
                worker.rest(REST);
                drop(place);
                tokio::time::sleep(REST).await;
            }
            Err(fault) if fault.is_retryable() && losses < MOST_LOSSES => {
                losses += 1;
                tracing::warn!(fault = %worker.fault(fault), "generation goes to another worker");
                // It comes back by itself if it lives.
                coordinator.registry.remove(worker.id, "it did not take a request");
            }
            Err(fault) => return Err(fault),
        }
    }
}

/// Waits until the worker has generated something.
async fn first_event(
    worker: &Member,
    request: ResolvedRequest,
) -> Result<(GenerateEvent, impl Stream<Item = Event> + Send + Unpin + use<>), Fault> {
    let mut events = worker.client().generate(request).await?;
    let first = events.next().await.unwrap_or_else(|| Err(Fault::unavailable("it ended the stream early")))?;
    Ok((first, events))
}

/// Ends when the worker is lost. One that has said goodbye is not: it ends what it is at.
async fn loss(worker: &Member) -> Fault {
    worker.gone.cancelled().await;
    if worker.said_goodbye() {
        std::future::pending::<()>().await;
    }
    Fault::unavailable("it gave no sign of life")
}

/// A request that is being generated.
struct Relay {
    place: Place,
    /// Samples that are not complete.
    open: u32,
    /// Tokens that were passed on.
    tokens: u64,
}

impl Relay {
    /// Passes the events on, on a task of its own, of which `in_flight` may wait for the client: one that reads slowly holds its place
    /// only until the text is complete, or longer than that many events and not read, or `deadline`.
    fn start(
        mut self,
        (first, rest): (GenerateEvent, impl Stream<Item = Event> + Send + Unpin + 'static),
        in_flight: usize,
        deadline: Instant,
    ) -> impl Stream<Item = Event> + Send {
        let (sender, receiver) = mpsc::channel(in_flight);
        tokio::spawn(carried(async move {
            // Room for how it ends, however full the channel is by then.
            let Ok(last) = sender.clone().reserve_owned().await else { return };
            let worker = self.place.worker.clone();
            let ended = tokio::select! {
                ended = self.pass_on(first, rest, &sender) => ended,
                fault = loss(&worker) => Err(fault),
                () = sender.closed() => Ok(()),
                () = tokio::time::sleep_until(deadline) => return self.end_overdue(last),
            };
            if let Err(fault) = ended {
                let told = format!(
                    "{} (after {} tokens: the text is not complete; ask for it again)",
                    worker.fault(fault.clone()).message,
                    self.tokens
                );
                tracing::warn!(fault = told, "generation broke off");
                last.send(Err(Fault { message: told, ..fault }));
            }
        }));
        ReceiverStream::new(receiver)
    }

    async fn pass_on(
        &mut self,
        first: GenerateEvent,
        mut rest: impl Stream<Item = Event> + Send + Unpin,
        sender: &Sender<Event>,
    ) -> Result<(), Fault> {
        let mut event = first;
        loop {
            match &event {
                GenerateEvent::Token { .. } => self.tokens += 1,
                GenerateEvent::Finished { .. } => self.open = self.open.saturating_sub(1),
            }
            if sender.send(Ok(event)).await.is_err() || self.open == 0 {
                return Ok(());
            }
            event = rest.next().await.unwrap_or_else(|| Err(Fault::unavailable("it ended the stream early")))?;
        }
    }

    fn end_overdue(&self, last: OwnedPermit<Event>) {
        last.send(Err(overdue(self.tokens)));
    }
}

/// The error of a request that took too long.
fn overdue(tokens: u64) -> Fault {
    Fault::late(format!(
        "after {tokens} tokens, the text was not complete in the time that one request has: ask for less, or raise \
         --generation-timeout"
    ))
}
