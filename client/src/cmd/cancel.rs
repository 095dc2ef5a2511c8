//! `lode cancel`: stop a job.

use lode_domain::id::JobId;

use super::session::on_remote;
use crate::{
    args::{Global, job},
    output::{Report, print},
};

/// Stop a job; what it has indexed stays
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lode cancel job-3")]
pub(crate) struct Args {
    /// The job.
    #[arg(value_name = "JOB", value_parser = job)]
    job: JobId,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    on_remote(global, async |client| {
        let state = client.cancel(args.job).await?;
        print(&Report::default().fact("job", args.job.to_string()).fact("state", state.to_string()), global.format())
    })
    .await
}
