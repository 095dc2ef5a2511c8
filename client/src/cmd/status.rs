//! `lode status`: the cluster at this moment.

use lode_domain::cluster::ClusterStatus;

use super::session::on_index;
use crate::{
    args::Global,
    output::{Cell, Report, Table, print},
};

/// Show the workers and models of the cluster
///
/// As CSV: the workers. As JSON: everything.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode status
  lode status --format json | jq .models
  lode --embedded --data-dir ./index status")]
pub(crate) struct Args {}

pub(crate) async fn run(global: &Global, _args: Args) -> anyhow::Result<()> {
    on_index(global, None, async |client| print(&report(&client.status().await?), global.format())).await
}

fn report(status: &ClusterStatus) -> Report {
    let columns = [
        "worker",
        "model",
        "device",
        "dtype",
        "memory_budget_bytes",
        "tokens_per_second",
        "mining",
        "silent_seconds",
        "=version",
        "url",
    ];
    let mut workers = Table::new("workers", &columns).if_empty("no workers");
    for worker in &status.workers {
        workers.push(vec![
            worker.id.to_string().into(),
            worker.model.clone().into(),
            worker.device.clone().into(),
            worker.precision.clone().into(),
            Cell::Bytes(worker.memory_budget),
            (worker.tokens_per_second.round() as u64).into(),
            worker.mining.map(|job| job.to_string()).unwrap_or_default().into(),
            Cell::Rounded(worker.silent_millis as f64 / 1000.0),
            worker.software_version.clone().into(),
            worker.url.clone().into(),
        ]);
    }
    let columns = ["model", "family", "layers", "units", "context_len", "concepts", "workers", "~content", "=hash"];
    let mut models = Table::new("models", &columns).if_empty("no models: start a worker");
    for one in &status.models {
        let model = &one.model;
        models.push(vec![
            model.name.to_string().into(),
            model.family.clone().into(),
            model.layers.len().into(),
            model.units().into(),
            model.context_len.into(),
            one.concepts.into(),
            one.workers.into(),
            model.hash.short().into(),
            model.hash.to_string().into(),
        ]);
    }
    Report::default()
        .fact("version", status.software_version.clone())
        .fact("index_bytes", Cell::Bytes(status.index_bytes))
        .table(workers)
        .table(models)
}
