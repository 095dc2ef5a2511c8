//! `lode generate`: text with the experts of concepts forced.

use std::str::FromStr;

use lode_client::Client;
use lode_domain::{
    concept::ConceptId,
    criterion::Criterion,
    generation::{GenerateRequest, MOST_CONCEPTS},
    id::BadId,
    intervention::{Condition, ForcingValue, Positions, Rank, Target, UnitRef},
    observation::Observe,
    pooling::Tokens,
    sampling::Sampling,
};

use super::{samples::Samples, session::on_workers};
use crate::{
    args::{Global, ModelArg, RecipeArgs},
    output::{Format, print},
};

/// Units forced for a concept unless told otherwise.
pub(super) const DEFAULT_K: u32 = 50;

/// Continue a text, with the experts of concepts forced
///
/// For each concept, its k experts are set to a fixed value at every forced token position, so that the model writes as
/// if it had met the concept. Several concepts are forced together; where two force the same unit, the later one wins.
/// The same seed gives the same text again. What was really forced is counted and said on stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode generate --model gpt2 --prompt 'Once upon a time'
  lode generate --model gpt2 --prompt 'I went to the' --concept sense/bank --k 50 --num 5 --seed 7
  lode generate --model gpt2 --prompt 'I went to the' --concept sense/bank --compare --seed 7
  lode generate --model gpt2 --prompt 'I went to the' --concept sense/bank --criterion cohens-d
  lode generate --model gpt2 --prompt 'She saw' --concept topic/sea:30 --concept sense/bass:60
  lode generate --model gpt2 --prompt 'The nurse' --concept gender/man --rank random:1 --seed 2 --format json
  lode generate --model gpt2 --prompt 'Dear' --stop '\n' --observe topic/sea --logprobs 3 --format json
  lode generate --model gpt2 --prompt 'It is' --unit 'transformer.h.3.mlp.c_fc[1187]=scale:2' --positions 0..2")]
pub(crate) struct Args {
    /// The model: its name in the cluster; with --embedded NAME=PATH_OR_HUB_ID.
    #[arg(long, value_name = "NAME")]
    model: ModelArg,
    /// The text to continue.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: String,
    #[command(flatten)]
    conditions: ConditionArgs,
    /// A concept whose strength is told with every token; with :K, by that many experts. May be repeated.
    ///
    /// 0 is like the concept's negatives on average, 1 like its positives. Shown by --format json.
    #[arg(long = "observe", value_name = "GROUP/NAME[:K]")]
    observe: Vec<ConceptArg>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Number of continuations.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    num: u32,
    /// Show beside it what the same seed gives with nothing forced.
    #[arg(long)]
    compare: bool,
}

/// What is forced.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ConditionArgs {
    /// A concept whose experts are forced; with :K, that many. May be repeated.
    #[arg(long = "concept", value_name = "GROUP/NAME[:K]")]
    pub(super) concepts: Vec<ConceptArg>,
    /// Units forced for each concept that does not say [default: 50].
    #[arg(long, value_name = "K", requires = "concepts")]
    k: Option<u32>,
    /// What they are forced to: a statistic of their responses to the positives (mean, p50, p90), zero, a number, or
    /// scale:FACTOR for their own activation times that [default: mean; with --compat selfcond: p50].
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    value: Option<ForcingValue>,
    /// A single unit to force, by name or number, and what to: zero, a number, or scale:FACTOR. May be repeated; wins over
    /// concepts.
    #[arg(long = "unit", value_name = "UNIT=VALUE")]
    units: Vec<UnitArg>,
    /// Token positions at which units are forced: all, generated, last (those that a token is drawn from), or a window
    /// FROM..TO of positions in prompt and continuation, the first being 0.
    #[arg(long, value_name = "POSITIONS", default_value_t)]
    positions: Positions,
    /// Which part of the ranking they come from: top, bottom, or as controls next (the k after the first k),
    /// random, drawn by the seed of the texts, or random:SEED.
    #[arg(long, value_name = "RANK", default_value_t)]
    rank: Rank,
    /// By what units are ranked: ap, or auroc, cohens-d or l1 where concepts were mined with them (`lode mine --criteria`).
    #[arg(long, value_name = "CRITERION", default_value_t)]
    criterion: Criterion,
    #[command(flatten)]
    recipe: RecipeArgs,
}

/// How tokens are drawn.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SamplingArgs {
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
    /// Take this from the logits of tokens that were generated before, -2 to 2.
    #[arg(long, value_name = "X", default_value_t = Sampling::default().presence_penalty, allow_negative_numbers = true, help_heading = "Sampling")]
    presence_penalty: f32,
    /// Take this from a token's logit for each time that it was generated before, -2 to 2.
    #[arg(long, value_name = "X", default_value_t = Sampling::default().frequency_penalty, allow_negative_numbers = true, help_heading = "Sampling")]
    frequency_penalty: f32,
    /// Add this to a token's logit, -100 to 100; tokens by their ids. May be repeated.
    #[arg(long, value_name = "TOKEN=X", value_parser = bias, help_heading = "Sampling")]
    logit_bias: Vec<(u32, f32)>,
    /// Seed of the draws.
    #[arg(long, value_name = "S", default_value_t = Sampling::default().seed, help_heading = "Sampling")]
    seed: u64,
    /// Ends the text before this one; \n, \t and \\ stand for themselves. May be repeated.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, value_parser = unescape, help_heading = "Sampling")]
    stop: Vec<String>,
    /// Tell each token's log probability, and those of the N most probable ones. Shown by --format json.
    #[arg(long, value_name = "N", help_heading = "Sampling")]
    logprobs: Option<u32>,
}

/// A token and what is added to its logit.
fn bias(text: &str) -> Result<(u32, f32), String> {
    let parsed = text.split_once('=').and_then(|(token, bias)| Some((token.parse().ok()?, bias.parse().ok()?)));
    parsed.ok_or_else(|| "a bias is TOKEN=X, a token id and a number, as 50256=-100".to_owned())
}

/// A text as it is typed in a shell, where line breaks are hard to type.
fn unescape(text: &str) -> Result<String, String> {
    let mut letters = text.chars();
    let mut meant = String::new();
    while let Some(letter) = letters.next() {
        meant.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('\\') => '\\',
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("`\\{other}` stands for nothing: write \\n, \\t or \\\\"));
                }
            },
            letter => letter,
        });
    }
    Ok(meant)
}

/// A unit and what it is forced to.
#[derive(Clone, Debug, PartialEq)]
struct UnitArg {
    unit: UnitRef,
    value: ForcingValue,
}

impl FromStr for UnitArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (unit, value) = text.rsplit_once('=').ok_or("write UNIT=VALUE, for example 'h.3.mlp.c_fc[1187]=zero'")?;
        let unit = unit.parse().map_err(|bad| format!("{bad}"))?;
        Ok(Self { unit, value: value.parse().map_err(|bad| format!("{bad}"))? })
    }
}

/// A concept, and how many of its experts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConceptArg {
    pub(super) concept: ConceptId,
    pub(super) k: Option<u32>,
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
    if !args.conditions.concepts.is_empty() || !args.observe.is_empty() {
        needs_index(global)?;
    }
    if args.compare && request.conditions.is_empty() {
        anyhow::bail!("--compare compares with nothing forced, and nothing is: give --concept or --unit");
    }
    on_workers(global, &args.model, async move |client| {
        if args.compare {
            return compare(&client, request, global.format()).await;
        }
        let samples = Samples::new(&request, global.format());
        let events = client.generate(request).await?;
        samples.collect(events).await
    })
    .await
}

/// Where the concepts that an embedded cluster is asked for must come from.
pub(super) fn needs_index(global: &Global) -> anyhow::Result<()> {
    if global.embedded && global.data_dir.is_none() {
        anyhow::bail!("an embedded cluster begins with an empty index: say with --data-dir DIR where the mined one is");
    }
    Ok(())
}

/// Generates without and with the conditions, one after the other.
async fn compare(client: &Client, request: GenerateRequest, format: Format) -> anyhow::Result<()> {
    let plain = GenerateRequest { conditions: Vec::new(), ..request.clone() };
    let mut sides = Vec::new();
    for (side, request) in [("without", plain), ("with", request)] {
        let mut samples = Samples::of_side(&request, format, side);
        samples.gather(client.generate(request).await?).await?;
        sides.push(samples);
    }
    if format != Format::Table {
        print(&Samples::compared(&sides), format)?;
    }
    for samples in &sides {
        samples.conclude()?;
    }
    Ok(())
}

impl ConditionArgs {
    /// What was meant.
    pub(super) fn conditions(&self) -> anyhow::Result<Vec<Condition>> {
        let recipe = self.recipe.resolve()?;
        let default_value = if recipe.tokens == Tokens::Selfcond { ForcingValue::P50 } else { ForcingValue::Mean };
        let of_concept = |one: &ConceptArg| Condition {
            target: Target::Experts {
                concept: one.concept.clone(),
                recipe,
                k: one.k.or(self.k).unwrap_or(DEFAULT_K),
                rank: self.rank,
                criterion: self.criterion,
            },
            value: self.value.unwrap_or(default_value),
            positions: self.positions,
        };
        let mut conditions: Vec<Condition> = self.concepts.iter().map(of_concept).collect();
        for one in &self.units {
            match conditions.last_mut() {
                // A list of units to one value is one condition.
                Some(Condition { target: Target::Units(units), value, .. }) if *value == one.value => {
                    units.push(one.unit.clone());
                }
                _ => {
                    let target = Target::Units(vec![one.unit.clone()]);
                    conditions.push(Condition { target, value: one.value, positions: self.positions });
                }
            }
        }
        for condition in &conditions {
            condition.check()?;
        }
        Ok(conditions)
    }
}

impl SamplingArgs {
    /// What was meant.
    pub(super) fn sampling(&self) -> anyhow::Result<Sampling> {
        let sampling = Sampling {
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            repetition_penalty: self.repetition_penalty,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logit_bias: self.logit_bias.iter().copied().collect(),
            seed: self.seed,
            max_new_tokens: self.max_new_tokens,
            stop: self.stop.clone(),
            logprobs: self.logprobs,
        };
        sampling.check().map_err(|bad| anyhow::anyhow!("--{bad}"))?;
        Ok(sampling)
    }
}

fn request(args: &Args) -> anyhow::Result<GenerateRequest> {
    let recipe = args.conditions.recipe.resolve()?;
    let observe = |one: &ConceptArg| Observe { concept: one.concept.clone(), recipe, k: one.k.unwrap_or(DEFAULT_K) };
    let conditions = args.conditions.conditions()?;
    if conditions.len().max(args.observe.len()) > MOST_CONCEPTS {
        anyhow::bail!("a request can have {MOST_CONCEPTS} conditions, and observe {MOST_CONCEPTS} concepts, at most");
    }
    Ok(GenerateRequest {
        model: args.model.name().clone(),
        prompt: args.prompt.clone(),
        conditions,
        observe: args.observe.iter().map(observe).collect(),
        sampling: args.sampling.sampling()?,
        samples: args.num,
        guide: None,
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
        let given = |request: GenerateRequest| -> Vec<(String, u32)> {
            let experts = |condition: &Condition| match &condition.target {
                Target::Experts { concept, k, .. } => (concept.to_string(), *k),
                other => panic!("{other:?}"),
            };
            request.conditions.iter().map(experts).collect()
        };
        assert_eq!(given(request), [("a/b".to_owned(), 30), ("c/d".to_owned(), 7), ("e/12:34".to_owned(), 5)]);
        assert_eq!(given(check("--concept a/b").unwrap()), [("a/b".to_owned(), DEFAULT_K)]);
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
    fn units_to_one_value_are_one_condition() {
        let request = check("--concept a/b --unit h.0[3]=zero --unit 7=0 --unit 8=scale:2 --positions 1..4").unwrap();
        let listed: Vec<_> = request.conditions[1..].iter().map(|one| (one.target.clone(), one.value)).collect();
        let units = |units: &[&str]| Target::Units(units.iter().map(|unit| unit.parse().unwrap()).collect());
        let expected =
            [(units(&["h.0[3]", "7"]), ForcingValue::Constant(0.0)), (units(&["8"]), ForcingValue::Scale(2.0))];
        assert_eq!(listed, expected);
        assert!(request.conditions.iter().all(|one| one.positions == Positions::Window { from: 1, to: 4 }));
        assert!(check("--unit h.0[3]").unwrap_err().contains("UNIT=VALUE"));
        assert!(check("--unit h.0=1").unwrap_err().contains("LAYER[INDEX]"));
        assert!(check("--unit 3=mean").unwrap_err().contains("listed unit"));
    }

    #[test]
    fn what_is_told_with_tokens_is_asked_for() {
        let request = check(r"--observe a/b:7 --observe c/d --logprobs 3 --stop \n --stop x").unwrap();
        let observed: Vec<_> = request.observe.iter().map(|one| (one.concept.to_string(), one.k)).collect();
        assert_eq!(observed, [("a/b".to_owned(), 7), ("c/d".to_owned(), DEFAULT_K)]);
        assert_eq!(
            (request.sampling.logprobs, &request.sampling.stop[..]),
            (Some(3), &["\n".to_owned(), "x".to_owned()][..])
        );
        assert!(check(r"--stop \q").unwrap_err().contains("stands for nothing"));
        assert!(check("--logprobs 21").unwrap_err().contains("at most 20"));
    }

    #[test]
    fn settings_out_of_range_are_refused_before_anything_is_sent() {
        assert_eq!(check("--top-p 1.5").unwrap_err(), "--top-p is 1.5: it must be above 0 and at most 1");
        assert!(check("--num 0").is_err());
    }
}
