//! `lode jobs`: what was asked of the coordinator since it started.

use lode_domain::event::JobStatus;

use super::session::on_remote;
use crate::{
    args::Global,
    output::{Report, Table, print},
};

/// List the jobs since the coordinator started
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode jobs
  lode jobs --format json | jq '.[] | select(.state == \"running\")'")]
pub(crate) struct Args {}

pub(crate) async fn run(global: &Global, _args: Args) -> anyhow::Result<()> {
    on_remote(global, async |client| print(&report(&client.jobs().await?), global.format())).await
}

fn report(jobs: &[JobStatus]) -> Report {
    let columns = ["job", "model", "state", "concepts", "indexed", "failed", "tokens_done", "tokens_total", "error"];
    let mut table = Table::new("jobs", &columns).if_empty("no jobs since the coordinator started");
    for job in jobs {
        table.push(vec![
            job.id.to_string().into(),
            job.model.to_string().into(),
            job.state.to_string().into(),
            job.concepts.into(),
            job.indexed.into(),
            job.failed.into(),
            job.progress.tokens_done.into(),
            job.progress.tokens_total.into(),
            job.error.clone().into(),
        ]);
    }
    Report::of(table)
}
