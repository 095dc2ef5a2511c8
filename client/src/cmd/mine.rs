//! `lode mine`: concepts in, expertise into the index.

use std::{path::PathBuf, time::Instant};

use lode_client::{Client, concepts};
use lode_domain::{
    control::Control, estimate::Estimate, event::JobSpec, id::JobId, job::Job, lint::Severity, plan::SplitMode,
    selection::Selection,
};
use lode_proto::{Fault, FaultKind};

use super::{
    findings::{lint_all, refusals},
    follow::{Interrupt, follow},
    session::on_workers,
};
use crate::{
    args::{Global, MeasureArgs, ModelArg, RecipeArgs},
    output::{Cell, Report, Table, note, print},
};

/// Score every unit of a model for the given concepts
///
/// Every distinct sentence runs once, however many concepts share it. Each concept enters the index whole or not at all;
/// mining it again replaces it. Ctrl-C cancels the job; what was indexed before stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode mine --model gpt2 concepts/
  lode mine --model gpt2 concepts/ --dry-run
  lode mine --model gpt2 concepts/ --criteria ap,auroc,cohens-d,l1 --holdout 0.2 --intervals 50
  lode mine --model gpt2 concepts/sense/bank.json pool.jsonl --limit-per-class 500 --detach
  lode --embedded --data-dir ./index mine --model gpt2=./gpt2 concepts/
  lode --embedded --data-dir ./index mine --model gpt2=./gpt2 concepts/ --control random-init")]
pub(crate) struct Args {
    /// The model: its name in the cluster; with --embedded NAME=PATH_OR_HUB_ID.
    #[arg(long, value_name = "NAME")]
    model: ModelArg,
    /// Concept files (.json), labelled pools (.jsonl) or folders of concepts.
    #[arg(required = true, value_name = "CONCEPTS")]
    concepts: Vec<PathBuf>,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// At most this many sentences of each class, drawn by --seed.
    #[arg(long, value_name = "N", default_value_t = Selection::default().limit_per_class, value_parser = clap::value_parser!(u32).range(1..))]
    limit_per_class: u32,
    /// Seed of the draw; the draw does not depend on the order of the sentences.
    #[arg(long, value_name = "S", default_value_t = Selection::default().seed)]
    seed: u64,
    /// Refuse concepts with empty, too long or repeated sentences, or sentences in both classes.
    #[arg(long)]
    strict: bool,
    /// Split concepts by sentences over several workers: auto (where a concept is too large for one worker's memory, or the
    /// job ends sooner), always or never. The result is the same.
    #[arg(long, value_name = "MODE", default_value_t)]
    split: SplitMode,
    #[command(flatten)]
    measures: MeasureArgs,
    /// Mine a control of the model instead, NAME.random-init: random-init is the same shape with weights drawn anew
    /// (random-init:SEED by another seed). What its units find was not learned. In a cluster a worker has to serve it:
    /// `lode-worker --control`.
    #[arg(long, value_name = "CONTROL")]
    control: Option<Control>,
    /// Print the plan and what the job would cost, and run nothing.
    #[arg(long, conflicts_with = "detach")]
    dry_run: bool,
    /// Submit the job and do not wait for its end.
    #[arg(long)]
    detach: bool,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    if args.detach && global.embedded {
        anyhow::bail!("--detach needs a cluster that goes on when the command ends: leave --embedded out");
    }
    let recipe = args.recipe.resolve()?;
    let (limit_per_class, seed) = (args.limit_per_class, args.seed);
    let job = job(&args.concepts, &Selection { limit_per_class, seed }, args.strict)?;
    if global.embedded && global.data_dir.is_none() {
        note("the index is temporary and goes away with this command: add --data-dir DIR to keep it");
    }
    let model_arg = match args.control {
        Some(control) => args.model.controlled(control)?,
        None => args.model,
    };
    let (model, strict, split) = (model_arg.name().clone(), args.strict, args.split);
    let measures = args.measures.resolve(seed);
    let spec = JobSpec { model, recipe, limit_per_class, seed, strict, split, measures };
    let (detach, dry_run) = (args.detach, args.dry_run);
    let hint =
        args.control.map(|control| format!("a control needs a worker that serves it: lode-worker --control {control}"));
    on_workers(global, &model_arg, async move |client| {
        let hinted = |fault: Fault| match &hint {
            Some(hint) if matches!(fault.kind, FaultKind::NotFound | FaultKind::Precondition) => {
                anyhow::anyhow!("{fault}; {hint}")
            }
            _ => fault.into(),
        };
        if dry_run {
            let estimate = client.estimate_job(spec, job).await.map_err(hinted)?;
            return print(&estimated(&estimate), global.format());
        }
        let started = Instant::now();
        let id = client.submit_job(spec, job).await.map_err(hinted)?;
        if detach {
            return print(&detached(id), global.format());
        }
        attached(&client, id, started, global).await
    })
    .await
}

async fn attached(client: &Client, job: JobId, started: Instant, global: &Global) -> anyhow::Result<()> {
    let outcome = follow(client, job, Interrupt::CancelJob).await?;
    // A reader that has gone away must not hide that the job failed.
    let printed = print(&outcome.report(Some(started.elapsed())), global.format());
    outcome.conclude().and(printed)
}

fn detached(job: JobId) -> Report {
    Report::default().fact("job", job.to_string()).remark(format!("follow it with `lode watch {job}`"))
}

fn estimated(estimate: &Estimate) -> Report {
    let columns = [
        "device",
        "tokens_per_second",
        "shards",
        "sentences",
        "tokens",
        "response_bytes",
        "memory_budget_bytes",
        "url",
    ];
    let mut workers = Table::new("workers", &columns);
    for worker in &estimate.workers {
        workers.push(vec![
            worker.device.clone().into(),
            (worker.tokens_per_second.round() as u64).into(),
            worker.shards.into(),
            worker.sentences.into(),
            worker.tokens.into(),
            Cell::Bytes(worker.response_bytes),
            Cell::Bytes(worker.memory_budget),
            worker.url.clone().into(),
        ]);
    }
    // Against every concept by itself: what sharing and the cache save.
    let saved = 1.0 - estimate.run_sentences as f64 / (estimate.unshared_sentences.max(1) as f64);
    Report::default()
        .fact("concepts", estimate.concepts)
        .fact("sentences_listed", estimate.listed_sentences)
        .fact("sentences_distinct", estimate.distinct_sentences)
        .fact("tokens_distinct", estimate.distinct_tokens)
        .fact("sentences_dropped", estimate.dropped_sentences)
        .fact("sentences_held", estimate.held_sentences)
        .fact("sentences_run", estimate.run_sentences)
        .fact("tokens_run", estimate.run_tokens)
        .fact("sentences_unshared", estimate.unshared_sentences)
        .fact("tokens_unshared", estimate.unshared_tokens)
        .fact("forwards_saved", Cell::Share(saved.max(0.0)))
        .fact("shards", estimate.shards)
        .fact("concepts_split", estimate.split_concepts)
        .fact("ranges", estimate.ranges)
        .fact("estimated_seconds", Cell::Rounded(estimate.seconds))
        .fact("partial_bytes", Cell::Bytes(estimate.partial_bytes))
        .fact("index_bytes", Cell::Bytes(estimate.index_bytes))
        .table(workers)
}

/// Reads the concepts and refuses what cannot be mined, before anything is sent.
fn job(paths: &[PathBuf], selection: &Selection, strict: bool) -> anyhow::Result<Job> {
    let linted = lint_all(concepts::read(paths, selection)?, None);
    let refused = refusals(&linted, strict);
    if !refused.is_empty() {
        anyhow::bail!("nothing was mined; these concepts cannot be:\n  {}", refused.join("\n  "));
    }
    let warned =
        linted.iter().filter(|one| one.findings.iter().any(|finding| finding.severity() == Severity::Warning)).count();
    if warned > 0 {
        note(format_args!("{warned} of {} concepts have warnings; `lode lint` shows them", linted.len()));
    }
    let concepts: Vec<_> = linted.into_iter().map(|one| one.from.concept).collect();
    Ok(Job::new(&concepts)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sentences: &str, strict: bool) -> Result<Job, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        std::fs::write(&path, format!(r#"{{"concept": "x", "group": "g", "sentences": {sentences}}}"#)).unwrap();
        job(&[path], &Selection::default(), strict).map_err(|error| error.to_string())
    }

    #[test]
    fn strict_names_file_kind_and_example() {
        let sentences = r#"{"positive": ["both", "a"], "negative": ["both", "b", "b"]}"#;
        assert_eq!(check(sentences, false).unwrap().concepts.len(), 1);
        let message = check(sentences, true).unwrap_err();
        for part in ["x.json: concept `g/x`: duplicate", "both-classes", "\"both\""] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_class_of_empty_sentences_is_refused_in_any_case() {
        let message = check(r#"{"positive": ["", " "], "negative": ["b"]}"#, false).unwrap_err();
        assert!(message.contains("nothing-left"), "{message}");
    }
}
