//! `lode units`: questions about single units and layers.

mod layers;
mod show;
mod top;

use clap::Subcommand;
use lode_domain::{expertise::Extra, query::UnitRow};

use crate::{args::Global, output::Cell};

/// Questions about units.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Top(top::Args),
    Show(show::Args),
    Layers(layers::Args),
}

pub(crate) async fn run(global: &Global, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Top(args) => top::run(global, args).await,
        Command::Show(args) => show::run(global, args).await,
        Command::Layers(args) => layers::run(global, args).await,
    }
}

/// Columns of [`unit_cells`].
const UNIT_COLUMNS: [&str; 9] =
    ["unit", "ap", "on_mean", "on_p50", "on_p90", "off_mean", "=layer", "=index", "=number"];

/// Columns of [`extra_cells`].
const EXTRA_COLUMNS: [&str; 6] = ["ap_low", "ap_high", "held_out_ap", "auroc", "cohens_d", "l1"];

/// What is kept of a unit beside its expertise.
fn extra_cells(row: &UnitRow) -> [Cell; EXTRA_COLUMNS.len()] {
    let Extra { auroc, cohens_d, held_out_ap, ap_interval, l1 } = row.extra;
    let (low, high) = ap_interval.unzip();
    [low.into(), high.into(), held_out_ap.into(), auroc.into(), cohens_d.into(), l1.into()]
}

/// A unit with its expertise.
fn unit_cells(row: &UnitRow) -> Vec<Cell> {
    let expertise = row.expertise;
    vec![
        row.name.to_string().into(),
        expertise.ap.into(),
        expertise.on_mean.into(),
        expertise.on_p50.into(),
        expertise.on_p90.into(),
        expertise.off_mean.into(),
        row.name.layer.to_string().into(),
        row.name.index.into(),
        row.unit.0.into(),
    ]
}
