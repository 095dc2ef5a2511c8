//! The worker: it registers with a coordinator, mines shards and generates text on one device.
//!
//! The way of a shard: `server.rs` puts its messages together, `shard.rs` tokenises it, the device thread (`device.rs`)
//! runs every distinct sentence once into a `store.rs`, or takes it from the `cache.rs`, and `score.rs` turns the responses into
//! summaries and streams them back. Only `server.rs` and `registration.rs` know the wire.

mod cache;
mod conditions;
mod device;
mod fault;
mod generating;
mod held;
mod http;
mod metrics;
mod registration;
mod reload;
mod score;
mod scoring;
mod server;
mod shard;
mod shares;
mod source;
mod speed;
mod stages;
mod store;

use std::{path::PathBuf, sync::Arc, time::Duration};

use lode_domain::{
    cluster::{PROTOCOL_VERSION, WorkerCard},
    id::ModelName,
    record::ModelRecord,
};
use lode_model::Engine;
pub use lode_model::{
    BadOption, DeviceChoice, Dropped, EngineOptions, LoadOptions, Model, ModelError, Precision, Prepared, Reuse, Text,
    hub,
};
use lode_proto::{
    BadCredentials, BadTls, CallLimits, Charged, Credentials, Door, Fault, LineLimits, SMALL_MESSAGE,
    wire::worker_server::WorkerServer,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use self::{
    cache::ResponseCache, device::Device, generating::Generating, held::Held, registration::Registration, shard::Room,
};
pub use self::{
    cache::{CacheConfig, CacheError},
    http::Vitals,
    metrics::METRICS,
    shares::{BadShare, TextShare},
    source::{BadModelSource, LoadError, ModelSource, load},
    stages::{Stage, Stages},
};

/// How long text may go on after a shutdown was asked for; shards are handed back at once.
const DRAIN: Duration = Duration::from_secs(5);

/// How long what ends then may take to say so.
const FAREWELL: Duration = Duration::from_secs(1);

/// Bytes of one message at most: a condition on all units of a large model is about 5 MB.
const MESSAGE_BYTES: usize = 64 << 20;

/// What a worker's flags meant.
#[derive(Clone, Debug)]
pub struct Config {
    /// URL of the coordinator.
    pub coordinator: String,
    /// What users call the model.
    pub name: ModelName,
    /// Bytes of pooled responses kept in memory; the rest of a shard goes to `spill_dir`.
    pub memory_budget: u64,
    /// Where responses beyond the budget go.
    pub spill_dir: PathBuf,
    /// Where responses are kept from shard to shard.
    pub cache: CacheConfig,
    /// What text is generated with. The coordinator is told how many samples run at a time.
    pub generation: EngineOptions,
    /// The share of the device that texts have beside mining.
    pub text_share: TextShare,
    /// URL under which the coordinator reaches this worker; by default its listen address.
    pub advertise: Option<String>,
    /// Float type that the model was loaded in.
    pub precision: Precision,
    /// Where the worker notes how it is, for those who probe it.
    pub vitals: Vitals,
    /// Where it notes what its time goes to, for those who measure it.
    pub stages: Stages,
    /// What it shows to the coordinator, and asks the coordinator to show; it may change while the worker runs.
    pub credentials: watch::Receiver<Credentials>,
    /// How many connections it holds.
    pub lines: LineLimits,
}

/// A worker that cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The coordinator will not have it.
    #[error("the coordinator at {url} refused this worker: {fault}")]
    Refused {
        /// Where the coordinator is.
        url: String,
        /// Its reason.
        fault: Fault,
    },
    /// No URL under which others reach it.
    #[error("listening on {address} says not where others reach this worker: add --advertise http://HOST:PORT")]
    NoAdvertise {
        /// The listen address.
        address: std::net::SocketAddr,
    },
    /// The coordinator's URL is none.
    #[error("`{url}` is not a coordinator's URL: {reason}")]
    BadUrl {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: BadCredentials,
    },
    /// The certificate and its key are not what they should be.
    #[error("the TLS certificate cannot be used")]
    Certificate(#[source] BadTls),
    /// The cache's file cannot be had.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// No room for a single page of keys and values.
    #[error("--kv-budget {bytes} is too little: {least} bytes are what the shortest text needs")]
    NoKvBudget {
        /// As given.
        bytes: u64,
        /// The least that is of use.
        least: u64,
    },
    /// The model cannot run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The device thread ended.
    #[error("the device thread died; see the log above")]
    DeviceDied,
    /// The listen address cannot be read.
    #[error("the listen address cannot be read: {0}")]
    Address(#[from] std::io::Error),
    /// The gRPC server broke off.
    #[error("the gRPC server failed: {0}")]
    Server(#[from] tonic::transport::Error),
    /// The descriptors of the services cannot be read.
    #[error("gRPC reflection failed: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Registers and serves until `shutdown`.
///
/// # Errors
/// If the coordinator refuses the worker, or the device or the server fails.
pub async fn run(
    config: Config,
    model: Arc<Model>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let address = listener.local_addr()?;
    let credentials = config.credentials.borrow().clone();
    let url = match &config.advertise {
        Some(url) => url.clone(),
        None if address.ip().is_unspecified() => return Err(RunError::NoAdvertise { address }),
        None if credentials.identity.is_some() => format!("https://{address}"),
        None => format!("http://{address}"),
    };
    let (own_config, own_model) = (config.clone(), model.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        Ok::<_, RunError>((speed::measure(&own_model)?, Held::new(open_cache(&own_config, &own_model)?)))
    });
    let (speed, held) = prepared.await.map_err(|_| RunError::DeviceDied)??;
    let card = card(&config, &model, url, speed);
    let stop_serving = CancellationToken::new();
    let (budget, spill_dir, stages) = (config.memory_budget, config.spill_dir.clone(), config.stages.clone());
    let engine = open_engine(&model, config.generation)?;
    let generating = Generating::new(model.clone(), engine);
    let (device, died) = Device::start(model.clone(), (held.clone(), budget), (generating, config.text_share));
    let vitals = config.vitals.clone();
    vitals.set_device_runs(true);
    let room = Room { budget, spill_dir, stages };
    let stop = server::Stop { mining: stop_serving.clone(), generating: CancellationToken::new() };
    let seats = server::Seats::new(config.generation.sequences);
    let worker = server::Desk::new(model, device, held, room, seats, stop.clone());
    let service = WorkerServer::new(worker).max_decoding_message_size(MESSAGE_BYTES);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<WorkerServer<server::Desk>>().await;
    let door = Door::new(config.lines, Charged::Strangers(CallLimits::default()));
    reload::admit(&door, &[&credentials]).map_err(RunError::Certificate)?;
    let serve = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .layer(door.guard())
        .add_service(health_service.max_decoding_message_size(SMALL_MESSAGE))
        .add_service(service)
        .add_service(lode_proto::reflection()?)
        .serve_with_incoming_shutdown(door.incoming(listener), stop_serving.clone().cancelled_owned());
    let registration = Registration::new(config.coordinator, card, &credentials, vitals.clone())?;
    let reloading = reload::heed(config.credentials, credentials, &door, &registration);
    let drained = async {
        shutdown.cancelled().await;
        // New work stops coming before the streams that are open end.
        registration.say_goodbye().await;
        stop_serving.cancel();
        tokio::time::sleep(DRAIN).await;
        // Who still waits for text hears why there is no more.
        stop.generating.cancel();
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        served = serve => Ok(served?),
        refused = registration.keep() => Err(refused),
        () = reloading => Ok(()),
        _ = died => {
            vitals.set_device_runs(false);
            Err(RunError::DeviceDied)
        }
        () = drained => {
            tracing::warn!("streams were still open {} s after shutdown", DRAIN.as_secs());
            Ok(())
        }
    }
}

/// An engine with room for something.
fn open_engine(model: &Arc<Model>, options: EngineOptions) -> Result<Engine, RunError> {
    let engine = Engine::new(model.clone(), options);
    let positions = engine.load().room;
    if positions == 0 {
        return Err(RunError::NoKvBudget { bytes: options.kv_bytes, least: engine.page_bytes() });
    }
    tracing::info!(positions, context = model.context_len(), "room for keys and values");
    Ok(engine)
}

fn open_cache(config: &Config, model: &Model) -> Result<Option<ResponseCache>, CacheError> {
    // Everything that the bits of a response depend on, beside the sentence and the recipe, which are in its key: another
    // build may compute otherwise, and so may this one on another processor.
    let purpose = format!(
        "{} {} {} {} {}",
        model.hash(),
        config.precision,
        model.device_label(),
        source::this_program(),
        source::processor()
    );
    let cache = ResponseCache::open(&config.cache, &config.spill_dir, &purpose, model.unit_space().len())?;
    if let Some(cache) = &cache {
        tracing::info!(held = cache.len(), room = cache.capacity(), "cache of responses open");
    }
    Ok(cache)
}

fn card(config: &Config, model: &Model, url: String, tokens_per_second: f64) -> WorkerCard {
    WorkerCard {
        url,
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol_version: PROTOCOL_VERSION,
        device: model.device_label(),
        precision: config.precision.to_string(),
        memory_budget: config.memory_budget,
        tokens_per_second,
        sequences: config.generation.sequences.get(),
        model: ModelRecord {
            name: config.name.clone(),
            hash: model.hash(),
            family: model.family().to_owned(),
            context_len: model.context_len() as u32,
            layers: model.unit_space().layers().to_vec(),
        },
        chat: model.chat_template().cloned(),
    }
}
