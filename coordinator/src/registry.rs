//! The workers of the cluster: who is there, with which model, and when each was last heard of.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use lode_domain::{
    chat::ChatTemplate,
    cluster::{PROTOCOL_VERSION, WorkerCard, WorkerStatus},
    id::{JobId, ModelHash, ModelName, WorkerId},
};
use lode_proto::{Credentials, Fault};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{turns::Turns, worker_client::WorkerClient, workload::Workload};

/// How much of its lease a worker may be silent before it is asked for a sign of life again.
const SIGNS_A_LEASE: u32 = 5;
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
    fn is_called_with(&self, credentials: &Credentials) {
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

    fn silence(&self) -> Duration {
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

/// A worker that has a shard of a job until this is dropped.
pub(crate) struct Occupied {
    registry: Arc<Registry>,
    pub(crate) worker: Arc<Member>,
    job: JobId,
    number: u64,
}

impl Occupied {
    /// The shard's forward passes are through: the worker can run another one while it delivers this one.
    pub(crate) fn computed(&self) {
        if locked(&self.worker.load).computed(self.number) {
            self.registry.turns.give_back(self.job);
            self.registry.stir();
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        if locked(&self.worker.load).end(self.number) {
            self.registry.turns.give_back(self.job);
        }
        self.registry.stir();
    }
}

/// All registered workers.
pub(crate) struct Registry {
    members: Mutex<BTreeMap<WorkerId, Arc<Member>>>,
    /// Wakes whoever waits for a worker; its number is the next worker's.
    changes: watch::Sender<u64>,
    /// Who gets the next free worker.
    pub(crate) turns: Turns,
    /// Silence after which a worker is taken for gone.
    lease: Duration,
}

impl Registry {
    pub(crate) fn new(lease: Duration) -> Self {
        Self { members: Mutex::default(), changes: watch::Sender::new(0), turns: Turns::default(), lease }
    }

    /// How often workers are asked to say that they live.
    pub(crate) fn heartbeat_interval(&self) -> Duration {
        self.lease / SIGNS_A_LEASE
    }

    /// Has a worker run a shard of `job` that has so many sentences; `None` if it cannot now.
    pub(crate) fn occupy(self: &Arc<Self>, worker: &Arc<Member>, job: JobId, sentences: u64) -> Option<Occupied> {
        let bytes = worker.response_bytes(sentences);
        let mut load = locked(&worker.load);
        if !load.has_room(bytes, worker.card.memory_budget) {
            return None;
        }
        let number = load.begin(job, bytes);
        self.turns.take(job);
        Some(Occupied { registry: self.clone(), worker: worker.clone(), job, number })
    }

    /// Wakes whoever waits for a worker.
    pub(crate) fn stir(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Whether a worker would be taken in.
    ///
    /// # Errors
    /// If it speaks another protocol, its model is not the one that another worker has under that name, or it computes in
    /// another way.
    pub(crate) fn check(&self, card: &WorkerCard) -> Result<(), Fault> {
        fits(card, &locked(&self.members))
    }

    /// The worker of that number at that address.
    ///
    /// Numbers begin anew with the coordinator, so a number alone could be another worker's by now.
    pub(crate) fn member(&self, id: WorkerId, url: &str) -> Option<Arc<Member>> {
        locked(&self.members).get(&id).filter(|member| member.card.url == url).cloned()
    }

    /// Takes a worker in, to be called with `credentials`; one that was known under the same address is replaced.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub(crate) fn register(&self, card: WorkerCard, credentials: &Credentials) -> Result<WorkerId, Fault> {
        let client = WorkerClient::new(&card.url, credentials)?;
        let mut members = locked(&self.members);
        fits(&card, &members)?;
        let (name, hash) = (&card.model.name, card.model.hash);
        // Only who is welcome takes another's place.
        members.retain(|_, member| {
            let is_other = member.card.url != card.url;
            if !is_other {
                member.gone.cancel();
            }
            is_other
        });
        let mut id = WorkerId(0);
        self.changes.send_modify(|changes| {
            *changes += 1;
            id = WorkerId(*changes);
        });
        tracing::info!(worker = %id, url = card.url, device = card.device, model = %name, hash = hash.short(), "registered");
        let told = card.tokens_per_second;
        let speed = if told.is_finite() && told > 0.0 { told } else { 1.0 };
        let member = Member {
            id,
            card,
            client: ArcSwap::from_pointee((credentials.clone(), client)),
            gone: CancellationToken::new(),
            generating: AtomicU32::new(0),
            resting: Mutex::default(),
            last_seen: Mutex::new(Instant::now()),
            speed: Mutex::new(speed),
            load: Mutex::default(),
            heard: Mutex::new(Instant::now()),
            said_goodbye: AtomicBool::new(false),
        };
        members.insert(id, Arc::new(member));
        Ok(id)
    }

    /// Notes a sign of life of a worker that is to be called with `credentials`; false if none is known by that number at that
    /// address.
    pub(crate) fn heartbeat(&self, id: WorkerId, url: &str, credentials: &Credentials) -> bool {
        match self.member(id, url) {
            Some(member) => {
                *locked(&member.last_seen) = Instant::now();
                member.is_called_with(credentials);
                true
            }
            None => false,
        }
    }

    /// Takes a worker out that says goodbye.
    pub(crate) fn goodbye(&self, id: WorkerId, url: &str) {
        if let Some(member) = self.member(id, url) {
            member.said_goodbye.store(true, Ordering::Relaxed);
            self.remove(id, "it said goodbye");
        }
    }

    /// Takes a worker out.
    pub(crate) fn remove(&self, id: WorkerId, why: &str) {
        let removed = locked(&self.members).remove(&id);
        if let Some(member) = removed {
            tracing::info!(worker = %id, why, "removed");
            member.gone.cancel();
            self.stir();
        }
    }

    /// The workers that have a model, by id.
    pub(crate) fn with_model(&self, hash: ModelHash) -> Vec<Arc<Member>> {
        locked(&self.members).values().filter(|member| member.card.model.hash == hash).cloned().collect()
    }

    /// How a model wants conversations written out, as the first of its workers says.
    pub(crate) fn chat_template(&self, hash: ModelHash) -> Option<ChatTemplate> {
        self.with_model(hash).into_iter().find_map(|member| member.card.chat.clone())
    }

    /// All workers, by id.
    pub(crate) fn list(&self) -> Vec<WorkerStatus> {
        let status = |member: &Arc<Member>| WorkerStatus {
            id: member.id,
            url: member.card.url.clone(),
            device: member.card.device.clone(),
            precision: member.card.precision.clone(),
            model: member.card.model.name.to_string(),
            software_version: member.card.software_version.clone(),
            memory_budget: member.card.memory_budget,
            silent_millis: member.silence().as_millis() as u64,
            tokens_per_second: member.speed(),
            mining: locked(&member.load).job(),
        };
        locked(&self.members).values().map(status).collect()
    }

    /// Wakes whenever a worker comes or goes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

/// Whether a worker goes with those that are there; one at its own address would be replaced.
fn fits(card: &WorkerCard, members: &BTreeMap<WorkerId, Arc<Member>>) -> Result<(), Fault> {
    if card.protocol_version != PROTOCOL_VERSION {
        return Err(Fault::precondition(format!(
            "the worker speaks protocol {}, the coordinator {PROTOCOL_VERSION}: run the same version of both (the \
             coordinator is {})",
            card.protocol_version,
            env!("CARGO_PKG_VERSION")
        )));
    }
    let others = || members.values().filter(|member| member.card.url != card.url);
    let (name, hash) = (&card.model.name, card.model.hash);
    if let Some(other) = others().find(|m| m.card.model.name == *name && m.card.model.hash != hash) {
        return Err(other_model(name, other.card.model.hash, hash));
    }
    let same_model = |member: &&Arc<Member>| member.card.model.hash == hash;
    if let Some(other) = others().filter(same_model).find(|m| m.card.precision != card.precision) {
        return Err(Fault::precondition(format!(
            "the other workers with model `{name}` compute in {}, this one in {}: results would depend on which worker \
             ran a concept; start all with the same --dtype",
            other.card.precision, card.precision
        )));
    }
    let kind = |device: &str| device.split([' ', ':']).next().unwrap_or_default().to_owned();
    if let Some(other) = others().filter(same_model).find(|m| kind(&m.card.device) != kind(&card.device)) {
        return Err(Fault::precondition(format!(
            "the other workers with model `{name}` compute on {}, this one on {}: their last bits differ, and results \
             would depend on which worker ran a concept; start all with the same kind of --device",
            other.card.device, card.device
        )));
    }
    Ok(())
}

/// The refusal of a model that stands for something else under its name.
pub(crate) fn other_model(name: &ModelName, known: ModelHash, offered: ModelHash) -> Fault {
    Fault::precondition(format!(
        "model `{name}` is {} here, but the worker's `{name}` is {}: its weights, config or tokenizer differ; load the \
         same files or give it another name",
        known.short(),
        offered.short()
    ))
}

/// Removes workers that fell silent, until `shutdown`.
pub(crate) async fn reap(registry: Arc<Registry>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(registry.heartbeat_interval());
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let silent: Vec<WorkerId> =
            locked(&registry.members).values().filter(|m| m.silence() > registry.lease).map(|m| m.id).collect();
        for id in silent {
            registry.remove(id, "no sign of life");
        }
    }
}

/// A panic while a lock was held leaves plain data behind it that is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use lode_domain::{
        record::ModelRecord,
        unit::{Layer, LayerName},
    };

    use super::*;

    fn card(url: &str, hash: u8) -> WorkerCard {
        let layers = vec![Layer { name: LayerName::new("h.0.mlp"), units: 4 }];
        let model = ModelRecord {
            name: "demo".parse().unwrap(),
            hash: ModelHash([hash; 32]),
            family: "gpt2".into(),
            context_len: 128,
            layers,
        };
        WorkerCard {
            url: url.into(),
            software_version: "0".into(),
            protocol_version: PROTOCOL_VERSION,
            device: "cpu".into(),
            precision: "f32".into(),
            memory_budget: 0,
            tokens_per_second: 10.0,
            sequences: 64,
            model,
            chat: None,
        }
    }

    fn registry() -> Arc<Registry> {
        Arc::new(Registry::new(Duration::from_secs(10)))
    }

    fn register(registry: &Registry, card: WorkerCard) -> Result<WorkerId, Fault> {
        registry.register(card, &Credentials::default())
    }

    #[tokio::test]
    async fn mismatches_are_refused_with_the_reason() {
        let registry = registry();
        let first = register(&registry, card("http://127.0.0.1:1", 1)).unwrap();
        let refused = register(&registry, card("http://127.0.0.1:2", 2)).unwrap_err();
        assert!(refused.message.contains("`demo` is 010101010101 here"), "{refused}");
        let old = WorkerCard { protocol_version: 0, ..card("http://127.0.0.1:3", 1) };
        assert!(register(&registry, old).unwrap_err().message.contains("protocol 0"));
        assert!(register(&registry, card("not a url", 1)).is_err());
        // The same address again is the same worker after a restart.
        let again = register(&registry, card("http://127.0.0.1:1", 1)).unwrap();
        assert_ne!(first, again);
        assert!(
            !registry.heartbeat(first, "http://127.0.0.1:1", &Credentials::default())
                && registry.heartbeat(again, "http://127.0.0.1:1", &Credentials::default())
        );
        // A number from before a restart may be another worker's by now.
        assert!(!registry.heartbeat(again, "http://127.0.0.1:2", &Credentials::default()));
        assert_eq!(registry.list().len(), 1);
    }

    #[tokio::test]
    async fn a_worker_has_room_for_what_it_said() {
        let registry = registry();
        register(&registry, WorkerCard { sequences: 4, ..card("http://127.0.0.1:1", 1) }).unwrap();
        let worker = registry.with_model(ModelHash([1; 32])).remove(0);
        assert!(worker.has_room(4) && worker.has_room(9), "one that is idle takes anything");
        worker.begin_samples(3);
        assert!(worker.has_room(1) && !worker.has_room(2));
        assert_eq!(worker.load(), 0.75);
        worker.rest(Duration::from_secs(60));
        assert!(!worker.has_room(1));
        worker.rest(Duration::ZERO);
        worker.end_samples(3);
        assert!(worker.has_room(9));
    }

    #[tokio::test]
    async fn a_worker_mines_for_one_job_and_who_loses_it_hears_of_it() {
        let registry = registry();
        // Room for the responses of ten sentences to four units.
        register(&registry, WorkerCard { memory_budget: 160, ..card("http://127.0.0.1:1", 1) }).unwrap();
        let worker = registry.with_model(ModelHash([1; 32])).remove(0);
        let occupied = registry.occupy(&worker, JobId(1), 9).unwrap();
        assert!(registry.occupy(&worker, JobId(2), 0).is_none() && !worker.is_idle());
        assert_eq!(registry.list()[0].mining, Some(JobId(1)));
        let mut changes = registry.changes();
        changes.borrow_and_update();
        // Once its forward passes are through, there is room for another one that fits beside it.
        occupied.computed();
        assert!(changes.has_changed().unwrap() && worker.can_run(1) && !worker.can_run(2));
        changes.borrow_and_update();
        drop(occupied);
        assert!(changes.has_changed().unwrap() && worker.is_idle() && worker.can_run(2));
        worker.was_seen_at(30.0);
        worker.was_seen_at(f64::NAN);
        assert_eq!(worker.speed(), 20.0);
        registry.remove(worker.id, "test");
        assert!(worker.gone.is_cancelled());
    }
}
