//! The worker's place in the cluster: register, say every few seconds that it lives, register again when forgotten.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lode_domain::{cluster::WorkerCard, id::WorkerId};
use lode_proto::{
    BadCredentials, BearerChannel, Credentials, Fault, FaultKind,
    wire::{DeregisterRequest, HeartbeatRequest, RegisterRequest, registry_client::RegistryClient},
};
use tokio_util::sync::CancellationToken;

use crate::{RunError, Vitals};

/// The longest wait between two tries to reach the coordinator.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long a goodbye waits for a registration: the coordinator takes a few seconds at most to see whether it reaches the worker.
const SOON: Duration = Duration::from_secs(4);
/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct Registration {
    url: String,
    card: WorkerCard,
    stub: Mutex<RegistryClient<BearerChannel>>,
    worker: Mutex<Option<WorkerId>>,
    /// Held while a registration is on its way: a goodbye waits for what comes of it.
    registering: tokio::sync::Mutex<()>,
    /// Set with the goodbye: who leaves does not register again.
    leaving: CancellationToken,
    vitals: Vitals,
}

/// Whether a fault says that the worker, as it is, is not welcome; anything else may pass.
fn is_refusal(fault: &Fault) -> bool {
    use FaultKind::{Denied, Invalid, Precondition, Unauthenticated};
    matches!(fault.kind, Invalid | Precondition | Unauthenticated | Denied)
}

impl Registration {
    pub(crate) fn new(
        url: String,
        card: WorkerCard,
        credentials: &Credentials,
        vitals: Vitals,
    ) -> Result<Self, RunError> {
        let stub = stub(&url, credentials).map_err(|reason| RunError::BadUrl { url: url.clone(), reason })?;
        let (stub, leaving) = (Mutex::new(stub), CancellationToken::new());
        let (worker, registering) = (Mutex::new(None), tokio::sync::Mutex::default());
        Ok(Self { url, card, stub, worker, registering, leaving, vitals })
    }

    /// A way to the coordinator with other credentials.
    ///
    /// # Errors
    /// If they do not go with its URL.
    pub(crate) fn stub(&self, credentials: &Credentials) -> Result<RegistryClient<BearerChannel>, BadCredentials> {
        stub(&self.url, credentials)
    }

    /// Speaks through another stub from now on, unless the coordinator refuses it. One that cannot be reached may come to know
    /// it.
    ///
    /// # Errors
    /// The refusal.
    pub(crate) async fn introduce(&self, stub: RegistryClient<BearerChannel>) -> Result<(), Fault> {
        if let Some(worker) = self.get() {
            let sign = HeartbeatRequest { worker: worker.0, url: self.card.url.clone() };
            match stub.clone().heartbeat(sign).await.map_err(Fault::from) {
                Err(fault) if is_refusal(&fault) => return Err(fault),
                _ => {}
            }
        }
        *locked(&self.stub) = stub;
        Ok(())
    }

    fn current(&self) -> RegistryClient<BearerChannel> {
        locked(&self.stub).clone()
    }

    /// Keeps the worker registered; ends only if the coordinator refuses it.
    pub(crate) async fn keep(&self) -> RunError {
        loop {
            let interval = match self.register().await {
                Ok(interval) => interval,
                Err(fault) => return RunError::Refused { url: self.url.clone(), fault },
            };
            while self.is_known().await {
                tokio::time::sleep(interval).await;
            }
            self.stay_away_if_leaving().await;
            self.set(None);
            tracing::warn!(coordinator = self.url, "the coordinator does not know this worker any more");
        }
    }

    /// Registers, however long the coordinator is away; returns how often to say that the worker lives.
    async fn register(&self) -> Result<Duration, Fault> {
        let mut wait = Duration::from_millis(100);
        loop {
            match self.register_once().await {
                Ok(interval) => return Ok(interval),
                // Only these say that this worker, as it is, will never be welcome.
                Err(fault) if is_refusal(&fault) => return Err(fault),
                Err(fault) => {
                    tracing::warn!(coordinator = self.url, %fault, "not registered yet; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
            }
        }
    }

    /// One try.
    async fn register_once(&self) -> Result<Duration, Fault> {
        let registering = self.registering.lock().await;
        if self.leaving.is_cancelled() {
            drop(registering);
            self.stay_away_if_leaving().await;
        }
        let reply = self.current().register(RegisterRequest::from(self.card.clone())).await?.into_inner();
        let worker = WorkerId(reply.worker);
        tracing::info!(%worker, coordinator = self.url, url = self.card.url, "registered");
        self.set(Some(worker));
        Ok(Duration::from_millis(reply.heartbeat_millis.max(100).into()))
    }

    /// Goes no further once the worker leaves; the process is about to end.
    async fn stay_away_if_leaving(&self) {
        if self.leaving.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }

    /// False only when the coordinator answers that it does not know the worker: one that is away may come back.
    async fn is_known(&self) -> bool {
        let Some(worker) = self.get() else { return false };
        match self.current().heartbeat(HeartbeatRequest { worker: worker.0, url: self.card.url.clone() }).await {
            Ok(reply) => reply.into_inner().known,
            Err(status) => {
                tracing::warn!(coordinator = self.url, fault = %Fault::from(status), "no answer to a heartbeat");
                true
            }
        }
    }

    /// Tells the coordinator that no more work should come. A registration that is on its way is waited for: the coordinator would
    /// give work to whoever it took in until the lease ends.
    pub(crate) async fn say_goodbye(&self) {
        self.leaving.cancel();
        // What takes longer is broken off with the process, and the coordinator then takes nobody in.
        let _none_comes = tokio::time::timeout(SOON, self.registering.lock()).await;
        let Some(worker) = self.get() else { return };
        self.set(None);
        if let Err(status) =
            self.current().deregister(DeregisterRequest { worker: worker.0, url: self.card.url.clone() }).await
        {
            tracing::warn!(fault = %Fault::from(status), "could not say goodbye");
        }
    }

    fn get(&self) -> Option<WorkerId> {
        *locked(&self.worker)
    }

    fn set(&self, worker: Option<WorkerId>) {
        self.vitals.set_registered(worker.is_some());
        *locked(&self.worker) = worker;
    }
}

fn stub(url: &str, credentials: &Credentials) -> Result<RegistryClient<BearerChannel>, BadCredentials> {
    let bearer = credentials.bearer()?;
    let endpoint = credentials.endpoint(url)?.connect_timeout(TIMEOUT).timeout(TIMEOUT).tcp_nodelay(true);
    Ok(RegistryClient::with_interceptor(endpoint.connect_lazy(), bearer))
}

/// A panic while a lock was held leaves plain data behind it that is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
