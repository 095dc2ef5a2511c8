//! `lode nearest`: concepts whose experts are most like those of one.

use lode_domain::{
    concept::ConceptId,
    query::{ConceptRef, Neighbour},
};

use super::session::on_index;
use crate::{
    args::{ExpertArgs, Global, ModelArg, RecipeArgs},
    output::{Report, Table, print},
};

/// Find the concepts whose experts are most like those of one
///
/// Ordered by the share of common experts (jaccard), then by the correlation of AP over all units.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode nearest --model gpt2 sense/bank
  lode nearest --model gpt2 sense/bank --top 500 --limit 3")]
pub(crate) struct Args {
    /// The model, by name.
    #[arg(long, value_name = "NAME")]
    model: ModelArg,
    /// The concept.
    #[arg(value_name = "A")]
    concept: ConceptId,
    #[command(flatten)]
    experts: ExpertArgs,
    /// At most this many concepts.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    recipe: RecipeArgs,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let of = ConceptRef { model: args.model.name().clone(), concept: args.concept, recipe: args.recipe.resolve()? };
    on_index(global, Some(&args.model), async |client| {
        let neighbours = client.nearest(of, args.experts.resolve(), args.limit).await?;
        print(&report(&neighbours), global.format())
    })
    .await
}

fn report(neighbours: &[Neighbour]) -> Report {
    let mut table = Table::new("neighbours", &["concept", "shared_experts", "jaccard", "correlation"])
        .if_empty("no other concept was mined in this model with this recipe");
    for neighbour in neighbours {
        table.push(vec![
            neighbour.concept.to_string().into(),
            neighbour.shared.into(),
            neighbour.jaccard.into(),
            neighbour.correlation.into(),
        ]);
    }
    Report::of(table)
}
