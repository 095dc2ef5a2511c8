//! Plans: what the workers say of a job's sentences, how the job is divided by it, and what it is expected to take.

use std::{path::Path, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use lode_domain::{
    cluster::{ShardSpec, Summaries},
    estimate::{Estimate, WorkerEstimate},
    event::{JobSpec, Planned},
    id::{JobId, ModelHash, ShardId},
    job::Job,
    plan::{Division, Holdings, Power, SplitCost, SplitMode, divide},
    sentence::SentenceKey,
};
use lode_proto::Fault;

use crate::{member::Member, registry::Registry, spool::SplitRecord};

/// How long the tokenizer may take.
const COUNT_PATIENCE: Duration = Duration::from_secs(120);
/// After how long another worker is asked as well.
const NEXT_COUNT: Duration = Duration::from_secs(2);
/// How long a worker may take to say what it holds.
const HELD_PATIENCE: Duration = Duration::from_secs(5);
/// How fast partial summaries travel to the coordinator and are merged there, in bytes a second: about what two shared
/// cores do (the README says how that was measured).
const MERGE_SPEED: f64 = 100e6;
/// The share of the free disk that partial summaries may take.
const SPOOL_SHARE: f64 = 0.5;

/// A plan and what it rests on.
pub(crate) struct Outline {
    pub(crate) division: Division,
    /// The workers that were planned for; the division numbers them by place.
    pub(crate) workers: Vec<Arc<Member>>,
    weights: Vec<u32>,
    units: u32,
    /// Bytes that the index keeps of a unit in one concept.
    unit_bytes: u64,
    listed: u64,
}

/// Plans a job over the workers that have its model; without a split if one is under way.
///
/// # Errors
/// If there is none.
pub(crate) async fn outline(
    registry: &Registry,
    data_dir: &Path,
    spec: &JobSpec,
    model: ModelHash,
    job: &Arc<Job>,
    has_split: bool,
) -> Result<Outline, Fault> {
    let workers = registry.with_model(model);
    let Some(units) = workers.first().map(|worker| worker.card.model.units()) else {
        return Err(Fault::precondition(format!("no worker has model `{}`: start one first", spec.model)));
    };
    let weights = count_tokens(&workers, spec, model, job).await;
    let holdings = holdings(&workers, spec, model, job).await;
    let sentence_bytes = 4 * u64::from(units);
    let power = |worker: &Arc<Member>| Power {
        tokens_per_second: worker.speed(),
        most_sentences: worker.card.memory_budget / sentence_bytes,
    };
    let powers: Vec<Power> = workers.iter().map(power).collect();
    let room = fs4::available_space(data_dir).unwrap_or(0) as f64 * SPOOL_SHARE;
    let split_cost = SplitCost { sentence_bytes, bytes_per_second: MERGE_SPEED, room: room as u64 };
    // Planning is a second of work for the largest jobs.
    let mode = if has_split { SplitMode::Never } else { spec.split };
    let (planned, planned_weights) = (job.clone(), weights.clone());
    let division = tokio::task::spawn_blocking(move || {
        divide(&planned, &planned_weights, &powers, &holdings, &split_cost, mode).map_err(Fault::internal)
    });
    let division = division.await.map_err(|error| Fault::internal(format!("planning failed: {error}")))??;
    let listed = job.concepts.iter().map(|concept| (concept.positive.len() + concept.negative.len()) as u64).sum();
    let unit_bytes = spec.measures.unit_bytes() as u64;
    Ok(Outline { division, workers, weights, units, unit_bytes, listed })
}

/// Tokens of each sentence, `[sentence]`, by the first worker that tells; bytes stand in for them if none does.
async fn count_tokens(workers: &[Arc<Member>], spec: &JobSpec, model: ModelHash, job: &Job) -> Vec<u32> {
    let (recipe, summaries, measures) = (spec.recipe, Summaries::Partial, spec.measures);
    let ask = |worker: Arc<Member>| async move {
        let asked = ShardSpec { job: JobId(0), shard: ShardId(0), model, recipe, summaries, measures };
        let counted = worker.client().count_tokens(asked, job.sentences.clone()).await;
        counted.map_err(|fault| worker.fault(fault))
    };
    // One after the other, without waiting long for a slow one.
    let mut left = workers.iter().cloned();
    let mut asked = FuturesUnordered::new();
    let counted = async {
        loop {
            asked.extend(left.next().map(ask));
            tokio::select! {
                answer = asked.next() => match answer {
                    Some(Ok(tokens)) => return Some(tokens),
                    Some(Err(fault)) => tracing::warn!(%fault, "tokens were not counted"),
                    None => return None,
                },
                () = tokio::time::sleep(NEXT_COUNT), if left.len() > 0 => {}
            }
        }
    };
    let counted = tokio::time::timeout(COUNT_PATIENCE, counted).await.ok().flatten();
    counted.unwrap_or_else(|| job.sentences.iter().map(|text| 1 + text.len() as u32 / 4).collect())
}

/// Which worker holds which sentences from before; one that does not answer holds none.
async fn holdings(workers: &[Arc<Member>], spec: &JobSpec, model: ModelHash, job: &Job) -> Holdings {
    let keys: Vec<SentenceKey> = job.sentences.iter().map(|text| SentenceKey::new(spec.recipe, text)).collect();
    let answers = workers.iter().map(|worker| {
        let (client, keys) = (worker.client(), &keys);
        async move {
            let asked = client.find_held(model, keys);
            tokio::time::timeout(HELD_PATIENCE, asked).await.ok().and_then(Result::ok).unwrap_or_default()
        }
    });
    let mut holdings = Holdings::none(workers.len(), keys.len());
    for (worker, held) in join_all(answers).await.into_iter().enumerate() {
        for (sentence, _) in (0..).zip(held).filter(|(_, held)| *held) {
            holdings.add(worker, sentence);
        }
    }
    holdings
}

impl Outline {
    /// What watchers are told.
    pub(crate) fn planned(&self, job: &Job) -> Planned {
        let split = self.division.split.as_ref();
        Planned {
            shards: (self.division.shards.len() + split.map_or(0, |split| split.ranges.len())) as u32,
            concepts: job.concepts.len() as u32,
            split_concepts: split.map_or(0, |split| split.concepts.len()) as u32,
            distinct_sentences: self.division.cost.distinct_sentences as u32,
            run_sentences: self.division.cost.run_sentences as u32,
            listed_sentences: self.listed,
            workers: self.workers.len() as u32,
        }
    }

    /// The split over the table of only those sentences that its concepts need, as it is written down.
    pub(crate) fn split_record(&self, job: &Job) -> Option<SplitRecord> {
        let split = self.division.split.as_ref()?;
        let concepts = split.concepts.iter().map(|&number| job.concepts[number as usize].id.clone()).collect();
        let mut start = 0;
        let ranges = split.ranges.iter().map(|range| {
            let end = start + range.distinct;
            let range = start..end;
            start = end;
            range
        });
        let precision = self.workers.first().map(|worker| worker.card.precision.clone()).unwrap_or_default();
        Some(SplitRecord { concepts, ranges: ranges.collect(), units: self.units, precision })
    }

    /// What the job is expected to take.
    pub(crate) fn estimate(&self, job: &Job) -> Estimate {
        let (cost, split) = (&self.division.cost, self.division.split.as_ref());
        let sentence_bytes = 4 * u64::from(self.units);
        let largest_range = split.map_or(0, |split| split.ranges.iter().map(|range| range.distinct).max().unwrap_or(0));
        let worker = |(place, worker): (u32, &Arc<Member>)| {
            let own = || self.division.shards.iter().filter(|shard| shard.worker == place);
            let largest = own().map(|shard| shard.sentences.len() as u64).max().unwrap_or(0);
            WorkerEstimate {
                url: worker.card.url.clone(),
                device: worker.card.device.clone(),
                tokens_per_second: worker.speed(),
                shards: own().count() as u32,
                sentences: own().map(|shard| shard.sentences.len() as u64 - u64::from(shard.held)).sum(),
                tokens: own().map(|shard| shard.tokens).sum(),
                response_bytes: largest.max(u64::from(largest_range)) * sentence_bytes,
                memory_budget: worker.card.memory_budget,
            }
        };
        Estimate {
            concepts: job.concepts.len() as u32,
            listed_sentences: self.listed,
            distinct_sentences: cost.distinct_sentences,
            distinct_tokens: cost.distinct_tokens,
            run_sentences: cost.run_sentences,
            run_tokens: cost.run_tokens,
            held_sentences: cost.held_sentences,
            unshared_sentences: cost.unshared_sentences,
            unshared_tokens: cost.unshared_tokens,
            dropped_sentences: self.weights.iter().filter(|&&tokens| tokens == 0).count() as u64,
            shards: self.division.shards.len() as u32,
            split_concepts: split.map_or(0, |split| split.concepts.len()) as u32,
            ranges: split.map_or(0, |split| split.ranges.len()) as u32,
            seconds: self.division.seconds,
            partial_bytes: split.map_or(0, |split| split.sentences) * sentence_bytes,
            index_bytes: job.concepts.len() as u64 * u64::from(self.units) * self.unit_bytes,
            workers: (0..).zip(&self.workers).map(worker).collect(),
        }
    }
}
