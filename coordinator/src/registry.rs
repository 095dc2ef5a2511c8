//! The workers of the cluster: who is there, with which model, and when each was last heard of.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use lode_domain::{
    cluster::{PROTOCOL_VERSION, WorkerCard, WorkerStatus},
    id::{ModelHash, ModelName, WorkerId},
};
use lode_proto::{Credentials, Fault};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::worker_client::WorkerClient;

/// How often workers are asked to say that they live.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(2);
/// Silence after which a worker is taken for gone.
const LEASE: Duration = Duration::from_secs(10);

/// One registered worker.
pub(crate) struct Member {
    pub(crate) id: WorkerId,
    pub(crate) card: WorkerCard,
    pub(crate) client: WorkerClient,
    /// Generation requests it is working on.
    generating: AtomicU32,
    last_seen: Mutex<Instant>,
}

impl Member {
    /// A fault of this worker, with its name.
    pub(crate) fn fault(&self, fault: Fault) -> Fault {
        Fault { message: format!("{} at {}: {}", self.id, self.card.url, fault.message), ..fault }
    }

    fn silence(&self) -> Duration {
        locked(&self.last_seen).elapsed()
    }

    /// Counts a generation request until the guard is dropped.
    pub(crate) fn count_request(self: &Arc<Self>) -> RequestGuard {
        self.generating.fetch_add(1, Ordering::Relaxed);
        RequestGuard(self.clone())
    }
}

/// See [`Member::count_request`].
pub(crate) struct RequestGuard(Arc<Member>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.generating.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All registered workers.
pub(crate) struct Registry {
    members: Mutex<BTreeMap<WorkerId, Arc<Member>>>,
    /// Counts arrivals and departures; also the next worker's number.
    changes: watch::Sender<u64>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { members: Mutex::default(), changes: watch::Sender::new(0) }
    }
}

impl Registry {
    /// Takes a worker in, to be called with `credentials`; one that was known under the same address is replaced.
    ///
    /// # Errors
    /// If it speaks another protocol, or its model is not the one that another worker has under that name.
    pub(crate) fn register(&self, card: WorkerCard, credentials: &Credentials) -> Result<WorkerId, Fault> {
        if card.protocol_version != PROTOCOL_VERSION {
            return Err(Fault::precondition(format!(
                "the worker speaks protocol {}, the coordinator {PROTOCOL_VERSION}: run the same version of both (the \
                 coordinator is {})",
                card.protocol_version,
                env!("CARGO_PKG_VERSION")
            )));
        }
        let client = WorkerClient::new(&card.url, credentials)?;
        let mut members = locked(&self.members);
        members.retain(|_, member| member.card.url != card.url);
        let (name, hash) = (&card.model.name, card.model.hash);
        if let Some(other) = members.values().find(|m| m.card.model.name == *name && m.card.model.hash != hash) {
            return Err(other_model(name, other.card.model.hash, hash));
        }
        let same_model = |member: &&Arc<Member>| member.card.model.hash == hash;
        if let Some(other) = members.values().filter(same_model).find(|m| m.card.precision != card.precision) {
            return Err(Fault::precondition(format!(
                "the other workers with model `{name}` compute in {}, this one in {}: results would depend on which worker \
                 ran a concept; start all with the same --dtype",
                other.card.precision, card.precision
            )));
        }
        let mut id = WorkerId(0);
        self.changes.send_modify(|changes| {
            *changes += 1;
            id = WorkerId(*changes);
        });
        tracing::info!(worker = %id, url = card.url, device = card.device, model = %name, hash = hash.short(), "registered");
        let last_seen = Mutex::new(Instant::now());
        members.insert(id, Arc::new(Member { id, card, client, generating: AtomicU32::new(0), last_seen }));
        Ok(id)
    }

    /// Notes a sign of life; false if no worker is known by that number at that address.
    ///
    /// Numbers begin anew with the coordinator, so a number alone could be another worker's by now.
    pub(crate) fn heartbeat(&self, id: WorkerId, url: &str) -> bool {
        match locked(&self.members).get(&id).filter(|member| member.card.url == url) {
            Some(member) => {
                *locked(&member.last_seen) = Instant::now();
                true
            }
            None => false,
        }
    }

    /// Takes a worker out that says goodbye.
    pub(crate) fn goodbye(&self, id: WorkerId, url: &str) {
        let is_meant = locked(&self.members).get(&id).is_some_and(|member| member.card.url == url);
        if is_meant {
            self.remove(id, "it said goodbye");
        }
    }

    /// Takes a worker out.
    pub(crate) fn remove(&self, id: WorkerId, why: &str) {
        if locked(&self.members).remove(&id).is_some() {
            tracing::info!(worker = %id, why, "removed");
            self.changes.send_modify(|changes| *changes += 1);
        }
    }

    /// The workers that have a model, by id.
    pub(crate) fn with_model(&self, hash: ModelHash) -> Vec<Arc<Member>> {
        locked(&self.members).values().filter(|member| member.card.model.hash == hash).cloned().collect()
    }

    /// The worker with a model that has the fewest generation requests.
    pub(crate) fn least_loaded(&self, hash: ModelHash) -> Option<Arc<Member>> {
        self.with_model(hash).into_iter().min_by_key(|member| (member.generating.load(Ordering::Relaxed), member.id))
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
        };
        locked(&self.members).values().map(status).collect()
    }

    /// Wakes whenever a worker comes or goes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
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
    let mut ticks = tokio::time::interval(HEARTBEAT);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let silent: Vec<WorkerId> =
            locked(&registry.members).values().filter(|m| m.silence() > LEASE).map(|m| m.id).collect();
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
            model,
        }
    }

    fn register(registry: &Registry, card: WorkerCard) -> Result<WorkerId, Fault> {
        registry.register(card, &Credentials::default())
    }

    #[tokio::test]
    async fn mismatches_are_refused_with_the_reason() {
        let registry = Registry::default();
        let first = register(&registry, card("http://127.0.0.1:1", 1)).unwrap();
        let refused = register(&registry, card("http://127.0.0.1:2", 2)).unwrap_err();
        assert!(refused.message.contains("`demo` is 010101010101 here"), "{refused}");
        let old = WorkerCard { protocol_version: 0, ..card("http://127.0.0.1:3", 1) };
        assert!(register(&registry, old).unwrap_err().message.contains("protocol 0"));
        assert!(register(&registry, card("not a url", 1)).is_err());
        // The same address again is the same worker after a restart.
        let again = register(&registry, card("http://127.0.0.1:1", 1)).unwrap();
        assert_ne!(first, again);
        assert!(!registry.heartbeat(first, "http://127.0.0.1:1") && registry.heartbeat(again, "http://127.0.0.1:1"));
        // A number from before a restart may be another worker's by now.
        assert!(!registry.heartbeat(again, "http://127.0.0.1:2"));
        assert_eq!(registry.list().len(), 1);
    }

    #[tokio::test]
    async fn requests_go_to_the_least_loaded() {
        let registry = Registry::default();
        register(&registry, card("http://127.0.0.1:1", 1)).unwrap();
        register(&registry, card("http://127.0.0.1:2", 1)).unwrap();
        let hash = ModelHash([1; 32]);
        let busy = registry.least_loaded(hash).unwrap();
        let guard = busy.count_request();
        assert_ne!(registry.least_loaded(hash).unwrap().id, busy.id);
        drop(guard);
        assert_eq!(registry.least_loaded(hash).unwrap().id, busy.id);
        assert!(registry.least_loaded(ModelHash([9; 32])).is_none());
    }
}
