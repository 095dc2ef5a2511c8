//! `lode watch`: follow a job that was submitted before.

use lode_domain::id::JobId;

use super::{
    follow::{Interrupt, follow},
    session::on_remote,
};
use crate::{
    args::{Global, job},
    output::print,
};

/// Follow a job to its end
///
/// Tells everything from the job's beginning, also of one that has ended. Fails if the job did not index every concept.
/// Ctrl-C stops looking; the job goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lode watch job-3")]
pub(crate) struct Args {
    /// The job.
    #[arg(value_name = "JOB", value_parser = job)]
    job: JobId,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    on_remote(global, async |client| {
        let outcome = follow(&client, args.job, Interrupt::StopLooking).await?;
        // A reader that has gone away must not hide that the job failed.
        let printed = print(&outcome.report(None), global.format());
        outcome.conclude().and(printed)
    })
    .await
}
