//! `lode-coordinator`: the index and the jobs of a Lode cluster.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use lode_coordinator::{Config, Coordinator, LimitArgs, Security, Timing};
use lode_domain::access::{Exposure, Role, TokenTable, grants};
use lode_proto::{Authority, Identity, ServerTls};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Keeps the index of expertise, divides mining jobs over workers and answers clients.
#[derive(Parser)]
#[command(
    name = "lode-coordinator",
    version,
    after_help = "Examples:
  lode-coordinator --data-dir /var/lib/lode
  lode-coordinator --data-dir /var/lib/lode --grpc 10.0.0.1:7400 --token-file tokens
  lode-coordinator --data-dir /var/lib/lode --grpc 10.0.0.1:7400 --token-file tokens \\
                   --tls-cert server.pem --tls-key server.key --tls-client-ca ca.pem

SIGHUP reads the token file and the certificates again; what is wrong with them is logged, and the old ones stay.

Then start workers with  lode-worker --coordinator http://127.0.0.1:7400 --model NAME=PATH
and mine with            lode --coordinator http://127.0.0.1:7400 mine --model NAME CONCEPTS"
)]
struct Args {
    /// Folder of the index; created if it is not there.
    #[arg(long, value_name = "DIR", env = "LODE_DATA_DIR")]
    data_dir: PathBuf,
    /// Address to serve gRPC on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
    grpc: SocketAddr,
    /// Seconds of silence after which a worker is taken for gone, and its shard goes to another.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    lease: u64,
    /// Seconds that a job without any worker waits for one before it fails.
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    patience: u64,
    /// Seconds that a worker may send nothing of its shard before the shard goes to another.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    shard_deadline: u64,
    #[command(flatten)]
    operations: lode_ops::OpsArgs,
    /// File of `ROLE TOKEN` lines: who may call; roles are admin, miner, reader and worker.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Certificate (PEM) to serve TLS with.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let in only those who show a certificate that this authority (PEM) has signed; it vouches for workers' too.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Allow an address that others reach though there are no tokens: everyone may do everything.
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

impl Args {
    fn security(&self) -> anyhow::Result<Security> {
        let tokens = match &self.token_file {
            Some(path) => Some(read_tokens(path)?),
            None => None,
        };
        let client_ca = self.tls_client_ca.as_deref().map(Authority::read).transpose()?;
        let tls = match self.tls_cert.as_deref().zip(self.tls_key.as_deref()) {
            Some((cert, key)) => Some(ServerTls { identity: Identity::read(cert, key)?, client_ca }),
            None => None,
        };
        Ok(Security { tokens, tls })
    }

    fn reload(&self, coordinator: &Coordinator) -> anyhow::Result<()> {
        Ok(coordinator.secure(self.security()?)?)
    }
}

fn read_tokens(path: &Path) -> anyhow::Result<TokenTable> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let grants = grants(&text).with_context(|| format!("{} is not a token file", path.display()))?;
    let table = TokenTable::new(&grants);
    if !table.has(Role::Worker) && !table.has(Role::Admin) {
        tracing::warn!(path = %path.display(), "there is no worker's token: no worker can join");
    }
    Ok(table)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    // Its end is the end of the process: the last spans are sent then.
    let _telemetry = args.operations.observe("lode-coordinator")?;
    let security = args.security()?;
    let exposure = Exposure::of(security.tokens.is_some(), args.insecure);
    exposure.check(args.grpc)?;
    args.operations.http.map_or(Ok(()), |http| exposure.check(http))?;
    // Up before the index is open: probes hear that the coordinator lives and is not ready.
    let front = args.operations.front(&[lode_coordinator::METRICS]).await?;

    let limits = args.limits.limits();
    // A connection takes a file; the index and the rest have theirs too.
    lode_ops::allow_files(limits.lines.connections as u64 + 256);
    let timing = Timing {
        lease: Duration::from_secs(args.lease),
        patience: Duration::from_secs(args.patience),
        shard_deadline: Duration::from_secs(args.shard_deadline),
    };
    let config = Config { data_dir: args.data_dir.clone(), grpc: args.grpc, security, timing, resume: true, limits };
    let coordinator = Coordinator::open(&config)?;
    if let Some(front) = &front {
        front.speak_for(coordinator.clone());
    }
    let listener = TcpListener::bind(config.grpc).await.with_context(|| format!("cannot listen on {}", config.grpc))?;
    tracing::info!(address = %listener.local_addr()?, data_dir = %config.data_dir.display(), "serving");

    let shutdown = CancellationToken::new();
    let reloaded = coordinator.clone();
    tokio::spawn(lode_ops::heed_signals(shutdown.clone(), move || match args.reload(&reloaded) {
        Ok(()) => tracing::info!("tokens and certificates read again"),
        Err(error) => tracing::error!(error = format!("{error:#}"), "the old tokens and certificates stay"),
    }));
    lode_coordinator::run(coordinator, listener, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}
