//! `lode report`: a page about concepts' experts.

use std::path::PathBuf;

use lode_domain::{concept::ConceptId, query::ConceptRef};
use lode_eval::page::Page;

use super::{
    agreement::Agreement,
    eval::{Experts, Outcome, add_experts, command_line},
    session::on_index,
};
use crate::{
    args::{Global, ModelArg, RecipeArgs},
    output::{Cell, Report, Table, print},
};

/// Make a page about the experts of concepts
///
/// It shows how well units tell the concepts apart, where their experts are, who shares them, and, of concepts that were mined with
/// other criteria or with sentences held out, whether criteria agree and what is left of AP. Writes report.html, a file that needs nothing else, and report.json and report.csv with the same numbers into --out. It asks
/// the index only; no worker is needed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode report --model gpt2 --concept sense/bank topic/sea --out report
  lode --embedded --data-dir ./index report --model gpt2 --concept sense/bank --top 100 --out report")]
pub(crate) struct Args {
    /// The model, by name.
    #[arg(long, value_name = "NAME")]
    model: ModelArg,
    /// Concepts, mined before.
    #[arg(long = "concept", value_name = "GROUP/NAME", num_args = 1.., required = true)]
    concepts: Vec<ConceptId>,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The experts are the K units with the highest AP.
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Folder of the files, made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let recipe = args.recipe.resolve()?;
    on_index(global, Some(&args.model), async |client| {
        let name = args.model.name();
        let experts = Experts::ask(&client, name, (&args.concepts, recipe), args.top).await?;
        let of = ConceptRef { model: name.clone(), concept: args.concepts[0].clone(), recipe };
        let model = client.export(of).await?.header.model;
        let mut page = Page::new(
            &format!("Experts in {name}"),
            &format!("{} concepts in a model of {} units.", args.concepts.len(), model.units()),
        );
        add_experts(&mut page, &experts);
        let subject = |concept: &ConceptId| ConceptRef { model: name.clone(), concept: concept.clone(), recipe };
        let subjects: Vec<ConceptRef> = args.concepts.iter().map(subject).collect();
        let agreement = Agreement::ask(&client, &subjects, args.top).await?;
        agreement.add_to(&mut page);
        page.section("How this came about").facts(&[
            ("command".to_owned(), command_line(std::env::args())),
            ("version".to_owned(), format!("lode {}", env!("CARGO_PKG_VERSION"))),
            ("model".to_owned(), format!("{name} ({}, {} units)", model.family, model.units())),
            ("model hash".to_owned(), model.hash.to_string()),
            ("recipe".to_owned(), recipe.to_string()),
        ]);
        let report = report(&experts, &agreement);
        Outcome { name: "report", report: &report, page: &page }.write(&args.out)?;
        print(&report, global.format())
    })
    .await
}

fn report(experts: &Experts, agreement: &Agreement) -> Report {
    let mut layers = Table::new("layers", &["concept", "layer", "units", "experts", "max_ap", "mean_ap"]);
    for (concept, share) in experts.layer_rows() {
        layers.push(vec![
            concept.to_string().into(),
            share.layer.name.to_string().into(),
            share.layer.units.into(),
            share.experts.into(),
            share.max_ap.into(),
            share.mean_ap.into(),
        ]);
    }
    let mut pairs = Table::new("overlap", &["first", "second", "jaccard", "correlation"]);
    for (first, second, jaccard, correlation) in experts.pairs() {
        let (jaccard, correlation) = (Cell::Double(jaccard), Cell::Double(correlation));
        pairs.push(vec![first.to_string().into(), second.to_string().into(), jaccard, correlation]);
    }
    let [criteria, held_out] = agreement.tables();
    Report::of(layers).table(pairs.if_empty("one concept shares with no other")).table(criteria).table(held_out)
}
