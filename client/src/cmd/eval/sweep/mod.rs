//! `lode eval sweep`: how well do(c,k) works over concepts and k, with controls.

mod beside;
mod measure;
mod plan;
mod show;

use std::path::PathBuf;

use anyhow::bail;
use lode_client::Client;
use lode_domain::{
    concept::{Concept, ConceptId},
    id::ModelName,
};
use lode_eval::classifier::Classifier;
use serde::{Deserialize, Serialize};

use self::{
    measure::rows,
    plan::{Cell, Control, Plan},
};
use super::{
    baselines::Baselines,
    cells::{Estimate, estimated, measured},
    experts::Experts,
    lists::{Words, words},
    method::{Method, MethodArgs, Treatment, TreatmentKey},
    outcome::Outcome,
    sentences::{needed, sentences},
    settings::{ConditionKey, SharedArgs, Subject, grid, lines, model_record, subjects},
    store::Store,
    writing::{Text, Writer},
};
use crate::{
    args::Global,
    cmd::session::on_workers,
    output::{Format, Report, note, print},
};

/// Experts that the page tells of.
const TOP: u32 = 50;

/// Measure how well do(c,k) makes texts show concepts, over k, beside controls
///
/// For each concept and k it writes texts with the k experts forced and measures: the share that shows the concept (its words
/// and their inflections), perplexity under the model as it is and under --judge, Self-BLEU and distinct n-grams, each with a
/// 95 % bootstrap interval. The controls are the same with k random units, with the k units next in rank, with the experts set
/// to zero, and with another concept's experts; --methods adds other methods than forcing. Where the concepts' sentences are known, a
/// classifier that was trained on them judges presence too. Results, a page and tables go to --out; a run that was broken off goes on
/// there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode eval sweep --model gpt2 --concept sense/bank topic/sea --prompt 'Once upon a time' --out sweep
  lode eval sweep --model gpt2 --concept sense/bank --words concepts/ --prompts prompts.txt --samples 300 --out sweep
  lode eval sweep --model gpt2 --concept sense/bank --k 0,10,30 --judge gpt2-xl --prompt 'I saw' --out sweep --format csv
  lode eval sweep --model gpt2 --concept sense/bank --methods prompt,fudge,steer --sentences concepts/ --prompt 'I saw' --out sweep
  lode eval sweep --model gpt2 --concept sense/bank --prompts prompts.txt --samples 300 --plan --out sweep")]
pub(crate) struct Args {
    #[command(flatten)]
    shared: SharedArgs,
    /// Concepts, mined before.
    #[arg(long = "concept", value_name = "GROUP/NAME", num_args = 1.., required = true)]
    concepts: Vec<ConceptId>,
    /// How many experts are forced; k = 0, the model as it is, is always measured.
    #[arg(long = "k", value_name = "K", value_delimiter = ',', default_values_t = [0, 1, 3, 10, 30, 100, 300])]
    ks: Vec<u32>,
    /// File with a prompt a line.
    #[arg(long, value_name = "FILE", required_unless_present = "prompt")]
    prompts: Option<PathBuf>,
    /// A prompt; may be repeated.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Vec<String>,
    /// Texts for each concept and k, dealt out to the prompts.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=1024))]
    samples: u32,
    /// Tokens of a text at most.
    #[arg(long, value_name = "N", default_value_t = 20)]
    max_new_tokens: u32,
    /// Concept files with `words`, or folders of them; else the bundled words count, else the concept's name.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    words: Vec<PathBuf>,
    /// Another model of the cluster that judges the texts' perplexity too.
    #[arg(long, value_name = "NAME")]
    judge: Option<ModelName>,
    /// Controls: random, next, zero, other, or none.
    #[arg(long, value_name = "CONTROL", value_delimiter = ',', default_value = "random,next,zero,other")]
    controls: Vec<ControlArg>,
    /// Texts of each concept and k that the page shows.
    #[arg(long, value_name = "N", default_value_t = 1)]
    show: usize,
    #[command(flatten)]
    methods: MethodArgs,
}

/// A control as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum ControlArg {
    Random,
    Next,
    Zero,
    Other,
    None,
}

/// All that was resolved before the first text.
struct Sweep<'a> {
    args: &'a Args,
    prompts: Vec<String>,
    subjects: Vec<Subject>,
    words: Vec<Words>,
    /// Judges of the concepts whose sentences are known.
    classifiers: Vec<Option<Classifier>>,
    baselines: &'a Baselines<'a>,
    plan: Plan,
}

/// A cell's texts, and how surprising each is to the model and to the judge: nats and tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Written {
    texts: Vec<Text>,
    own: Vec<Option<(f64, u64)>>,
    judge: Option<Vec<Option<(f64, u64)>>>,
}

/// Everything that a cell's texts follow from.
#[derive(Serialize)]
struct Key<'a> {
    eval: &'static str,
    version: &'static str,
    model: String,
    judge: Option<String>,
    treatment: Option<TreatmentKey>,
    prompts: &'a [String],
    samples: u32,
    sampling: &'a lode_domain::sampling::Sampling,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let (prompts, controls) = check(&args)?;
    let words = words(&args.concepts, &args.words)?;
    if global.embedded && global.data_dir.is_none() {
        bail!("an embedded cluster begins with an empty index: say with --data-dir DIR where the mined one is");
    }
    let (format, args) = (global.format(), &args);
    on_workers(global, &args.shared.run.model, async move |client| {
        sweep(&client, args, (prompts, words, controls), format).await
    })
    .await
}

/// What can be refused before a cluster is asked.
fn check(args: &Args) -> anyhow::Result<(Vec<String>, Vec<Control>)> {
    args.shared.sampling(args.max_new_tokens)?;
    args.methods.all()?;
    let mut prompts = args.prompt.clone();
    if let Some(path) = &args.prompts {
        prompts.extend(lines(path)?);
    }
    if prompts.len() > args.samples as usize {
        bail!("--samples {}: there are {} prompts, and each needs a text", args.samples, prompts.len());
    }
    let named: Vec<Control> = args
        .controls
        .iter()
        .filter_map(|control| match control {
            ControlArg::Random => Some(Control::Random),
            ControlArg::Next => Some(Control::Next),
            ControlArg::Zero => Some(Control::Zero),
            ControlArg::Other => Some(Control::Other),
            ControlArg::None => None,
        })
        .collect();
    if !named.is_empty() && named.len() < args.controls.len() {
        bail!("--controls none stands alone");
    }
    Ok((prompts, named))
}

async fn sweep(
    client: &Client,
    args: &Args,
    (prompts, words, controls): (Vec<String>, Vec<Words>, Vec<Control>),
    format: Format,
) -> anyhow::Result<()> {
    let shared = &args.shared;
    let model = model_record(client, shared.run.model.name()).await?;
    let judge = match &args.judge {
        Some(name) => Some(model_record(client, name).await?),
        None => None,
    };
    let ks = grid(&args.ks, model.units())?;
    // The next k units are part of what a cell follows from.
    let most = ks.last().map_or(0, |k| k.units()).saturating_mul(2);
    let subjects = subjects(client, &model, (&args.concepts, shared.recipe()?), most).await?;
    let mut plan = Plan::new(&ks, subjects.len(), &controls, model.units());
    for said in &plan.left_out {
        note(said);
    }
    std::fs::create_dir_all(&shared.run.out)
        .map_err(|error| anyhow::anyhow!("cannot create {}: {error}", shared.run.out.display()))?;
    let mut store = Store::open(&shared.run.out.join("results.log"))?;
    let sampling = shared.sampling(args.max_new_tokens)?;
    let writer = Writer { client: client.clone(), model: model.name.clone(), sampling: sampling.clone() };
    let known = sentences(&args.concepts, &args.methods.sentences)?;
    let methods = args.methods.all()?;
    let mut baselines = Baselines::new(shared, &args.methods, subjects.len());
    if methods.iter().any(|method| method.learns()) {
        let known = needed(("FUDGE and steering learn", &args.concepts), &known)?;
        baselines = baselines.learn(&writer, (&model, &methods), &known).await?;
    }
    for &method in methods.iter().filter(|&&method| method != Method::Do) {
        plan.add(method, &args.methods.grid(method), subjects.len());
    }
    let classifiers = known.iter().map(|concept| classifier(concept.as_ref(), shared.run.seed)).collect();
    let run = Sweep { args, prompts, subjects, words, classifiers, baselines: &baselines, plan };
    let key = |cell: &Cell| {
        let key = Key {
            eval: "sweep",
            version: env!("CARGO_PKG_VERSION"),
            model: model.hash.to_string(),
            judge: judge.as_ref().map(|judge| judge.hash.to_string()),
            treatment: run.key(cell),
            prompts: &run.prompts,
            samples: args.samples,
            sampling: &sampling,
        };
        serde_json::to_string(&key)
    };
    let keys = run.plan.cells.iter().map(key).collect::<Result<Vec<_>, _>>()?;
    if let Some(part) = shared.run.plan {
        let settings = ("texts under do(c,k)", shared.run.parallel, part);
        let measure = async |number: usize| run.write(&writer, &run.plan.cells[number]).await;
        let estimate = estimated(&mut store, &keys, settings, measure).await?;
        return print(&Report::of(Estimate::table(&[estimate])), format);
    }
    let written: Vec<Written> =
        measured(&mut store, &keys, ("texts under do(c,k)", shared.run.parallel), async |number| {
            run.write(&writer, &run.plan.cells[number]).await
        })
        .await?;
    let rows = rows(&run, &written);
    let experts = Experts::ask(client, &model.name, (&args.concepts, shared.recipe()?), TOP.min(model.units())).await?;
    let page = show::page(&run, (&model, judge.as_ref()), (&rows, &written), &experts);
    let report = show::report(&run, &rows, &written, Format::Json);
    Outcome { name: "sweep", report: &report, page: &page }.write(&shared.run.out)?;
    print(&show::report(&run, &rows, &written, format), format)
}

/// A judge that learned from a concept's sentences; none where they are unknown or too few.
fn classifier(concept: Option<&Concept>, seed: u64) -> Option<Classifier> {
    let Concept { id, positive, negative } = concept?;
    let trained = Classifier::train(positive, negative, seed);
    trained.inspect_err(|error| note(format_args!("{id} has no classifier as a judge: {error}"))).ok()
}

impl Sweep<'_> {
    fn subject(&self, cell: &Cell) -> &Subject {
        &self.subjects[cell.concept]
    }

    /// What is done for a cell's texts.
    fn treatment(&self, cell: &Cell) -> Treatment {
        let of = |method| self.baselines.treatment(method, (cell.concept, self.subject(cell)), cell.k);
        match cell.control {
            Control::Method(method) => of(method),
            control => {
                let mut forced = of(Method::Do);
                forced.conditions = forced.conditions.into_iter().map(|one| control.changed(one)).collect();
                forced
            }
        }
    }

    /// What that follows from.
    fn key(&self, cell: &Cell) -> Option<TreatmentKey> {
        match cell.control {
            Control::Method(method) => self.baselines.key(method, (cell.concept, self.subject(cell)), cell.k),
            _ => {
                let forced = self.treatment(cell).conditions;
                forced.first().and_then(|one| ConditionKey::of(self.subject(cell), one)).map(TreatmentKey::Do)
            }
        }
    }

    async fn write(&self, writer: &Writer, cell: &Cell) -> anyhow::Result<Written> {
        let texts = writer.write(&self.prompts, &self.treatment(cell), self.args.samples).await?;
        let plain = |surprises: Vec<Option<lode_eval::perplexity::Surprise>>| {
            surprises.into_iter().map(|one| one.map(|one| (one.nats, one.tokens))).collect::<Vec<_>>()
        };
        let own = plain(writer.surprises(&writer.model, &self.prompts, &texts).await?);
        let judge = match &self.args.judge {
            Some(judge) => Some(plain(writer.surprises(judge, &self.prompts, &texts).await?)),
            None => None,
        };
        Ok(Written { texts, own, judge })
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

    fn read(line: &str) -> Result<(usize, usize), String> {
        let words = ["sweep", "--model", "m", "--out", "o"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        check(&line.args).map(|(prompts, controls)| (prompts.len(), controls.len())).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_typed_is_checked_before_anything_runs() {
        assert_eq!(read("--concept a/b c/d --prompt x"), Ok((1, 4)));
        assert_eq!(read("--concept a/b --prompt x --prompt y --controls none"), Ok((2, 0)));
        assert_eq!(read("--concept a/b --prompt x --controls zero,next"), Ok((1, 2)));
        for (line, said) in [
            ("--concept a/b", "--prompts"),
            ("--prompt x", "--concept"),
            ("--concept ab --prompt x", "ab"),
            ("--concept a/b --prompt x --controls none,zero", "stands alone"),
            ("--concept a/b --prompt x --controls maybe", "maybe"),
            ("--concept a/b --prompt x --prompt y --prompt z --samples 2", "3 prompts"),
            ("--concept a/b --prompt x --top-p 2", "--top-p is 2"),
            ("--concept a/b --prompt x --max-new-tokens 0", "max-new-tokens"),
            ("--concept a/b --prompts /nowhere/p", "/nowhere/p"),
            ("--concept a/b --prompt x --k 1,x", "x"),
        ] {
            let refused = read(line).unwrap_err();
            assert!(refused.contains(said), "{line}: {refused}");
        }
    }
}
