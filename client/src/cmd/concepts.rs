//! `lode concepts`: what was mined in a model.

use lode_domain::query::IndexedConcept;

use super::session::on_index;
use crate::{
    args::{Global, ModelArg},
    output::{Report, Table, print},
};

/// List the concepts that were mined in a model
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode concepts --model gpt2
  lode --embedded --data-dir ./index concepts --model gpt2 --format csv")]
pub(crate) struct Args {
    /// The model, by name.
    #[arg(long, value_name = "NAME")]
    model: ModelArg,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    on_index(global, Some(&args.model), async |client| {
        print(&report(&client.concepts(args.model.name()).await?), global.format())
    })
    .await
}

fn report(concepts: &[IndexedConcept]) -> Report {
    let columns = [
        "concept",
        "pooling",
        "tokens",
        "positives",
        "negatives",
        "=held_out_positives",
        "=held_out_negatives",
        "=limit_per_class",
        "=seed",
        "dtype",
        "units",
        "criteria",
        "findings",
    ];
    let mut table = Table::new("concepts", &columns).if_empty("no concepts were mined in this model");
    for indexed in concepts {
        let (recipe, header) = (indexed.recipe, &indexed.header);
        table.push(vec![
            indexed.concept.to_string().into(),
            recipe.pooling.to_string().into(),
            recipe.tokens.to_string().into(),
            header.positives.into(),
            header.negatives.into(),
            header.held_out.0.into(),
            header.held_out.1.into(),
            header.limit_per_class.into(),
            header.seed.into(),
            header.precision.clone().into(),
            header.units.into(),
            header.measures.criteria.into(),
            header.findings.clone().into(),
        ]);
    }
    Report::of(table)
}
