//! `lode overlap`: the experts that two concepts share.

use lode_domain::{
    concept::ConceptId,
    query::{ConceptRef, OverlapAnswer},
};

use super::session::on_index;
use crate::{
    args::{ExpertArgs, Global, ModelArg, RecipeArgs},
    output::{Report, Table, print},
};

/// Compare the experts of two concepts
///
/// jaccard is |A ∩ B| / |A ∪ B| over the experts, correlation Pearson's over the AP of all units.
/// As CSV: the shared experts. As JSON: everything.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode overlap --model gpt2 sense/bank topic/money
  lode overlap --model gpt2 sense/bank topic/money --min-ap 0.9")]
pub(crate) struct Args {
    /// The model, by name.
    #[arg(long, value_name = "NAME")]
    model: ModelArg,
    /// The first concept.
    #[arg(value_name = "A")]
    first: ConceptId,
    /// The second concept.
    #[arg(value_name = "B")]
    second: ConceptId,
    #[command(flatten)]
    experts: ExpertArgs,
    #[command(flatten)]
    recipe: RecipeArgs,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let recipe = args.recipe.resolve()?;
    let first = ConceptRef { model: args.model.name().clone(), concept: args.first.clone(), recipe };
    on_index(global, Some(&args.model), async |client| {
        let answer = client.overlap(first, args.second.clone(), args.experts.resolve()).await?;
        print(&report(&args, &answer), global.format())
    })
    .await
}

fn report(args: &Args, answer: &OverlapAnswer) -> Report {
    let mut shared = Table::new("shared", &["unit", "ap_first", "ap_second", "=layer", "=index", "=number"])
        .if_empty("no unit is an expert of both");
    for (first, second) in &answer.shared {
        shared.push(vec![
            first.name.to_string().into(),
            first.expertise.ap.into(),
            second.expertise.ap.into(),
            first.name.layer.to_string().into(),
            first.name.index.into(),
            first.unit.0.into(),
        ]);
    }
    Report::of(shared)
        .fact("first", args.first.to_string())
        .fact("second", args.second.to_string())
        .fact("first_experts", answer.first_experts)
        .fact("second_experts", answer.second_experts)
        .fact("shared_experts", answer.shared.len())
        .fact("jaccard", answer.jaccard)
        .fact("correlation", answer.correlation)
}
