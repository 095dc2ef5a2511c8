//! `lode bench mine`: a whole mining job on made-up concepts, and what its time went to.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use lode_client::embedded::{Config, Embedded};
use lode_coordinator::Limits;
use lode_domain::{event::JobSpec, job::Job, plan::SplitMode};
use lode_worker::{ModelSource, Stage, Stages};
use tempfile::TempDir;

use super::{
    memory,
    sentences::{Wanted, concepts},
    shape::Shape,
};
use crate::{
    args::{Global, MeasureArgs, RecipeArgs},
    cmd::{
        follow::{Interrupt, Outcome, follow},
        session,
    },
    output::{Cell, Report, Table, print},
    progress::spinner,
};

/// Mine made-up concepts on an embedded cluster and see what the time goes to
///
/// The whole job is real, from submission to the index: tokens, forward passes, scores, streams, commits. Only the sentences are made
/// up, and with --shape the weights; they are written to a temporary folder, two bytes a weight, which goes away in the end. The
/// share outside the forward pass is that of the job's time in which a worker's device does not run the model. Peak memory is
/// the process's: workers, coordinator, index, and the model itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode bench mine
  lode bench mine --concepts 100
  lode bench mine --shape gpt2-xl --positives 30 --negatives 40 --memory-budget 1GiB
  lode bench mine --model mine=./my-model --concepts 20 --sharing 0.5 --workers 2 --format json")]
pub(crate) struct Args {
    /// Shape of a model with random weights: tiny, gpt2, gpt2-medium, gpt2-large or gpt2-xl [default: gpt2].
    #[arg(long, value_enum, hide_possible_values = true)]
    shape: Option<Shape>,
    /// A model of your own instead.
    #[arg(long, value_name = "NAME=PATH_OR_HUB_ID", conflicts_with = "shape")]
    model: Option<ModelSource>,
    /// Concepts.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concepts: u32,
    /// Sentences with the concept, for each.
    #[arg(long, value_name = "N", default_value_t = 700, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    positives: u32,
    /// Sentences without it, for each.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    negatives: u32,
    /// Share of a concept's sentences that all concepts have in common, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    sharing: f64,
    /// Words of a sentence on average; with --shape each is one token.
    #[arg(long, value_name = "N", default_value_t = 34, value_parser = clap::value_parser!(u32).range(1..=500))]
    words: u32,
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    measures: MeasureArgs,
    /// Seed of the sentences.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a share lies between 0 and 1".to_owned()),
    }
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    if let Some(folder) = &global.data_dir {
        bail!("a measurement keeps nothing, so leave --data-dir {} out", folder.display());
    }
    let shape = args.shape.unwrap_or(Shape::Gpt2);
    let wanted = Wanted {
        concepts: args.concepts,
        positives: args.positives,
        negatives: args.negatives,
        sharing: args.sharing,
        words: args.words,
        vocabulary: shape.vocabulary(),
        seed: args.seed,
    };
    let job = Job::new(&concepts(&wanted)?)?;
    // Lives as long as the measurement.
    let made;
    let source = match &args.model {
        Some(source) => source.clone(),
        None => {
            made = make(shape).await?;
            ModelSource { name: "bench".parse()?, source: folder_of(&made), control: None }
        }
    };
    let workers = session::load(global, &source).await?;
    let recipe = args.recipe.resolve()?;
    let spec = JobSpec {
        model: workers.name.clone(),
        recipe,
        limit_per_class: args.positives.max(args.negatives),
        seed: args.seed,
        strict: false,
        split: SplitMode::Auto,
        measures: args.measures.resolve(args.seed),
    };
    let facts = Facts {
        model: args.model.map_or_else(|| format!("{shape:?}").to_lowercase(), |source| source.name.to_string()),
        units: workers.model.unit_space().len(),
        parameters: workers.model.parameters(),
        device: workers.model.device_label(),
        workers: workers.count,
        memory_budget: workers.memory_budget,
        concepts: args.concepts,
        sentences: job.sentences.len(),
    };
    let stages = workers.stages.clone();
    let cluster = Embedded::start(config(global)?, Some(workers)).await?;
    let client = cluster.client().clone();
    let mined = tokio::select! {
        mined = async {
            let started = Instant::now();
            let id = client.submit_job(spec, job).await?;
            let outcome = follow(&client, id, Interrupt::CancelJob).await?;
            Ok::<_, anyhow::Error>((outcome, started.elapsed()))
        } => mined,
        signal = lode_ops::terminated() => signal.map_err(Into::into).and_then(|()| Err(anyhow::anyhow!("terminated"))),
    };
    drop(client);
    let ended = cluster.stop().await;
    let (outcome, wall) = mined?;
    ended?;
    let report = report(&facts, &outcome, wall, &stages);
    outcome.conclude()?;
    print(&report, global.format())
}

fn config(global: &Global) -> anyhow::Result<Config> {
    global.refuse_tls_flags()?;
    let (limits, resume) = (Limits::default(), false);
    Ok(Config { data_dir: None, grpc: ([127, 0, 0, 1], 0).into(), http: None, tokens: None, limits, resume })
}

async fn make(shape: Shape) -> anyhow::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("lode-bench-").tempdir().context("cannot make a temporary folder")?;
    let path: PathBuf = folder.path().to_owned();
    let made = tokio::task::spawn_blocking(move || shape.write(&path));
    spinner("making a model", made).await.context("making the model was broken off")??;
    Ok(folder)
}

fn folder_of(made: &TempDir) -> String {
    made.path().display().to_string()
}

/// What was measured on.
struct Facts {
    model: String,
    units: usize,
    parameters: u64,
    device: String,
    workers: u32,
    memory_budget: u64,
    concepts: u32,
    sentences: usize,
}

/// The device thread's own stages: what it does not spend on them it waits.
const ON_DEVICE: [Stage; 3] = [Stage::Recall, Stage::Forward, Stage::Keep];

fn report(facts: &Facts, outcome: &Outcome, wall: Duration, stages: &Stages) -> Report {
    let wall = wall.as_secs_f64();
    let spent = |stage| stages.spent(stage).as_secs_f64();
    // Of all devices together, so that one that waits for another counts as waiting.
    let devices = wall * f64::from(facts.workers);
    let forward = spent(Stage::Forward);
    let mut table = Table::new("stages", &["stage", "on", "seconds", "of_device_time"]);
    for stage in Stage::ALL {
        let on = if ON_DEVICE.contains(&stage) { "device" } else { "beside" };
        let seconds = spent(stage);
        table.push(vec![stage.name().into(), on.into(), Cell::Rounded(seconds), Cell::Share(seconds / devices)]);
    }
    let idle = (devices - ON_DEVICE.into_iter().map(spent).sum::<f64>()).max(0.0);
    table.push(vec!["wait".into(), "device".into(), Cell::Rounded(idle), Cell::Share(idle / devices)]);
    let tokens = outcome.progress.tokens_done;
    Report::default()
        .fact("model", facts.model.clone())
        .fact("units", facts.units)
        .fact("parameters", facts.parameters)
        .fact("device", facts.device.clone())
        .fact("workers", facts.workers)
        .fact("concepts", facts.concepts)
        .fact("sentences_distinct", facts.sentences)
        .fact("tokens", tokens)
        .fact("seconds", Cell::Rounded(wall))
        .fact("tokens_per_second", Cell::Rounded(tokens as f64 / wall.max(1e-9)))
        .fact(
            "forward_tokens_per_second",
            Cell::Rounded(tokens as f64 / (forward / f64::from(facts.workers)).max(1e-9)),
        )
        .fact("outside_forward", Cell::Share((1.0 - forward / devices).max(0.0)))
        .fact("memory_budget_bytes", Cell::Bytes(facts.memory_budget))
        .fact("peak_memory_bytes", memory::peak().map(Cell::Bytes))
        .table(table)
}
