//! The workers of the cluster: who is there, with which model, and who of them is busy.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use lode_domain::{
    chat::ChatTemplate,
    cluster::{PROTOCOL_VERSION, WorkerCard, WorkerStatus},
    id::{JobId, ModelHash, ModelName, WorkerId},
};
use lode_proto::{Credentials, Fault};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    member::{Member, locked},
    turns::Turns,
    worker_client::WorkerClient,
};

/// How much of its lease a worker may be silent before it is asked for a sign of life again.
const SIGNS_A_LEASE: u32 = 5;

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
        if self.worker.has_computed(self.number) {
            self.registry.turns.give_back(self.job);
            self.registry.stir();
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        if self.worker.ends(self.number) {
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
        let number = worker.begin(job, sentences)?;
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
        members.insert(id, Arc::new(Member::new(id, card, (credentials.clone(), client))));
        Ok(id)
    }

    /// Notes a sign of life of a worker that is to be called with `credentials`; false if none is known by that number at that
    /// address.
    pub(crate) fn heartbeat(&self, id: WorkerId, url: &str, credentials: &Credentials) -> bool {
        match self.member(id, url) {
            Some(member) => {
                member.lives();
                member.is_called_with(credentials);
                true
            }
            None => false,
        }
    }

    /// Takes a worker out that says goodbye.
    pub(crate) fn goodbye(&self, id: WorkerId, url: &str) {
        if let Some(member) = self.member(id, url) {
            member.says_goodbye();
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
            mining: member.mines(),
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
