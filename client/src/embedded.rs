//! A cluster in this process: a coordinator and workers that speak gRPC over the loopback, as they would anywhere.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use lode_coordinator::{Coordinator, Limits, Timing};
use lode_domain::{
    access::{Grant, Role, Secret, TokenTable},
    id::ModelName,
};
use lode_ops::{Front, FrontError};
use lode_proto::{BadTls, Credentials, Fault, LineLimits};
use lode_worker::{CacheConfig, EngineOptions, Model, Precision, Stages, TextShare, Vitals};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::Client;

/// How long workers may take to register.
const REGISTRATION_PATIENCE: Duration = Duration::from_secs(60);

/// An embedded cluster's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of the index; without one, a temporary folder that goes when the cluster stops.
    pub data_dir: Option<PathBuf>,
    /// Where the coordinator listens; port 0 takes a free one.
    pub grpc: SocketAddr,
    /// Where it answers probes and scrapers, if anywhere. The metrics are the process's: only one cluster of a process can
    /// have this.
    pub http: Option<SocketAddr>,
    /// Who may call it; without tokens, everyone may do everything.
    pub tokens: Option<Vec<Grant>>,
    /// Whether jobs that were interrupted go on: for a cluster that stays, not for one that lives as long as a command.
    pub resume: bool,
    /// How much the coordinator takes on.
    pub limits: Limits,
}

/// How long a job of an embedded cluster waits for a worker: its workers are in this process and do not come back.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of responses that the workers of a cluster with a folder keep there, all together, for later jobs.
const RESPONSE_CACHE: u64 = 4 << 30;

/// The workers of an embedded cluster: they share one loaded model.
#[derive(Clone)]
pub struct Workers {
    /// How many.
    pub count: u32,
    /// What users call the model.
    pub name: ModelName,
    /// The model.
    pub model: Arc<Model>,
    /// The float type it was loaded in.
    pub precision: Precision,
    /// Bytes of pooled responses kept in memory, for all workers together.
    pub memory_budget: u64,
    /// Where they note what their time goes to, all together.
    pub stages: Stages,
}

/// A running cluster; [`Embedded::stop`] ends it in good order, dropping it ends it at once.
pub struct Embedded {
    client: Client,
    url: String,
    /// What its own parts show to each other.
    credentials: Credentials,
    front_desk: Arc<Coordinator>,
    stop_workers: CancellationToken,
    stop_coordinator: CancellationToken,
    workers: JoinSet<Result<(), EmbeddedError>>,
    coordinator: JoinSet<Result<(), EmbeddedError>>,
    /// Where responses are kept for later jobs.
    cache_dir: Option<PathBuf>,
    _front: Option<Front>,
    /// Goes when the cluster does.
    _scratch: Option<TempDir>,
}

/// A cluster that does not start or breaks down.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// No place for the index of a cluster without a folder.
    #[error("cannot make a temporary folder for the index: {0}; give one with --data-dir")]
    Scratch(std::io::Error),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// As the system says.
        source: std::io::Error,
    },
    /// Probes and scrapers cannot be served.
    #[error(transparent)]
    Front(#[from] FrontError),
    /// The index or the record of jobs cannot be opened.
    #[error(transparent)]
    Open(#[from] lode_coordinator::OpenError),
    /// The coordinator broke down.
    #[error(transparent)]
    Coordinator(#[from] lode_coordinator::RunError),
    /// A worker broke down.
    #[error(transparent)]
    Worker(#[from] lode_worker::RunError),
    /// The cluster does not answer.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Workers that run and are not seen.
    #[error("only {registered} of {count} workers registered within {} s", REGISTRATION_PATIENCE.as_secs())]
    NotRegistered {
        /// How many did.
        registered: usize,
        /// How many there are.
        count: u32,
    },
    /// A part panicked, or ended though nobody asked it to.
    #[error("a part of the embedded cluster ended: {0}")]
    Ended(String),
}

impl Embedded {
    /// Starts a coordinator and, if given, workers; returns when all are registered.
    ///
    /// Without workers, what the index holds can be queried and exported, but nothing mined or generated.
    ///
    /// # Errors
    /// If a folder or port cannot be had, or a part breaks down while it starts.
    pub async fn start(config: Config, workers: Option<Workers>) -> Result<Self, EmbeddedError> {
        let scratch = match config.data_dir {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("lode-").tempdir().map_err(EmbeddedError::Scratch)?),
        };
        let front = match config.http {
            Some(address) => Some(Front::start(address, &[lode_coordinator::METRICS, lode_worker::METRICS]).await?),
            None => None,
        };
        let listener = listen(config.grpc).await?;
        let address = listener.local_addr().map_err(|source| EmbeddedError::Listen { address: config.grpc, source })?;
        let data_dir = config.data_dir.or_else(|| scratch.as_ref().map(|folder| folder.path().to_owned()));
        let mut tokens = config.tokens;
        let own = tokens.as_mut().map(own_token);
        let credentials = Credentials { token: own, ..Credentials::default() };
        let tokens = tokens.map(|grants| TokenTable::new(&grants));
        let security = lode_coordinator::Security { tokens, tls: None };
        let data_dir = data_dir.unwrap_or_default();
        let timing = Timing { patience: PATIENCE, ..Timing::default() };
        let resume = config.resume;
        // A temporary cluster has no later jobs.
        let cache_dir = scratch.is_none().then(|| data_dir.join("responses"));
        let limits = config.limits;
        let config = lode_coordinator::Config { data_dir, grpc: address, security, timing, resume, limits };
        // Opening waits for a lock and reads the disk.
        let opened = tokio::task::spawn_blocking(move || Coordinator::open(&config)).await;
        let opened = opened.map_err(|error| EmbeddedError::Ended(error.to_string()))??;

        if let Some(front) = &front {
            front.speak_for(opened.clone());
        }

        let stop_coordinator = CancellationToken::new();
        let mut coordinator = JoinSet::new();
        let stop = stop_coordinator.clone();
        let front_desk = opened.clone();
        coordinator.spawn(async move { Ok(lode_coordinator::run(opened, listener, stop).await?) });
        let url = format!("http://{}", reachable(address));
        let mut cluster = Self {
            client: Client::connect(&url, &credentials).await?,
            url,
            credentials,
            front_desk,
            stop_workers: CancellationToken::new(),
            stop_coordinator,
            workers: JoinSet::new(),
            coordinator,
            cache_dir,
            _front: front,
            _scratch: scratch,
        };
        if let Some(workers) = workers {
            cluster.add(&workers).await?;
        }
        Ok(cluster)
    }

    /// A connection to the coordinator.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where the coordinator listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What changes who may call while the cluster runs: its own parts always may.
    pub fn gatekeeper(&self) -> impl Fn(Vec<Grant>) -> Result<(), BadTls> + Send + Sync + use<> {
        let (coordinator, own) = (self.front_desk.clone(), self.credentials.token.clone());
        move |mut grants| {
            grants.extend(own.clone().map(|secret| Grant { role: Role::Admin, secret }));
            coordinator.secure(lode_coordinator::Security { tokens: Some(TokenTable::new(&grants)), tls: None })
        }
    }

    /// Waits until a part breaks down, which it should not.
    pub async fn broken(&mut self) -> EmbeddedError {
        let ended = tokio::select! {
            Some(ended) = self.workers.join_next() => ended,
            Some(ended) = self.coordinator.join_next() => ended,
        };
        match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) => EmbeddedError::Ended("without an error".to_owned()),
            Err(error) => EmbeddedError::Ended(error.to_string()),
        }
    }

    /// Ends workers, then the coordinator, and waits until the index is flushed.
    ///
    /// # Errors
    /// If a part breaks down on the way.
    pub async fn stop(mut self) -> Result<(), EmbeddedError> {
        // Servers wait for their connections to close, and this is one.
        drop(self.client);
        self.stop_workers.cancel();
        let workers = drain(&mut self.workers).await;
        self.stop_coordinator.cancel();
        drain(&mut self.coordinator).await.and(workers)
    }

    async fn add(&mut self, workers: &Workers) -> Result<(), EmbeddedError> {
        for _ in 0..workers.count {
            let listener = listen(([127, 0, 0, 1], 0).into()).await?;
            let config = lode_worker::Config {
                coordinator: self.url.clone(),
                name: workers.name.clone(),
                memory_budget: workers.memory_budget / u64::from(workers.count),
                spill_dir: std::env::temp_dir(),
                cache: CacheConfig {
                    bytes: if self.cache_dir.is_some() { RESPONSE_CACHE / u64::from(workers.count) } else { 0 },
                    dir: self.cache_dir.clone(),
                },
                generation: EngineOptions::default(),
                text_share: TextShare::default(),
                advertise: None,
                precision: workers.precision,
                vitals: Vitals::default(),
                stages: workers.stages.clone(),
                credentials: watch::Sender::new(self.credentials.clone()).subscribe(),
                lines: LineLimits::default(),
            };
            let (model, stop) = (workers.model.clone(), self.stop_workers.clone());
            self.workers.spawn(async move { Ok(lode_worker::run(config, model, listener, stop).await?) });
        }
        let client = self.client.clone();
        tokio::select! {
            registered = registered(client, workers.count) => registered,
            error = self.broken() => Err(error),
        }
    }
}

/// Adds a token that never leaves this process: for the cluster's own workers and client.
fn own_token(grants: &mut Vec<Grant>) -> Secret {
    let random: [u8; 32] = rand::random();
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    grants.push(Grant { role: Role::Admin, secret: hex.clone().into() });
    hex.into()
}

/// Waits until `count` workers are registered.
async fn registered(client: Client, count: u32) -> Result<(), EmbeddedError> {
    let deadline = tokio::time::Instant::now() + REGISTRATION_PATIENCE;
    loop {
        let registered = client.status().await?.workers.len();
        if registered >= count as usize {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(EmbeddedError::NotRegistered { registered, count });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, EmbeddedError> {
    TcpListener::bind(address).await.map_err(|source| EmbeddedError::Listen { address, source })
}

/// Where a listener on every interface is reached from here.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (std::net::Ipv6Addr::LOCALHOST, v6.port()).into(),
        address => address,
    }
}

/// Waits for all parts and gives the first error.
async fn drain(parts: &mut JoinSet<Result<(), EmbeddedError>>) -> Result<(), EmbeddedError> {
    let mut first = Ok(());
    while let Some(ended) = parts.join_next().await {
        let ended = ended.unwrap_or_else(|error| Err(EmbeddedError::Ended(error.to_string())));
        first = first.and(ended);
    }
    first
}
