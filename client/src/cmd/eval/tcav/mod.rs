//! `lode eval tcav`: whether directions of the residual stream that hold a concept are used to foretell its words.

mod findings;
mod sensitivity;
mod show;
mod vectors;
mod words;

use std::path::PathBuf;

use anyhow::bail;
use lode_client::Client;
use lode_domain::{
    concept::{Concept, ConceptId},
    record::ModelRecord,
    sampling::Sampling,
};

use self::{
    findings::findings,
    sensitivity::{Cell, cells, sensitivities},
    vectors::{Layer, Vectors},
    words::Words,
};
use super::{
    cells::Estimate,
    lists,
    outcome::Outcome,
    sentences::{needed, sentences},
    settings::{RunArgs, lines, model_record},
    store::Store,
    stream::{Place, blocks},
    writing::Writer,
};
use crate::{
    args::Global,
    cmd::session::on_workers,
    output::{Format, Report, print},
};

/// Neutral beginnings of sentences, written for this project.
const PROMPTS: &str = include_str!("prompts.txt");

/// Test whether the model uses a concept, layer by layer, with concept activation vectors
///
/// After each layer (block) a classifier learns to tell sentences with the concept from sentences without it, by the mean of the residual
/// stream over a sentence's tokens but the last; its unit normal is the concept activation vector (Kim et al. 2018). The sensitivity of
/// a prompt is the derivative, along that vector, of the logarithm of the probability that one of the concept's words comes next. The
/// TCAV score is the share of prompts with a positive one. All of it is done --random-sets times, each time with sentences drawn anew,
/// beside as many vectors of random sets without the concept, and the scores are compared by a two-sided t-test, p corrected for the
/// number of layers. Nothing needs to be mined. Results, a page and tables go to --out; a run that was broken off goes on there.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:
  lode eval tcav --model gpt2 --concept sense/bank topic/sea --sentences concepts/ --words concepts/ --out tcav
  lode eval tcav --model gpt2 --concept topic/sea --layers 4,8 --random-sets 20 --prompts prompts.txt --out tcav --format json
  lode eval tcav --model gpt2 --concept topic/sea --plan --out tcav")]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunArgs,
    /// Concepts.
    #[arg(long = "concept", value_name = "GROUP/NAME", num_args = 1.., required = true)]
    concepts: Vec<ConceptId>,
    /// Blocks after which the residual stream is tested, from 0 on [default: all].
    #[arg(long, value_name = "N", value_delimiter = ',')]
    layers: Vec<u32>,
    /// Vectors of the concept, and of random sets, after each layer.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..=500))]
    random_sets: u32,
    /// File with a prompt a line [default: 40 neutral beginnings that come with the program].
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// A prompt; may be repeated.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Vec<String>,
    /// Concept files with `words`, or folders of them; else the bundled words count, else the concept's name.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    words: Vec<PathBuf>,
    /// Concept files, or folders of them, with the sentences to learn from [default: the bundled concepts'].
    #[arg(long, value_name = "FILE", num_args = 1..)]
    sentences: Vec<PathBuf>,
    /// How far the stream is moved to either side, as a share of the median length of the layer's activations.
    #[arg(long, value_name = "SHARE", default_value_t = 0.01, allow_negative_numbers = true)]
    epsilon: f64,
}

/// A concept, its vectors and its words.
struct Subject {
    id: ConceptId,
    vectors: Vectors,
    words: Words,
}

/// All that was resolved before the first sensitivity.
struct Tcav<'a> {
    args: &'a Args,
    model: &'a ModelRecord,
    /// Ascending.
    layers: Vec<u32>,
    prompts: Vec<String>,
    subjects: Vec<Subject>,
}

/// What is known before a cluster is asked.
struct Given {
    prompts: Vec<String>,
    words: Vec<lists::Words>,
    sentences: Vec<Concept>,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let given = check(&args)?;
    let (format, args) = (global.format(), &args);
    on_workers(global, &args.run.model, async move |client| tcav(&client, args, given, format).await).await
}

/// What can be refused before a cluster is asked.
fn check(args: &Args) -> anyhow::Result<Given> {
    if !(args.epsilon > 0.0 && args.epsilon <= 1.0) {
        bail!("--epsilon {}: give a share above 0, up to 1; 0.01 is one percent", args.epsilon);
    }
    for (place, concept) in args.concepts.iter().enumerate() {
        if args.concepts[..place].contains(concept) {
            bail!("{concept} is named twice");
        }
    }
    let mut prompts = args.prompt.clone();
    if let Some(path) = &args.prompts {
        prompts.extend(lines(path)?);
    }
    if prompts.is_empty() {
        prompts.extend(PROMPTS.lines().map(str::to_owned));
    }
    let sentences = needed(("tcav learns", &args.concepts), &sentences(&args.concepts, &args.sentences)?)?;
    Ok(Given { prompts, words: lists::words(&args.concepts, &args.words)?, sentences })
}

async fn tcav(client: &Client, args: &Args, given: Given, format: Format) -> anyhow::Result<()> {
    let run = &args.run;
    let model = model_record(client, run.model.name()).await?;
    let mut layers = if args.layers.is_empty() { (0..blocks(&model)).collect() } else { args.layers.clone() };
    layers.sort_unstable();
    layers.dedup();
    layers.iter().try_for_each(|&block| Place::after(&model, ("--layers", block)).map(drop))?;
    std::fs::create_dir_all(&run.out)
        .map_err(|error| anyhow::anyhow!("cannot create {}: {error}", run.out.display()))?;
    let mut store = Store::open(&run.out.join("results.log"))?;
    let sampling = Sampling { seed: run.seed, ..Sampling::default() };
    let writer = Writer { client: client.clone(), model: model.name.clone(), sampling };
    let mut subjects = Vec::with_capacity(args.concepts.len());
    for (concept, list) in given.sentences.iter().zip(&given.words) {
        let words = words::words(&writer, (&concept.id, list), &given.prompts[0]).await?;
        let runs = (args.random_sets as usize, run.seed);
        let vectors = Vectors::of(concept, &writer, (&model, &layers), runs).await?;
        subjects.push(Subject { id: concept.id.clone(), vectors, words });
    }
    let tcav = Tcav { args, model: &model, layers, prompts: given.prompts, subjects };
    let cells = cells(tcav.subjects.len(), tcav.layers.len(), args.random_sets as usize);
    if let Some(part) = run.plan {
        let estimate = sensitivity::plan(&tcav, &writer, (&mut store, &cells), part).await?;
        return print(&Report::of(Estimate::table(&[estimate])), format);
    }
    let measured = sensitivities(&tcav, &writer, &mut store, &cells).await?;
    let found = findings(&tcav, &cells, &measured);
    let page = show::page(&tcav, &found);
    Outcome { name: "tcav", report: &show::report(&tcav, &found, Format::Json), page: &page }.write(&run.out)?;
    print(&show::report(&tcav, &found, format), format)
}

impl Tcav<'_> {
    /// Of what a cell is.
    fn of(&self, cell: Cell) -> (&Subject, &Layer) {
        let subject = &self.subjects[cell.concept];
        (subject, &subject.vectors.layers[cell.layer])
    }
}

impl Subject {
    /// For people.
    fn shown_words(&self) -> String {
        self.words.continuations.iter().map(|word| word.trim()).collect::<Vec<_>>().join(", ")
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

    fn read(line: &str) -> Result<Given, String> {
        let words = ["tcav", "--model", "m", "--out", "o"].into_iter().chain(line.split_whitespace());
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        check(&line.args).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_is_typed_is_checked_before_anything_runs() {
        let given = read("--concept topic/sea topic/football").unwrap();
        assert_eq!((given.prompts.len(), given.words.len(), given.sentences.len()), (40, 2, 2));
        assert_eq!(read("--concept topic/sea --prompt x --prompt y").unwrap().prompts, ["x", "y"]);
        for (line, said) in [
            ("", "--concept"),
            ("--concept topic/sea topic/sea", "twice"),
            ("--concept no/such", "sentences of no/such"),
            ("--concept topic/sea --epsilon 0", "--epsilon 0"),
            ("--concept topic/sea --epsilon -1", "--epsilon -1"),
            ("--concept topic/sea --random-sets 1", "--random-sets"),
            ("--concept topic/sea --prompts /nowhere/p", "/nowhere/p"),
            ("--concept topic/sea --layers 1,x", "--layers"),
        ] {
            let refused = read(line).map(|_| ()).unwrap_err();
            assert!(refused.contains(said), "{line}: {refused}");
        }
    }

    #[test]
    fn the_bundled_prompts_differ_and_are_neutral() {
        let prompts: Vec<&str> = PROMPTS.lines().collect();
        let distinct: std::collections::BTreeSet<_> = prompts.iter().collect();
        assert_eq!((prompts.len(), distinct.len()), (40, 40));
        let bundled = crate::cmd::demo::bundle::concepts().unwrap();
        for concept in bundled.iter().filter(|one| one.concept.id.group() == "topic") {
            assert!(prompts.iter().all(|prompt| !concept.shows_in(prompt)), "{}", concept.concept.id);
        }
    }
}
