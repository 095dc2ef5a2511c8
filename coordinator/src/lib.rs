//! The coordinator: it knows the workers, divides jobs among them, merges what they send into the index, answers
//! queries from it and hands generation requests to a worker.
//!
//! Only `server.rs`, `registry_server.rs` and `worker_client.rs` know the wire. A new RPC is a method in a server file
//! that asks one of the others.

pub mod config;
mod dispatch;
mod fault;
mod http;
mod intake;
mod job;
mod job_run;
mod metrics;
mod queries;
mod registry;
mod registry_server;
mod security;
mod server;
mod worker_client;

use std::{
    sync::{Arc, atomic::AtomicU8},
    time::Duration,
};

use lode_domain::cluster::ClusterStatus;
use lode_index::{Index, IndexError};
use lode_proto::{
    Guard,
    wire::{lode_server::LodeServer, registry_server::RegistryServer},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;

pub use self::{config::Config, metrics::METRICS, security::Security};
use self::{http::Phase, job::Jobs, registry::Registry};

/// Bytes of one message at most: a concept's list of a million sentences is about 4 MB.
const MESSAGE_BYTES: usize = 64 << 20;

/// How long streams may go on after a shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(5);

/// Everything the coordinator's parts share.
pub struct Coordinator {
    index: Index,
    registry: Arc<Registry>,
    jobs: Arc<Jobs>,
    /// A [`Phase`].
    phase: AtomicU8,
    security: Security,
}

/// A coordinator that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The index does not open.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The certificate and its key, or the clients' authority, are not what they should be.
    #[error("the TLS certificates cannot be used")]
    Certificates(#[source] tonic::transport::Error),
    /// The gRPC server broke off.
    #[error("the gRPC server failed: {0}")]
    Server(#[from] tonic::transport::Error),
    /// The descriptors of the services cannot be read.
    #[error("gRPC reflection failed: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

impl Coordinator {
    /// Opens the index in `config`'s folder.
    ///
    /// # Errors
    /// If it does not open; the message says why and what to do.
    pub fn open(config: &Config) -> Result<Arc<Self>, IndexError> {
        let index = Index::open(&config.data_dir.join("index"))?;
        let phase = AtomicU8::new(Phase::Starting as u8);
        let (registry, jobs) = (Arc::new(Registry::default()), Arc::new(Jobs::default()));
        Ok(Arc::new(Self { index, registry, jobs, phase, security: config.security.clone() }))
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
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<LodeServer<server::Front>>().await;
    let front = LodeServer::new(server::Front::new(coordinator.clone(), shutdown.clone()))
        .max_decoding_message_size(MESSAGE_BYTES);
    let workers = RegistryServer::new(registry_server::Door::new(coordinator.clone()));
    let mut server = tonic::transport::Server::builder();
    if let Some(tls) = &coordinator.security.tls {
        server = server.tls_config(tls.config()).map_err(RunError::Certificates)?;
    }
    let serve = server
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .layer(Guard::new(coordinator.security.tokens.clone()))
        .add_service(health_service)
        .add_service(front)
        .add_service(workers)
        .add_service(lode_proto::reflection()?)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), shutdown.clone().cancelled_owned());
    let reaper = tokio::spawn(registry::reap(coordinator.registry.clone(), shutdown.clone()));
    coordinator.enter(Phase::Serving);
    let stopped = async {
        shutdown.cancelled().await;
        coordinator.enter(Phase::Draining);
        coordinator.jobs.cancel_all();
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serve => served?,
        () = stopped => tracing::warn!("streams were still open {} s after shutdown", DRAIN.as_secs()),
    }
    reaper.abort();
    coordinator.index.flush()?;
    Ok(())
}
