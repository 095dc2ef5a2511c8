//! Places on workers, for samples that are generated: who gets one, and who waits for one.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lode_domain::id::{ModelHash, ModelName};
use lode_proto::{Caller, Fault};
use tokio::sync::oneshot;

use crate::{
    limits::GenerationLimits,
    member::Member,
    metrics,
    queue::{Queue, Ticket, Waiting},
    registry::Registry,
};

/// What a new measurement of how long a sample takes counts beside what was known.
const NEW_PACE: f64 = 0.1;
/// When a refused request may come again, at least and at most.
const SOONEST: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(60);

/// A request that needs a place.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) model: ModelHash,
    pub(crate) name: ModelName,
    pub(crate) samples: u32,
    pub(crate) caller: Caller,
}

/// All places.
pub(crate) struct Places {
    registry: Arc<Registry>,
    limits: GenerationLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: BTreeMap<ModelHash, Line>,
    is_closed: bool,
}

/// Those who wait for one model.
struct Line {
    name: ModelName,
    queue: Queue<oneshot::Sender<Result<Place, Fault>>>,
    /// Seconds that a request holds its place, in the mean of late.
    pace: f64,
}

/// A place on a worker, until this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    pub(crate) worker: Arc<Member>,
    wanted: Wanted,
    /// How many of its model were given out before.
    turn: u64,
    since: Instant,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.worker.end_samples(self.wanted.samples);
        self.places.give_back(&self.wanted, self.since.elapsed());
    }
}

/// Somebody who waits; dropped, they wait no more.
struct InLine<'a> {
    places: &'a Places,
    model: ModelHash,
    ticket: Ticket,
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.places.state().lines.get_mut(&self.model) {
            line.queue.leave(self.ticket);
        }
    }
}

impl Places {
    pub(crate) fn new(registry: Arc<Registry>, limits: GenerationLimits) -> Arc<Self> {
        Arc::new(Self { registry, limits, state: Mutex::default() })
    }

    /// A place on the least loaded worker that has the model, when it is the request's turn.
    ///
    /// # Errors
    /// If there is no worker, too many wait already, it takes too long, or the coordinator stops.
    pub(crate) async fn find(self: &Arc<Self>, wanted: Wanted) -> Result<Place, Fault> {
        let (arrived, model) = (Instant::now(), wanted.model);
        let (teller, told) = oneshot::channel();
        let ticket = self.join(wanted, teller)?;
        let _in_line = InLine { places: self, model, ticket };
        let found = match tokio::time::timeout(self.limits.patience, told).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => Err(Fault::internal("a request was forgotten while it waited for a worker")),
            Err(_) => Err(self.overdue(model)),
        };
        metrics::WAIT_SECONDS.observe(arrived.elapsed());
        if let Ok(place) = &found {
            tracing::debug!(worker = %place.worker.id, turn = place.turn, "a request has its place");
        }
        found
    }

    fn join(self: &Arc<Self>, wanted: Wanted, teller: oneshot::Sender<Result<Place, Fault>>) -> Result<Ticket, Fault> {
        let mut state = self.state();
        if state.is_closed {
            return Err(stopping());
        }
        let Wanted { model, name, samples, caller } = wanted;
        if self.registry.with_model(model).is_empty() {
            return Err(no_worker(&name));
        }
        let line = state.lines.entry(model).or_insert_with(|| Line { name, queue: Queue::default(), pace: 0.0 });
        let ticket = line.queue.join(Waiting { caller, samples, teller });
        let unwanted = self.serve(model, line);
        if let Some(surplus) = line.queue.surplus(self.limits.most_waiting) {
            let full = Fault::exhausted(format!(
                "{} requests wait for a worker with model `{}` already, and nobody has more of them than you",
                self.limits.most_waiting, line.name
            ));
            // Who is gone need not hear it.
            let _ = surplus.teller.send(Err(full.retry_after(self.wait(model, line))));
        }
        drop(state);
        drop(unwanted);
        Ok(ticket)
    }

    /// Gives places to those whose turn it is, as far as there are any. What comes back went to somebody who is gone; it is to be
    /// dropped when the state is free again.
    fn serve(self: &Arc<Self>, model: ModelHash, line: &mut Line) -> Vec<Place> {
        let mut unwanted = Vec::new();
        let workers = self.registry.with_model(model);
        if workers.is_empty() {
            for waiting in line.queue.drain() {
                let _ = waiting.teller.send(Err(no_worker(&line.name)));
            }
        }
        while let Some((ticket, next)) = line.queue.next() {
            let with_room = workers.iter().filter(|worker| worker.has_room(next.samples));
            let Some(worker) = with_room.min_by(|a, b| {
                // Beside mining, texts have a part of the device only.
                let busy = |worker: &Member| !worker.is_idle();
                busy(a).cmp(&busy(b)).then(a.load().total_cmp(&b.load())).then(a.id.cmp(&b.id))
            }) else {
                break;
            };
            let Some(Waiting { caller, samples, teller }) = line.queue.begin(ticket) else { break };
            worker.begin_samples(samples);
            let wanted = Wanted { model, name: line.name.clone(), samples, caller };
            let place = Place {
                places: self.clone(),
                worker: worker.clone(),
                wanted,
                turn: line.queue.turns(),
                since: Instant::now(),
            };
            if let Err(Ok(place)) = teller.send(Ok(place)) {
                unwanted.push(place);
            }
        }
        unwanted
    }

    fn give_back(self: &Arc<Self>, wanted: &Wanted, held: Duration) {
        let mut state = self.state();
        let Some(line) = state.lines.get_mut(&wanted.model) else { return };
        line.queue.end(wanted.caller, wanted.samples);
        line.pace += NEW_PACE * (held.as_secs_f64() - line.pace);
        let unwanted = self.serve(wanted.model, line);
        drop(state);
        drop(unwanted);
    }

    /// Looks again who can be served: workers came or went.
    pub(crate) fn serve_all(self: &Arc<Self>) {
        let mut state = self.state();
        let unwanted: Vec<Place> = state.lines.iter_mut().flat_map(|(model, line)| self.serve(*model, line)).collect();
        drop(state);
        drop(unwanted);
    }

    /// Nobody gets a place any more; those who wait hear why.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        for waiting in state.lines.values_mut().flat_map(|line| line.queue.drain()) {
            let _ = waiting.teller.send(Err(stopping()));
        }
    }

    /// How many requests wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().lines.values().map(|line| line.queue.len()).sum()
    }

    fn overdue(&self, model: ModelHash) -> Fault {
        let state = self.state();
        let waited = self.limits.patience.as_secs();
        match state.lines.get(&model) {
            None => Fault::exhausted(format!("no worker was free within {waited} s")),
            Some(line) => {
                let told = format!("no worker with model `{}` was free within {waited} s", line.name);
                Fault::exhausted(told).retry_after(self.wait(model, line))
            }
        }
    }

    /// When those who wait now should all have had their turn.
    fn wait(&self, model: ModelHash, line: &Line) -> Duration {
        let places: u32 = self.registry.with_model(model).iter().map(|worker| worker.card.sequences).sum();
        let seconds = line.pace * line.queue.samples() as f64 / f64::from(places.max(1));
        Duration::from_secs_f64(seconds.clamp(SOONEST.as_secs_f64(), LATEST.as_secs_f64()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopping() -> Fault {
    Fault::unavailable("the coordinator is stopping: try again when it is back").retry_after(SOONEST)
}

fn no_worker(name: &ModelName) -> Fault {
    Fault::unavailable(format!("no worker has model `{name}` at the moment: start one"))
}

/// Keeps places given out as workers come and go, until the registry is gone.
pub(crate) async fn keep_serving(places: Arc<Places>) {
    let mut changes = places.registry.changes();
    while changes.changed().await.is_ok() {
        places.serve_all();
    }
}
