//! `lode eval parity`: how many units it takes until two groups of words are equally probable.

mod beside;
mod contexts;
mod exact;
mod findings;
mod sampled;
mod show;

use std::path::PathBuf;

use anyhow::bail;
use lode_client::Client;
use lode_domain::{concept::ConceptId, record::ModelRecord};

use self::{
    contexts::{Context, contexts},
    findings::Findings,
    sampled::{Place, sampled},
};
use super::{
    baselines::Baselines,
    cells::Estimate,
    experts::Experts,
    method::{Method, MethodArgs, Treatment, TreatmentKey},
    outcome::Outcome,
    sentences::{needed, sentences},
    settings::{SharedArgs, Subject, grid, model_record, subjects},
    store::Store,
    strength::Strength,
    writing::Writer,
};
use crate::{
    args::Global,
    cmd::session::on_workers,
    output::{Format, Report, print},
};

/// Experts that the page tells of.
const TOP: u32 = 50;

/// Find the k at which do(c,k) makes she and he equally probable
///
/// After each context (`The nurse said that`) it measures p(she, her) - p(he, his) under do(c,k) of two concepts, over k: exactly,
/// from the distribution of the next token, and by sampling, as the paper's reference code counts. The parity point is the k at
/// which the difference first changes its sign, interpolated. The first concept is the one that makes the first group of words
/// more probable. Results, a page and tables go to --out; a run that was broken off goes on there.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  lode eval parity --model gpt2 --concepts gender/woman gender/man --out parity
  lode eval parity --model gpt2 --concepts gender/woman gender/man --samples 0 --bisect --out parity
  lode eval parity --model gpt2 --concepts gender/woman gender/man --contexts mine.json --k 0,10,20,40,80 --out parity
  lode eval parity --model gpt2 --concepts gender/woman gender/man --methods prompt,fudge,steer --sentences concepts/ --out parity
  lode eval parity --model gpt2 --concepts gender/woman gender/man --methods fudge --lambda 12 --samples 0 --bisect --out parity
  lode eval parity --model gpt2 --concepts gender/woman gender/man --plan 8 --out parity")]
pub(crate) struct Args {
    #[command(flatten)]
    shared: SharedArgs,
    /// The concept of the first group of words, and that of the second, mined before.
    #[arg(long, value_names = ["A", "B"], num_args = 2, required = true)]
    concepts: Vec<ConceptId>,
    /// Contexts: a JSON file with templates and occupations, or a text file with one a line [default: 18 templates times 60
    /// occupations that come with the program].
    #[arg(long, value_name = "FILE")]
    contexts: Option<PathBuf>,
    /// How many experts are forced; k = 0, the model as it is, is always measured.
    #[arg(long = "k", value_name = "K", value_delimiter = ',', default_values_t = [0, 5, 10, 20, 40, 80, 160, 320])]
    ks: Vec<u32>,
    /// Search the parity point of each context up to the largest k instead of measuring every k; of other methods up to their largest
    /// strength, in steps of 0.01 of lambda and 1 percent.
    #[arg(long)]
    bisect: bool,
    /// Continuations of each context and k; 0: only the exact probabilities.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1024))]
    samples: u32,
    /// Tokens of a continuation at most.
    #[arg(long, value_name = "N", default_value_t = 15)]
    max_new_tokens: u32,
    /// The first group of words.
    #[arg(long, value_name = "WORD", value_delimiter = ',', default_value = "she,her")]
    first_words: Vec<String>,
    /// The second.
    #[arg(long, value_name = "WORD", value_delimiter = ',', default_value = "he,his")]
    second_words: Vec<String>,
    /// Occupations whose continuations are shown.
    #[arg(long, value_name = "WORD", value_delimiter = ',', default_value = "nurse,warrior")]
    show: Vec<String>,
    #[command(flatten)]
    methods: MethodArgs,
}

/// All that was resolved before the first number of a method.
struct Parity<'a> {
    args: &'a Args,
    model: &'a ModelRecord,
    contexts: &'a [Context],
    subjects: &'a [Subject],
    baselines: &'a Baselines<'a>,
    method: Method,
    /// Strengths of the method, ascending from 0: k for do(c,k).
    ks: Vec<Strength>,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let contexts = check(&args)?;
    if global.embedded && global.data_dir.is_none() {
        bail!("an embedded cluster begins with an empty index: say with --data-dir DIR where the mined one is");
    }
    let (format, args) = (global.format(), &args);
    on_workers(global, &args.shared.run.model, async move |client| parity(&client, args, contexts, format).await).await
}

/// What can be refused before a cluster is asked.
fn check(args: &Args) -> anyhow::Result<Vec<Context>> {
    args.shared.sampling(args.max_new_tokens)?;
    args.methods.all()?;
    if args.shared.run.plan.is_some() && args.bisect {
        bail!("--plan --bisect: how many k a search needs is known afterwards; plan the grid");
    }
    for (flag, words) in [("--first-words", &args.first_words), ("--second-words", &args.second_words)] {
        let is_word = |word: &&String| !word.is_empty() && word.chars().all(char::is_alphabetic);
        if let Some(word) = words.iter().find(|word| !is_word(word)) {
            bail!("{flag} `{word}`: give words of letters, with commas between them");
        }
        let lower = words.iter().find(|word| word.chars().any(char::is_uppercase));
        if let Some(word) = lower {
            bail!("{flag} `{word}`: give it in lower case; both cases count");
        }
    }
    if let Some(word) = args.first_words.iter().find(|word| args.second_words.contains(word)) {
        bail!("`{word}` is in both groups of words");
    }
    contexts(args.contexts.as_deref())
}

async fn parity(client: &Client, args: &Args, contexts: Vec<Context>, format: Format) -> anyhow::Result<()> {
    let shared = &args.shared;
    let model = model_record(client, shared.run.model.name()).await?;
    let ks = grid(&args.ks, model.units())?;
    let most = ks.last().map_or(0, |k| k.units());
    let recipe = shared.recipe()?;
    let subjects = subjects(client, &model, (&args.concepts, recipe), most).await?;
    std::fs::create_dir_all(&shared.run.out)
        .map_err(|error| anyhow::anyhow!("cannot create {}: {error}", shared.run.out.display()))?;
    let mut store = Store::open(&shared.run.out.join("results.log"))?;
    let sampling = shared.sampling(args.max_new_tokens)?;
    let writer = Writer { client: client.clone(), model: model.name.clone(), sampling };
    let methods = args.methods.all()?;
    let mut baselines = Baselines::new(shared, &args.methods, subjects.len());
    if methods.iter().any(|method| method.learns()) {
        let known =
            needed(("FUDGE and steering learn", &args.concepts), &sentences(&args.concepts, &args.methods.sentences)?)?;
        baselines = baselines.learn(&writer, (&model, &methods), &known).await?;
    }
    let (mut found, mut plan) = (Vec::new(), Vec::new());
    for method in methods {
        let ks = if method == Method::Do { ks.clone() } else { args.methods.grid(method) };
        let (model, contexts, subjects, baselines) = (&model, &contexts[..], &subjects[..], &baselines);
        let run = Parity { args, model, contexts, subjects, baselines, method, ks };
        if let Some(part) = shared.run.plan {
            plan.extend(run.plan(&writer, &mut store, part).await?);
            continue;
        }
        let findings = run.measure(&writer, &mut store).await?;
        found.push((run, findings));
    }
    if shared.run.plan.is_some() {
        return print(&Report::of(Estimate::table(&plan)), format);
    }
    let experts = Experts::ask(client, &model.name, (&args.concepts, recipe), TOP.min(model.units())).await?;
    let page = show::page(&found, &experts);
    Outcome { name: "parity", report: &show::report(&found, Format::Json), page: &page }.write(&shared.run.out)?;
    print(&show::report(&found, format), format)
}

impl Parity<'_> {
    /// What is done for one of the two concepts; nothing for k = 0.
    fn treatment(&self, concept: usize, k: Strength) -> Treatment {
        self.baselines.treatment(self.method, (concept, &self.subjects[concept]), k)
    }

    /// What that follows from.
    fn key(&self, concept: usize, k: Strength) -> Option<TreatmentKey> {
        self.baselines.key(self.method, (concept, &self.subjects[concept]), k)
    }

    /// How long it takes, by `part` of each kind of measurement.
    async fn plan(&self, writer: &Writer, store: &mut Store, part: u32) -> anyhow::Result<Vec<Estimate>> {
        let mut plan = vec![exact::plan(self, writer, store, part).await?];
        if self.args.samples > 0 {
            let places = self.places(&Default::default());
            plan.push(sampled::plan(self, writer, (store, &places), part).await?);
        }
        Ok(plan)
    }

    async fn measure(&self, writer: &Writer, store: &mut Store) -> anyhow::Result<Findings> {
        let exact = if self.args.bisect {
            exact::by_bisection(self, writer, store).await?
        } else {
            exact::over_grid(self, writer, store).await?
        };
        let places = if self.args.samples == 0 { Vec::new() } else { self.places(&exact) };
        let samples = sampled(self, writer, store, &places).await?;
        Ok(Findings::new(self, exact, places.into_iter().zip(samples).collect()))
    }

    /// What is sampled: every k of the grid; after a bisection nothing forced, and the k at parity.
    fn places(&self, exact: &[Vec<exact::ByK>; 2]) -> Vec<Place> {
        let mut places = Vec::new();
        for context in 0..self.contexts.len() {
            for (concept, by_context) in exact.iter().enumerate() {
                let ks: Vec<Strength> = if self.args.bisect {
                    let by_k = &by_context[context];
                    let parity = lode_eval::parity::parity_point(&findings::curve(by_k));
                    let above = parity.and_then(|k| Strength::above(k, by_k.keys().copied()));
                    [Strength::NONE].into_iter().chain(above).collect()
                } else {
                    self.ks.clone()
                };
                // Nothing forced is everybody's.
                places.extend(ks.into_iter().map(|k| Place {
                    concept: if k.is_none() { 0 } else { concept },
                    context,
                    k,
                }));
            }
        }
        places.sort_unstable();
        places.dedup();
        places
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn read(line: &str) -> Result<usize, String> {
        let words = ["parity", "--model", "m", "--out", "o"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        check(&line.args).map(|contexts| contexts.len()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_is_typed_is_checked_before_anything_runs() {
        assert_eq!(read("--concepts gender/woman gender/man"), Ok(1080));
        for (line, said) in [
            ("", "--concepts"),
            ("--concepts a/b", "2 values"),
            ("--concepts a/b c/d --first-words she,h3r", "`h3r`"),
            ("--concepts a/b c/d --first-words She", "lower case"),
            ("--concepts a/b c/d --second-words she,he", "both groups"),
            ("--concepts a/b c/d --temperature -1", "--temperature"),
            ("--concepts a/b c/d --samples 2000", "2000"),
            ("--concepts a/b c/d --contexts /nowhere/c.json", "/nowhere/c.json"),
            ("--concepts a/b c/d --plan --bisect", "plan the grid"),
            ("--concepts a/b c/d --methods pplm", "pplm"),
            ("--concepts a/b c/d --instruction x", "--instruction"),
        ] {
            let refused = read(line).unwrap_err();
            assert!(refused.contains(said), "{line}: {refused}");
        }
    }
}
