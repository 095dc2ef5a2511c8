//! `lode units top`: a concept's experts.

use lode_domain::query::{TopQuery, TopUnits};

use super::{UNIT_COLUMNS, unit_cells};
use crate::{
    args::{Global, SubjectArgs, ap},
    cmd::session::on_index,
    output::{Report, Table, print, thousands},
};

/// List the units with the highest AP for a concept
///
/// Ordered by AP, then layer in forward order, then index. on_* are the mean, median and 90th percentile of the unit's
/// responses to the positives, off_mean the mean of those to the negatives.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode units top --model gpt2 --concept sense/bank
  lode units top --model gpt2 --concept sense/bank --layer '*.mlp.*' --min-ap 0.9 --format csv")]
pub(crate) struct Args {
    #[command(flatten)]
    subject: SubjectArgs,
    /// At most this many.
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Only layers whose name fits this glob, such as '*.mlp.*'.
    #[arg(long, value_name = "GLOB")]
    layer: Option<String>,
    /// Only units with at least this AP.
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = ap)]
    min_ap: Option<f32>,
    /// Lowest AP first.
    #[arg(long)]
    bottom: bool,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let subject = args.subject.resolve()?;
    let query = TopQuery { top: args.top, layers: args.layer, min_ap: args.min_ap, bottom: args.bottom };
    on_index(global, Some(&args.subject.model), async |client| {
        print(&report(&client.top(subject, query).await?), global.format())
    })
    .await
}

fn report(top: &TopUnits) -> Report {
    let mut table = Table::new("units", &UNIT_COLUMNS).if_empty("no unit fits");
    top.rows.iter().for_each(|row| table.push(unit_cells(row)));
    Report::of(table).remark(format!("{} of {} units that fit", top.rows.len(), thousands(top.matching.into())))
}
