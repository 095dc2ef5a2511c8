//! `lode units top`: a concept's experts.

use lode_domain::{
    criterion::Criterion,
    query::{TopQuery, TopUnits},
};

use super::{EXTRA_COLUMNS, UNIT_COLUMNS, extra_cells, unit_cells};
use crate::{
    args::{Global, SubjectArgs, ap},
    cmd::session::on_index,
    output::{Cell, Report, Table, print, thousands},
};

/// List the best units for a concept
///
/// Ordered by AP or another criterion that the concept was mined with, then layer in forward order, then index. on_* are the mean, median and 90th percentile of the unit's
/// responses to the positives, off_mean the mean of those to the negatives.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode units top --model gpt2 --concept sense/bank
  lode units top --model gpt2 --concept sense/bank --criterion cohens-d
  lode units top --model gpt2 --concept sense/bank --layer '*.mlp.*' --min-ap 0.9 --format csv")]
pub(crate) struct Args {
    #[command(flatten)]
    subject: SubjectArgs,
    /// By what they are ordered: ap, auroc, cohens-d or l1; `lode mine --criteria` says which a concept has.
    #[arg(long, value_name = "CRITERION", default_value_t)]
    criterion: Criterion,
    /// At most this many.
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Only layers whose name fits this glob, such as '*.mlp.*'.
    #[arg(long, value_name = "GLOB")]
    layer: Option<String>,
    /// Only units with at least this AP.
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = ap)]
    min_ap: Option<f32>,
    /// Lowest score first.
    #[arg(long)]
    bottom: bool,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let subject = args.subject.resolve()?;
    let (criterion, top, bottom) = (args.criterion, args.top, args.bottom);
    let query = TopQuery { criterion, top, layers: args.layer, min_ap: args.min_ap, bottom };
    on_index(global, Some(&args.subject.model), async |client| {
        print(&report(&client.top(subject, query).await?), global.format())
    })
    .await
}

fn report(top: &TopUnits) -> Report {
    // What the concept was not mined with is not shown.
    let extra: Vec<usize> =
        (0..EXTRA_COLUMNS.len()).filter(|&n| top.rows.iter().any(|row| extra_cells(row)[n] != Cell::Nothing)).collect();
    let (ap, rest) = UNIT_COLUMNS.split_at(2);
    let columns: Vec<&'static str> =
        ap.iter().copied().chain(extra.iter().map(|&n| EXTRA_COLUMNS[n])).chain(rest.iter().copied()).collect();
    let mut table = Table::new("units", &columns).if_empty("no unit fits");
    for row in &top.rows {
        let (mut cells, beside) = (unit_cells(row), extra_cells(row));
        cells.splice(2..2, extra.iter().map(|&n| beside[n].clone()));
        table.push(cells);
    }
    Report::of(table).remark(format!("{} of {} units that fit", top.rows.len(), thousands(top.matching.into())))
}
