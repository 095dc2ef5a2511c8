//! `lode-worker`: one device of a Lode cluster.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use bytesize::ByteSize;
use clap::Parser;
use lode_domain::{
    access::{Exposure, Role, Secret, grants},
    control::Control,
};
use lode_proto::{Authority, Credentials, Identity, LineLimits};
use lode_worker::{
    CacheConfig, Config, DeviceChoice, EngineOptions, LoadOptions, ModelSource, Precision, Reuse, Stages, TextShare,
    Vitals,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

/// Mines shards and generates text on one device, for one coordinator.
#[derive(Parser)]
#[command(
    name = "lode-worker",
    version,
    after_help = "Examples:
  lode-worker --coordinator http://127.0.0.1:7400 --model demo=./models/demo
  lode-worker --coordinator http://10.0.0.1:7400 --model gpt2=openai-community/gpt2 \\
              --device cuda:1 --listen 0.0.0.0:7500 --advertise http://10.0.0.2:7500 --token-file worker.token

  lode-worker --model gpt2=openai-community/gpt2 --control random-init

SIGHUP reads the token file and the certificates again; what is wrong with them is logged, and the old ones stay."
)]
struct Args {
    /// URL of the coordinator.
    #[arg(long, value_name = "URL", env = "LODE_COORDINATOR", default_value = "http://127.0.0.1:7400")]
    coordinator: String,
    /// The model: a name of your choice, and a folder in Hugging Face layout or a hub id.
    #[arg(long, value_name = "NAME=PATH_OR_HUB_ID")]
    model: ModelSource,
    /// Serve a control of the model instead, under a name of its own, NAME.random-init: random-init draws its weights anew
    /// (random-init:SEED by another seed).
    #[arg(long, value_name = "CONTROL")]
    control: Option<Control>,
    /// Where to compute: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Float type of weights and matrix products: f32, bf16 or f16. Pooling and scores are always f32.
    #[arg(long, default_value = "f32")]
    dtype: Precision,
    /// Pooled responses kept in memory; what is beyond goes to a temporary file.
    #[arg(long, value_name = "SIZE", default_value = "16GiB")]
    memory_budget: ByteSize,
    /// Folder of that temporary file.
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    spill_dir: PathBuf,
    /// Responses kept on disk from shard to shard, so that sentences that were run before need not run again; 0 for none.
    /// When it is full, the oldest make room.
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    response_cache: ByteSize,
    /// Folder of a file for them that outlives the worker; without it they are in a temporary file in --spill-dir.
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Keys and values of texts that are being generated, and of beginnings that may come again: memory at most. Texts that do
    /// not fit wait.
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    kv_budget: ByteSize,
    /// Samples generated at a time at most; further requests wait at the coordinator.
    #[arg(long, value_name = "N", default_value = "256")]
    max_sequences: NonZeroU32,
    /// Tokens of prompts at most that are read beside each new token of other texts: more lets prompts be read sooner, fewer lets
    /// tokens come steadier.
    #[arg(long, value_name = "N", default_value = "64")]
    prompt_tokens: NonZeroU32,
    /// The share of the device's time that texts have while sentences are mined, above 0 and below 1: more makes tokens come
    /// sooner and mining take longer. Where only one of the two has work, it has all.
    #[arg(long, value_name = "SHARE", default_value_t)]
    text_share: TextShare,
    /// Address to serve on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// URL under which the coordinator reaches this worker; needed when listening on 0.0.0.0.
    #[arg(long, value_name = "URL")]
    advertise: Option<String>,
    #[command(flatten)]
    operations: lode_ops::OpsArgs,
    /// Token to show to the coordinator, which must show it in turn; better given in LODE_TOKEN or a file, which
    /// others on the machine do not see.
    #[arg(long, value_name = "TOKEN", env = "LODE_TOKEN", hide_env_values = true)]
    token: Option<Secret>,
    /// File whose first `worker TOKEN` line has the token; outranks --token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Authority (PEM) that signed the coordinator's certificate, for https://.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Certificate (PEM) to show to the coordinator and to serve TLS with.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Allow an address that others reach though there is no token: everyone may use the device.
    #[arg(long)]
    insecure: bool,
    /// Connections at most: the coordinator needs one or two, probes and tools a few. When there are more, those over
    /// which nobody has called for longest are closed.
    #[arg(long, value_name = "N", default_value = "64")]
    max_connections: NonZeroU32,
}

impl Args {
    fn credentials(&self) -> anyhow::Result<Credentials> {
        let token = match &self.token_file {
            Some(path) => Some(read_token(path)?),
            None => self.token.clone(),
        };
        let ca = self.ca.as_deref().map(Authority::read).transpose()?;
        let identity = match self.tls_cert.as_deref().zip(self.tls_key.as_deref()) {
            Some((cert, key)) => Some(Identity::read(cert, key)?),
            None => None,
        };
        Ok(Credentials { token, ca, identity })
    }
}

fn read_token(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let grants = grants(&text).with_context(|| format!("{} is not a token file", path.display()))?;
    let own = grants.into_iter().find(|grant| grant.role == Role::Worker);
    Ok(own.with_context(|| format!("{} has no line `worker TOKEN`", path.display()))?.secret)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Its end is the end of the process: the last spans are sent then.
    let _telemetry = args.operations.observe("lode-worker")?;
    // Up before the model is loaded: probes hear that the worker lives and is not ready.
    let front = args.operations.front(&[lode_worker::METRICS]).await?;

    // What is wrong with the flags is said before a model is loaded.
    let credentials = args.credentials()?;
    Exposure::of(credentials.token.is_some(), args.insecure).check(args.listen)?;
    let options = LoadOptions { device: args.device, precision: args.dtype, control: None };
    let source = match args.control {
        Some(control) => args.model.clone().controlled(control)?,
        None => args.model.clone(),
    };
    let name = source.name.clone();
    let model = tokio::task::spawn_blocking(move || lode_worker::load(&source, &options)).await??;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    let (credentials, known) = watch::channel(credentials);
    let config = Config {
        coordinator: args.coordinator.clone(),
        name,
        memory_budget: args.memory_budget.as_u64(),
        spill_dir: args.spill_dir.clone(),
        cache: CacheConfig { bytes: args.response_cache.as_u64(), dir: args.cache_dir.clone() },
        generation: EngineOptions {
            kv_bytes: args.kv_budget.as_u64(),
            sequences: args.max_sequences,
            prompt_rows: args.prompt_tokens.get() as usize,
            reuse: Reuse::On,
        },
        text_share: args.text_share,
        advertise: args.advertise.clone(),
        precision: args.dtype,
        vitals: Vitals::default(),
        stages: Stages::default(),
        credentials: known,
        lines: LineLimits { connections: args.max_connections.get() as usize, ..LineLimits::default() },
    };
    lode_ops::allow_files(u64::from(args.max_connections.get()) + 256);
    if let Some(front) = &front {
        front.speak_for(Arc::new(config.vitals.clone()));
    }
    let shutdown = CancellationToken::new();
    tokio::spawn(lode_ops::heed_signals(shutdown.clone(), move || match args.credentials() {
        // Nobody listens any more to one that stops.
        Ok(new) => drop(credentials.send(new)),
        Err(error) => tracing::error!(error = format!("{error:#}"), "the old token and certificates stay"),
    }));
    lode_worker::run(config, model, listener, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}
