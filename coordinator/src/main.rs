//! `lode-coordinator`: the index and the jobs of a Lode cluster.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use clap::Parser;
use lode_coordinator::{Config, Coordinator};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Keeps the index of expertise, divides mining jobs over workers and answers clients.
#[derive(Parser)]
#[command(
    name = "lode-coordinator",
    version,
    after_help = "Examples:
  lode-coordinator --data-dir /var/lib/lode
  lode-coordinator --data-dir ./index --grpc 127.0.0.1:7400

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
    #[command(flatten)]
    operations: lode_ops::OpsArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    args.operations.log_format.init();
    // Up before the index is open: probes hear that the coordinator lives and is not ready.
    let front = args.operations.front(&[lode_coordinator::METRICS]).await?;

    let config = Config { data_dir: args.data_dir, grpc: args.grpc };
    let coordinator = Coordinator::open(&config)?;
    if let Some(front) = &front {
        front.speak_for(coordinator.clone());
    }
    let listener = TcpListener::bind(config.grpc).await.with_context(|| format!("cannot listen on {}", config.grpc))?;
    tracing::info!(address = %listener.local_addr()?, data_dir = %config.data_dir.display(), "serving");

    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone()));
    lode_coordinator::run(coordinator, listener, shutdown).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Ends the program in good order on Ctrl-C or SIGTERM.
async fn stop_on_signal(shutdown: CancellationToken) {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => return tracing::error!(%error, "cannot listen for SIGTERM"),
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    shutdown.cancel();
}
