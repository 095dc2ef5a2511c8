//! `lode units show`: one unit in every concept.

use lode_domain::{query::UnitInConcept, unit::UnitName};

use super::{UNIT_COLUMNS, unit_cells};
use crate::{
    args::{Global, ModelArg, RecipeArgs},
    cmd::session::on_index,
    output::{Report, Table, print},
};

/// Show what one unit is worth in every concept
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  lode units show --model gpt2 'transformer.h.3.mlp.c_fc[1187]'")]
pub(crate) struct Args {
    /// The model, by name.
    #[arg(long, value_name = "NAME")]
    model: ModelArg,
    /// The unit: its layer and, in brackets, its index.
    #[arg(value_name = "UNIT")]
    unit: UnitName,
    #[command(flatten)]
    recipe: RecipeArgs,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let recipe = args.recipe.resolve()?;
    on_index(global, Some(&args.model), async |client| {
        print(&report(&client.show(args.model.name(), &args.unit, recipe).await?), global.format())
    })
    .await
}

fn report(rows: &[UnitInConcept]) -> Report {
    let columns: Vec<&'static str> = std::iter::once("concept").chain(UNIT_COLUMNS).collect();
    let mut table = Table::new("concepts", &columns).if_empty("no concepts were mined in this model with this recipe");
    for shown in rows {
        let cells = std::iter::once(shown.concept.to_string().into()).chain(unit_cells(&shown.row));
        table.push(cells.collect());
    }
    Report::of(table)
}
