//! `lode up`: an embedded cluster that stays.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use lode_client::embedded::{Config, Embedded};
use lode_coordinator::LimitArgs;
use lode_domain::{
    access::{Exposure, Grant, grants},
    control::Control,
};
use lode_worker::ModelSource;
use tokio_util::sync::CancellationToken;

use super::session::load;
use crate::{
    args::Global,
    output::{note, write},
};

/// Start an embedded cluster as a server, until Ctrl-C
///
/// A coordinator and workers in one process. Further workers on other machines can join it with `lode-worker
/// --coordinator URL`. Writes the URL to stdout once all workers are ready. SIGHUP reads the token file again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode up --model gpt2=./models/gpt2
  lode up --model gpt2=openai-community/gpt2 --workers 2 --grpc 0.0.0.0:7400 --token-file tokens \\
          --data-dir /var/lib/lode")]
pub(crate) struct Args {
    /// The model: a name of your choice, and a folder in Hugging Face layout or a hub id.
    #[arg(long, value_name = "NAME=PATH_OR_HUB_ID")]
    model: ModelSource,
    /// Serve a control of the model instead, NAME.random-init: random-init draws its weights anew (random-init:SEED by
    /// another seed).
    #[arg(long, value_name = "CONTROL")]
    control: Option<Control>,
    /// Address to serve gRPC on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7400")]
    grpc: SocketAddr,
    /// Address to serve the OpenAI-compatible API, the index as JSON, /healthz, /readyz and /metrics on over HTTP; off
    /// unless given. The API asks for tokens as gRPC does; the metrics anyone may read.
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// File of `ROLE TOKEN` lines: who may call; roles are admin, miner, reader and worker.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Allow an address that others reach though there are no tokens: everyone may do everything.
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    limits: LimitArgs,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    global.refuse_tls_flags()?;
    let tokens = args.token_file.as_deref().map(read_tokens).transpose()?;
    let exposure = Exposure::of(tokens.is_some(), args.insecure);
    exposure.check(args.grpc)?;
    args.http.map_or(Ok(()), |http| exposure.check(http))?;
    let model = match args.control {
        Some(control) => args.model.controlled(control)?,
        None => args.model,
    };
    let workers = load(global, &model).await?;
    let data_dir = global.data_dir.clone().unwrap_or_else(|| PathBuf::from("./lode-data"));
    let limits = args.limits.limits();
    lode_ops::allow_files(limits.lines.connections as u64 + 256);
    let (data, grpc, http, resume) = (Some(data_dir.clone()), args.grpc, args.http, true);
    let config = Config { data_dir: data, grpc, http, tokens, limits, resume };
    let mut cluster = Embedded::start(config, Some(workers)).await?;
    write(&format!("{}\n", cluster.url()))?;
    note(next_steps(global, &model, cluster.url(), &data_dir));
    let shutdown = CancellationToken::new();
    let (admit, token_file) = (cluster.gatekeeper(), args.token_file);
    tokio::spawn(lode_ops::heed_signals(shutdown.clone(), move || {
        let Some(path) = &token_file else { return note("no --token-file to read again") };
        match read_tokens(path).and_then(|grants| Ok(admit(grants)?)) {
            Ok(()) => note("tokens read again"),
            Err(error) => note(format!("the old tokens stay: {error:#}")),
        }
    }));
    tokio::select! {
        error = cluster.broken() => {
            // The other parts still get to end in good order.
            let _ = cluster.stop().await;
            return Err(error.into());
        }
        () = shutdown.cancelled() => {}
    }
    note("stopping");
    Ok(cluster.stop().await?)
}

fn read_tokens(path: &Path) -> anyhow::Result<Vec<Grant>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    grants(&text).with_context(|| format!("{} is not a token file", path.display()))
}

fn next_steps(global: &Global, model: &ModelSource, url: &str, data_dir: &Path) -> String {
    let (name, workers) = (&model.name, global.workers.unwrap_or(1));
    let at = if url == "http://127.0.0.1:7400" { String::new() } else { format!(" --coordinator {url}") };
    format!(
        "serving {name} with {workers} worker{} at {url}, index in {}; Ctrl-C stops

next, in another terminal:
  lode{at} mine --model {name} CONCEPTS
  lode{at} units top --model {name} --concept GROUP/NAME
  lode{at} generate --model {name} --prompt 'Once upon a time' --concept GROUP/NAME --k 50",
        if workers == 1 { "" } else { "s" },
        data_dir.display()
    )
}
