//! `lode demo`: the whole path on the bundled model and concepts, without a network.

pub(super) mod bundle;

use std::time::Instant;

use anyhow::Context as _;
use futures::StreamExt as _;
use lode_client::{
    Client,
    embedded::{Config, Embedded},
};
use lode_coordinator::Limits;
use lode_domain::{
    concept::{Concept, ConceptId},
    criterion::Criterion,
    event::JobSpec,
    expertise::Recipe,
    generation::{GenerateEvent, GenerateRequest},
    id::ModelName,
    intervention::{Condition, ForcingValue, Positions, Rank, Target},
    job::Job,
    plan::SplitMode,
    query::{ConceptRef, TopQuery, UnitRow},
    sampling::Sampling,
    selection::Selection,
};
use lode_worker::ModelSource;

use self::bundle::Bundled;
use super::{
    follow::{Interrupt, follow},
    session,
};
use crate::{
    args::Global,
    output::{Cell, Report, Table, note, print},
};

/// Beginnings that can lead to any of the bundled topics.
const PROMPTS: [&str; 5] = ["Yesterday", "In the morning", "We", "My friend said that", "Last week"];

/// See the whole path at work: mine the bundled concepts, look at their experts, write with them
///
/// Loads the bundled model (1.2 million parameters, trained on a small grammar of English), mines all bundled concepts on an
/// embedded cluster, shows the best units of each, and continues neutral prompts with and without a concept's experts
/// forced. Needs no network. With --data-dir DIR model and index stay there for commands of your own.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode demo
  lode demo --data-dir ./lode-demo
  lode demo --concept topic/law --concept sense/bass-fish --k 40 --samples 100
  lode demo --all --show 40 --format json")]
pub(crate) struct Args {
    /// Concepts to write with; may be repeated.
    #[arg(long = "concept", value_name = "GROUP/NAME", default_values = [
        "topic/football", "topic/space", "topic/cooking", "topic/sea", "topic/music", "sense/bank-money",
        "sense/bank-river", "gender/woman",
    ])]
    concepts: Vec<ConceptId>,
    /// Write with every bundled concept.
    #[arg(long, conflicts_with = "concepts")]
    all: bool,
    /// How many experts are forced; may be repeated.
    #[arg(long = "k", value_name = "K", default_values_t = [20, 40, 60, 80])]
    ks: Vec<u32>,
    /// Texts for each concept and k.
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    samples: u32,
    /// How many of those texts are printed.
    #[arg(long, value_name = "N", default_value_t = 1)]
    show: usize,
    /// Seed of the texts.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let concepts = bundle::concepts()?;
    let wanted = if args.all {
        concepts.iter().collect()
    } else {
        args.concepts.iter().map(|id| bundle::find(&concepts, id)).collect::<anyhow::Result<Vec<_>>>()?
    };
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let folder = global.data_dir.clone().unwrap_or_else(|| scratch.path().to_owned());
    let model_folder = folder.join("model");
    bundle::unpack_model(&model_folder)?;

    let name: ModelName = "demo".parse()?;
    let source = ModelSource { name: name.clone(), source: model_folder.display().to_string(), control: None };
    let workers = session::load(global, &source).await?;
    let grpc = ([127, 0, 0, 1], 0).into();
    let (limits, resume) = (Limits::default(), false);
    let config = Config { data_dir: Some(folder.clone()), grpc, http: None, tokens: None, limits, resume };
    let cluster = Embedded::start(config, Some(workers)).await?;
    let demo = Demo { client: cluster.client().clone(), model: name, args: &args };
    let shown = tokio::select! {
        shown = demo.run(&concepts, &wanted, global) => shown,
        signal = lode_ops::stopped() => signal.map_err(Into::into).and_then(|()| Err(anyhow::anyhow!("interrupted"))),
    };
    drop(demo);
    let ended = cluster.stop().await;
    shown?;
    ended?;
    if global.data_dir.is_some() {
        let at = format!("lode --embedded --data-dir {}", folder.display());
        note(format_args!(
            "\nGo on with what was mined:\n  {at} units layers --model demo --concept topic/sea\n  {at} nearest --model \
             demo sense/bank-money\n  {at} generate --model demo={} --prompt Yesterday --concept topic/sea --k 60",
            model_folder.display()
        ));
    } else {
        note("\nThe index was temporary: `lode demo --data-dir DIR` keeps it for commands of your own.");
    }
    Ok(())
}

struct Demo<'a> {
    client: Client,
    model: ModelName,
    args: &'a Args,
}

impl Demo<'_> {
    async fn run(&self, concepts: &[Bundled], wanted: &[&Bundled], global: &Global) -> anyhow::Result<()> {
        let started = Instant::now();
        let mined = self.mine(concepts).await?;
        note(format_args!("mined {mined} concepts in {:.1} s", started.elapsed().as_secs_f64()));
        let experts = self.experts(concepts).await?;
        let (presence, texts) = self.write(wanted).await?;
        let mut report = Report::of(experts);
        report.tables.extend([presence, texts]);
        print(&report.fact("model", "demo").fact("concepts", mined), global.format())
    }

    /// Mines all bundled concepts; returns how many are in the index.
    async fn mine(&self, concepts: &[Bundled]) -> anyhow::Result<usize> {
        let Selection { limit_per_class, seed } = Selection::default();
        let recipe = Recipe::default();
        let spec = JobSpec {
            model: self.model.clone(),
            recipe,
            limit_per_class,
            seed,
            strict: false,
            split: SplitMode::Auto,
            measures: Default::default(),
        };
        let all: Vec<Concept> = concepts.iter().map(|bundled| bundled.concept.clone()).collect();
        let job = self.client.submit_job(spec, Job::new(&all)?).await?;
        let outcome = follow(&self.client, job, Interrupt::CancelJob).await?;
        outcome.conclude()?;
        Ok(outcome.indexed.len())
    }

    /// The best three units of every concept.
    async fn experts(&self, concepts: &[Bundled]) -> anyhow::Result<Table> {
        let mut table = Table::new("experts", &["concept", "best", "ap", "second", "ap_2", "third", "ap_3"]);
        for bundled in concepts {
            let concept = bundled.concept.id.clone();
            let of = ConceptRef { model: self.model.clone(), concept, recipe: Recipe::default() };
            let query = TopQuery { top: 3, ..TopQuery::default() };
            let top = self.client.top(of, query).await?;
            let mut row: Vec<Cell> = vec![bundled.concept.id.to_string().into()];
            row.extend(top.rows.iter().flat_map(cells));
            table.push(row);
        }
        Ok(table)
    }

    /// How often texts show a concept with and without its experts forced, and some texts of each.
    async fn write(&self, wanted: &[&Bundled]) -> anyhow::Result<(Table, Table)> {
        let mut presence = Table::new("presence", &["concept", "k", "texts", "showing", "share"]);
        let mut texts = Table::new("texts", &["concept", "k", "text"]);
        for bundled in wanted {
            for &k in std::iter::once(&0).chain(&self.args.ks) {
                let written = self.texts(&bundled.concept.id, k).await?;
                let showing = written.iter().filter(|text| bundled.shows_in(text)).count();
                let share = showing as f64 / written.len() as f64;
                let id = || Cell::from(bundled.concept.id.to_string());
                presence.push(vec![id(), k.into(), written.len().into(), showing.into(), Cell::Share(share)]);
                // Always the first: nothing is picked.
                for text in written.into_iter().take(self.args.show) {
                    texts.push(vec![id(), k.into(), text.into()]);
                }
            }
        }
        Ok((presence, texts))
    }

    /// Continuations of all prompts, the same seeds for every concept and k.
    async fn texts(&self, concept: &ConceptId, k: u32) -> anyhow::Result<Vec<String>> {
        let (recipe, criterion) = (Recipe::default(), Criterion::default());
        let target = Target::Experts { concept: concept.clone(), recipe, k, rank: Rank::Top, criterion };
        let condition = Condition { target, value: ForcingValue::Mean, positions: Positions::All };
        let sampling =
            Sampling { temperature: 0.7, top_k: 10, seed: self.args.seed, max_new_tokens: 28, ..Sampling::default() };
        let conditions: Vec<Condition> = (k > 0).then_some(condition).into_iter().collect();
        let mut texts = Vec::new();
        for (number, prompt) in (0..).zip(PROMPTS) {
            let prompts = PROMPTS.len() as u32;
            let samples = self.args.samples / prompts + u32::from(number < self.args.samples % prompts);
            if samples == 0 {
                continue;
            }
            let request = GenerateRequest {
                model: self.model.clone(),
                prompt: prompt.to_owned(),
                conditions: conditions.clone(),
                observe: Vec::new(),
                sampling: sampling.clone(),
                samples,
                guide: None,
            };
            texts.extend(self.samples(request).await?);
        }
        Ok(texts)
    }

    async fn samples(&self, request: GenerateRequest) -> anyhow::Result<Vec<String>> {
        let mut texts = vec![request.prompt.clone(); request.samples as usize];
        let mut events = self.client.generate(request).await?;
        while let Some(event) = events.next().await.transpose()? {
            if let GenerateEvent::Token { sample, text, .. } = event
                && let Some(so_far) = texts.get_mut(sample as usize)
            {
                so_far.push_str(&text);
            }
        }
        Ok(texts)
    }
}

fn cells(row: &UnitRow) -> [Cell; 2] {
    [row.name.to_string().into(), Cell::Number(row.expertise.ap)]
}
