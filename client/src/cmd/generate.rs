//! `lode generate`: text with the experts of concepts forced.

use std::str::FromStr;

use lode_domain::{
    concept::ConceptId,
    generation::GenerateRequest,
    id::BadId,
    intervention::{Condition, ForcingValue, Positions, Rank},
    pooling::Tokens,
    sampling::Sampling,
};

use super::{samples::Samples, session::on_workers};
use crate::args::{Global, ModelArg, RecipeArgs};

/// Units forced for a concept unless told otherwise.
const DEFAULT_K: u32 = 50;

/// Continue a text, with the experts of concepts forced
///
/// For each concept, its k experts are set to a fixed value at every forced token position, so that the model writes as
/// if it had met the concept. Several concepts are forced together; where two force the same unit, the later one wins.
/// The same seed gives the same text again. What was really forced is counted and said on stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode generate --model gpt2 --prompt 'Once upon a time'
  lode generate --model gpt2 --prompt 'I went to the' --concept sense/bank --k 50 --num 5 --seed 7
  lode generate --model gpt2 --prompt 'She saw' --concept topic/sea:30 --concept sense/bass:60
  lode generate --model gpt2 --prompt 'The nurse' --concept gender/man --rank random --format json")]
pub(crate) struct Args {
    /// The model: its name in the cluster; with --embedded NAME=PATH_OR_HUB_ID.
    #[arg(long, value_name = "NAME")]
    model: ModelArg,
    /// The text to continue.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: String,
    /// A concept whose experts are forced; with :K, that many. May be repeated.
    #[arg(long = "concept", value_name = "GROUP/NAME[:K]")]
    concepts: Vec<ConceptArg>,
    /// Units forced for each concept that does not say [default: 50].
    #[arg(long, value_name = "K", requires = "concepts")]
    k: Option<u32>,
    /// What they are forced to: a statistic of their responses to the positives (mean, p50, p90), zero, or a number
    /// [default: mean; with --compat selfcond: p50].
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    value: Option<ForcingValue>,
    /// Token positions at which they are forced: all, generated, or last (those that a token is drawn from).
    #[arg(long, value_name = "POSITIONS", default_value_t)]
    positions: Positions,
    /// Which end of the ranking they come from: top, bottom, or random as a control.
    #[arg(long, value_name = "RANK", default_value_t)]
    rank: Rank,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Number of continuations.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    num: u32,
}

#[derive(Debug, clap::Args)]
struct SamplingArgs {
    /// Tokens generated at most.
    #[arg(long, value_name = "N", default_value_t = Sampling::default().max_new_tokens, help_heading = "Sampling")]
    max_new_tokens: u32,
    /// Softmax temperature; 0 takes the most probable token.
    #[arg(long, value_name = "T", default_value_t = Sampling::default().temperature, allow_negative_numbers = true, help_heading = "Sampling")]
    temperature: f32,
    /// Draw from the smallest set of tokens whose probability reaches this.
    #[arg(long, value_name = "P", default_value_t = Sampling::default().top_p, help_heading = "Sampling")]
    top_p: f32,
    /// Draw from this many most probable tokens; 0: from all.
    #[arg(long, value_name = "K", default_value_t = Sampling::default().top_k, help_heading = "Sampling")]
    top_k: u32,
    /// Make tokens that were seen less probable; 1 changes nothing.
    #[arg(long, value_name = "X", default_value_t = Sampling::default().repetition_penalty, help_heading = "Sampling")]
    repetition_penalty: f32,
    /// Seed of the draws.
    #[arg(long, value_name = "S", default_value_t = Sampling::default().seed, help_heading = "Sampling")]
    seed: u64,
}

/// A concept, and how many of its experts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ConceptArg {
    concept: ConceptId,
    k: Option<u32>,
}

impl FromStr for ConceptArg {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        if let Some((concept, digits)) = text.rsplit_once(':')
            && let Ok(k) = digits.parse()
        {
            return Ok(Self { concept: concept.parse()?, k: Some(k) });
        }
        Ok(Self { concept: text.parse()?, k: None })
    }
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let request = request(&args)?;
    if global.embedded && global.data_dir.is_none() && !args.concepts.is_empty() {
        anyhow::bail!("an embedded cluster begins with an empty index: say with --data-dir DIR where the mined one is");
    }
    on_workers(global, &args.model, async move |client| {
        let samples = Samples::new(&request, global.format());
        let events = client.generate(request).await?;
        samples.collect(events).await
    })
    .await
}

fn request(args: &Args) -> anyhow::Result<GenerateRequest> {
    let recipe = args.recipe.resolve()?;
    let default_value = if recipe.tokens == Tokens::Selfcond { ForcingValue::P50 } else { ForcingValue::Mean };
    let condition = |one: &ConceptArg| Condition {
        concept: one.concept.clone(),
        recipe,
        k: one.k.or(args.k).unwrap_or(DEFAULT_K),
        rank: args.rank,
        value: args.value.unwrap_or(default_value),
        positions: args.positions,
    };
    let sampling = Sampling {
        temperature: args.sampling.temperature,
        top_p: args.sampling.top_p,
        top_k: args.sampling.top_k,
        repetition_penalty: args.sampling.repetition_penalty,
        seed: args.sampling.seed,
        max_new_tokens: args.sampling.max_new_tokens,
    };
    sampling.check().map_err(|bad| anyhow::anyhow!("--{bad}"))?;
    Ok(GenerateRequest {
        model: args.model.name().clone(),
        prompt: args.prompt.clone(),
        conditions: args.concepts.iter().map(condition).collect(),
        sampling,
        samples: args.num,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn check(line: &str) -> Result<GenerateRequest, String> {
        let words = ["generate", "--model", "m", "--prompt", "x"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        request(&line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn every_concept_has_its_k() {
        let request = check("--concept a/b:30 --concept c/d --concept e/12:34:5 --k 7").unwrap();
        let given: Vec<(String, u32)> = request.conditions.iter().map(|c| (c.concept.to_string(), c.k)).collect();
        assert_eq!(given, [("a/b".to_owned(), 30), ("c/d".to_owned(), 7), ("e/12:34".to_owned(), 5)]);
        assert_eq!(check("--concept a/b").unwrap().conditions[0].k, DEFAULT_K);
        assert!(check("--k 7").unwrap_err().contains("--concept"));
    }

    #[test]
    fn compat_forces_the_median() {
        let value = |line: &str| check(line).unwrap().conditions[0].value;
        assert_eq!(value("--concept a/b"), ForcingValue::Mean);
        assert_eq!(value("--concept a/b --compat selfcond"), ForcingValue::P50);
        assert_eq!(value("--concept a/b --compat selfcond --value mean"), ForcingValue::Mean);
        assert_eq!(value("--concept a/b --value -1.5"), ForcingValue::Constant(-1.5));
    }

    #[test]
    fn settings_out_of_range_are_refused_before_anything_is_sent() {
        assert_eq!(check("--top-p 1.5").unwrap_err(), "--top-p is 1.5: it must be above 0 and at most 1");
        assert!(check("--num 0").is_err());
    }
}
