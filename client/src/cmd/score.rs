//! `lode score`: how probable given continuations are.

use lode_domain::{
    intervention::{Condition, ForcingValue, Positions, Rank, Target},
    likelihood::{Passage, ScoreRequest},
    pooling::Tokens,
};
use lode_eval::perplexity::Surprise;

use super::{
    generate::{ConceptArg, DEFAULT_K},
    session::on_workers,
};
use crate::{
    args::{Global, ModelArg, RecipeArgs},
    output::{Cell, Report, Table, print},
};

/// Ask how probable continuations of a text are
///
/// The experts of concepts can be forced. Each continuation stands by itself after the prompt; a leading space belongs to it. Its probability is the product of those of
/// its tokens, by the model's full softmax at temperature 1. For a whole text, give an empty prompt.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode score --model gpt2 --prompt 'The nurse said that' --continuation ' she' --continuation ' he'
  lode score --model gpt2 --prompt 'The nurse said that' --continuation ' he' --concept gender/man --k 30
  lode score --model gpt2 --prompt '' --continuation 'Once upon a time' --format json")]
pub(crate) struct Args {
    /// The model: its name in the cluster; with --embedded NAME=PATH_OR_HUB_ID.
    #[arg(long, value_name = "NAME")]
    model: ModelArg,
    /// What the model has read.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: String,
    /// What might follow; may be repeated.
    #[arg(long = "continuation", value_name = "TEXT", allow_hyphen_values = true, required = true)]
    continuations: Vec<String>,
    /// A concept whose experts are forced; with :K, that many. May be repeated.
    #[arg(long = "concept", value_name = "GROUP/NAME[:K]")]
    concepts: Vec<ConceptArg>,
    /// Units forced for each concept that does not say [default: 50].
    #[arg(long, value_name = "K", requires = "concepts")]
    k: Option<u32>,
    /// What they are forced to: mean, p50, p90, zero, a number, or scale:FACTOR [default: mean; with --compat selfcond: p50].
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    value: Option<ForcingValue>,
    /// Token positions at which units are forced: all, generated (those of the continuation), last, or FROM..TO.
    #[arg(long, value_name = "POSITIONS", default_value_t)]
    positions: Positions,
    /// Which part of the ranking they come from: top, bottom, next, random or random:SEED.
    #[arg(long, value_name = "RANK", default_value_t)]
    rank: Rank,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Seed of random units.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let request = request(&args)?;
    if global.embedded && global.data_dir.is_none() && !args.concepts.is_empty() {
        anyhow::bail!("an embedded cluster begins with an empty index: say with --data-dir DIR where the mined one is");
    }
    let (format, args) = (global.format(), &args);
    on_workers(global, &args.model, async move |client| {
        let scored = client.score(request).await?;
        let columns = [
            "continuation",
            "tokens",
            "log_probability",
            "probability",
            "perplexity",
            "=token_ids",
            "=log_probabilities",
        ];
        let mut table = Table::new("continuations", &columns);
        for (continuation, one) in args.continuations.iter().zip(scored.iter().flatten()) {
            let surprise = Surprise::of(&one.log_probabilities);
            let log_probability = one.log_probability();
            table.push(vec![
                continuation.clone().into(),
                one.tokens.len().into(),
                Cell::Double(log_probability),
                Cell::Double(log_probability.exp()),
                surprise.perplexity().into(),
                joined(&one.tokens).into(),
                joined(&one.log_probabilities).into(),
            ]);
        }
        print(&Report::of(table), format)
    })
    .await
}

fn joined(values: &[impl ToString]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn request(args: &Args) -> anyhow::Result<ScoreRequest> {
    let recipe = args.recipe.resolve()?;
    let default_value = if recipe.tokens == Tokens::Selfcond { ForcingValue::P50 } else { ForcingValue::Mean };
    let condition = |one: &ConceptArg| Condition {
        target: Target::Experts {
            concept: one.concept.clone(),
            recipe,
            k: one.k.or(args.k).unwrap_or(DEFAULT_K),
            rank: args.rank,
            criterion: Default::default(),
        },
        value: args.value.unwrap_or(default_value),
        positions: args.positions,
    };
    let conditions: Vec<Condition> = args.concepts.iter().map(condition).collect();
    for condition in &conditions {
        condition.check()?;
    }
    let passages = vec![Passage { prompt: args.prompt.clone(), continuations: args.continuations.clone() }];
    let (model, seed) = (args.model.name().clone(), args.seed);
    Ok(ScoreRequest { model, conditions, seed, passages, guide: None, residual: Vec::new() })
}
