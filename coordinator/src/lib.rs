//! The coordinator: it knows the workers, divides jobs among them, merges what they send into the index, answers
//! queries from it and hands generation requests to a worker.
//!
//! Only `server.rs`, `registry_server.rs` and `worker_client.rs` know the wire. A new RPC is a method in a server file
//! that asks one of the others; what is served over HTTP is in `http/`.

mod attempt;
mod board;
mod chat;
mod commit;
mod conditions;
pub mod config;
mod dispatch;
mod fault;
mod http;
mod intake;
mod job;
mod job_run;
mod journal;
mod limits;
mod member;
mod merge;
mod meter;
mod metrics;
mod places;
mod planning;
mod queries;
mod queue;
mod registry;
mod registry_server;
mod scoring;
mod security;
mod sent;
mod server;
mod split;
mod spool;
mod tally;
mod turns;
mod watch;
mod worker_client;
mod workload;

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock, atomic::AtomicU8},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use axum::Router;
use futures::FutureExt as _;
use lode_domain::{
    cluster::ClusterStatus,
    event::{JobEvent, JobState},
    id::JobId,
};
use lode_index::{Index, IndexError};
use lode_proto::{
    BadTls, Charged, Door, Fault, SMALL_MESSAGE,
    wire::{lode_server::LodeServer, registry_server::RegistryServer},
};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    conditions::Resolver, http::Phase, job::Jobs, journal::Journal, places::Places, registry::Registry, spool::Spool,
};
pub use self::{
    config::{Config, Timing},
    journal::JournalError,
    limits::{GenerationLimits, LimitArgs, Limits},
    metrics::METRICS,
    security::Security,
};

/// Bytes of one message at most: a concept's list of a million sentences is about 4 MB.
const MESSAGE_BYTES: usize = 64 << 20;

/// Bytes of a worker's registration at most: the layers of a large model are a few thousand bytes.
const REGISTER_BYTES: usize = 1 << 20;

/// How long streams and jobs may go on after a shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(5);

/// Everything the coordinator's parts share.
pub struct Coordinator {
    index: Index,
    data_dir: PathBuf,
    registry: Arc<Registry>,
    /// Where requests to generate go.
    places: Arc<Places>,
    limits: GenerationLimits,
    jobs: Arc<Jobs>,
    resolver: Resolver,
    timing: Timing,
    /// Whether jobs that were interrupted go on.
    resume: bool,
    /// Interrupts jobs; they go on when the coordinator starts again.
    suspend: CancellationToken,
    /// Merges of partial summaries, one at a time: each has all cores, and blocks for every one of them in memory.
    merging: Arc<Semaphore>,
    /// The tasks of jobs: the index is flushed when they have stopped.
    job_tasks: TaskTracker,
    /// A [`Phase`].
    phase: AtomicU8,
    security: ArcSwap<Security>,
    door: Door,
    started: SystemTime,
    /// What is answered over HTTP; made with the first connection.
    router: OnceLock<Router>,
    /// Calls over HTTP that run.
    calls: TaskTracker,
}

/// A coordinator whose data cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The index does not open.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The jobs' records cannot be read.
    #[error("the record of jobs cannot be used: {0}")]
    Journal(#[from] JournalError),
}

/// A coordinator that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The index does not open.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The certificate and its key, or the clients' authority, are not what they should be.
    #[error("the TLS certificates cannot be used")]
    Certificates(#[source] BadTls),
    /// The gRPC server broke off.
    #[error("the gRPC server failed: {0}")]
    Server(#[from] tonic::transport::Error),
    /// The descriptors of the services cannot be read.
    #[error("gRPC reflection failed: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl Coordinator {
    /// Opens the index and the record of jobs in `config`'s folder.
    ///
    /// # Errors
    /// If one does not open; the message says why and what to do.
    pub fn open(config: &Config) -> Result<Arc<Self>, OpenError> {
        let index = Index::open_with_cache(&config.data_dir.join("index"), config.limits.index_cache)?;
        let jobs = Jobs::restore(Journal::open(&config.data_dir, !config.resume)?)?;
        let unfinished: Vec<JobId> = jobs.unfinished().iter().map(|job| job.id).collect();
        Spool::tidy(&config.data_dir, &unfinished);
        let registry = Arc::new(Registry::new(config.timing.lease));
        Ok(Arc::new(Self {
            index,
            data_dir: config.data_dir.clone(),
            places: Places::new(registry.clone(), config.limits.generation),
            limits: config.limits.generation,
            registry,
            jobs: Arc::new(jobs),
            resolver: Resolver::new(),
            timing: config.timing,
            resume: config.resume,
            suspend: CancellationToken::new(),
            merging: Arc::new(Semaphore::new(1)),
            job_tasks: TaskTracker::new(),
            phase: AtomicU8::new(Phase::Starting as u8),
            security: ArcSwap::from_pointee(config.security.clone()),
            door: Door::new(config.limits.lines, Charged::Everyone(config.limits.calls)),
            started: SystemTime::now(),
            router: OnceLock::new(),
            calls: TaskTracker::new(),
        }))
    }

    /// Goes on with the jobs that had not ended when the coordinator stopped.
    async fn resume(self: Arc<Self>) {
        let unfinished = self.jobs.unfinished();
        if unfinished.is_empty() || !self.resume {
            return;
        }
        // Workers that live notice at their next sign of life that they are unknown, and register again. Who plans before,
        // plans for one of them.
        let wait = 2 * self.registry.heartbeat_interval();
        if self.suspend.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
            return;
        }
        for handle in unfinished {
            match self.index.model_named(&handle.spec.model) {
                Ok(model) => {
                    tracing::info!(job = %handle.id, "job goes on");
                    job_run::launch(self.clone(), handle, model.hash);
                }
                Err(error) => handle.tell(JobEvent::Ended { state: JobState::Failed, error: error.to_string() }),
            }
        }
    }

    /// Changes tokens and certificates while the coordinator runs. What is open stays open.
    ///
    /// # Errors
    /// If the certificates cannot be used; then nothing changes.
    pub fn secure(&self, security: Security) -> Result<(), BadTls> {
        self.door.change(security.tokens.clone(), security.tls.as_ref())?;
        self.security.store(Arc::new(security));
        Ok(())
    }

    /// Asks the index on a blocking thread.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Index) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let index = self.index.clone();
        let answer = tokio::task::spawn_blocking(move || question(&index)).await;
        answer.map_err(|error| Fault::internal(format!("the query failed: {error}")))?
    }

    /// The cluster at this moment.
    ///
    /// # Errors
    /// If the index cannot be read.
    fn status(&self) -> Result<ClusterStatus, IndexError> {
        Ok(ClusterStatus {
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            workers: self.registry.list(),
            models: queries::models(&self.index, &self.registry)?,
            index_bytes: self.index.size_on_disk()?,
        })
    }
}

/// Serves until `shutdown`; then jobs stop, streams end, and the index is flushed.
///
/// # Errors
/// If the server cannot be run or the index cannot be flushed.
pub async fn run(
    coordinator: Arc<Coordinator>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let door = &coordinator.door;
    coordinator.secure(Security::clone(&coordinator.security.load())).map_err(RunError::Certificates)?;
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<LodeServer<server::Front>>().await;
    let front = LodeServer::new(server::Front::new(coordinator.clone(), shutdown.clone()))
        .max_decoding_message_size(MESSAGE_BYTES);
    let workers =
        RegistryServer::new(registry_server::Door::new(coordinator.clone())).max_decoding_message_size(REGISTER_BYTES);
    let serve = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .max_concurrent_streams(door.streams())
        .layer(door.guard())
        .add_service(health_service.max_decoding_message_size(SMALL_MESSAGE))
        .add_service(front)
        .add_service(workers)
        .add_service(lode_proto::reflection()?)
        .serve_with_incoming_shutdown(door.incoming(listener), shutdown.clone().cancelled_owned());
    let resumed = tokio::spawn(coordinator.clone().resume());
    let reaper = tokio::spawn(registry::reap(coordinator.registry.clone(), shutdown.clone()));
    let serving = tokio::spawn(places::keep_serving(coordinator.places.clone()));
    coordinator.enter(Phase::Serving);
    let overdue = async {
        shutdown.cancelled().await;
        coordinator.enter(Phase::Draining);
        coordinator.suspend.cancel();
        coordinator.job_tasks.close();
        // What is being generated may come to its end; what waits could not.
        coordinator.places.close();
        tokio::time::sleep(DRAIN).await;
    }
    .shared();
    let calls = &coordinator.calls;
    let served = async {
        let served = serve.await;
        // Those over HTTP come to their end too.
        calls.close();
        calls.wait().await;
        served
    };
    tokio::select! {
        served = served => served?,
        () = overdue.clone() => tracing::warn!("streams were still open {} s after shutdown", DRAIN.as_secs()),
    }
    reaper.abort();
    serving.abort();
    resumed.abort();
    // Without streams there may still be jobs that end what they are at; what they commit is to be flushed too.
    tokio::select! {
        biased;
        () = coordinator.job_tasks.wait() => {}
        () = overdue => tracing::warn!("jobs were still at work {} s after shutdown", DRAIN.as_secs()),
    }
    coordinator.index.flush()?;
    Ok(())
}
