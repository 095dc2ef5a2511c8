//! Shard plans: which worker mines which concepts, so that sentences run once and all workers end together.

mod assign;
mod divide;
mod holdings;
mod sharing;
mod split;

use serde::{Deserialize, Serialize};

use self::sharing::Sharing;
use crate::job::{Job, distinct};

pub use divide::{Division, Power, Split, SplitCost, SplitMode, divide};
pub use holdings::Holdings;
pub use split::{SentenceRange, split_by_sentences, split_into};

/// A part of a job that one worker does in one go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// The worker it is meant for, by its place among the speeds; any other can do it as well.
    pub worker: u32,
    /// Numbers of its concepts in [`Job::concepts`], ascending.
    pub concepts: Vec<u32>,
    /// Numbers of the distinct sentences they need in [`Job::sentences`], ascending.
    pub sentences: Vec<u32>,
    /// What running these sentences costs, in tokens; those that the worker holds from before cost nothing.
    pub tokens: u64,
    /// How many of the sentences the worker holds from before.
    pub held: u32,
}

/// How a job is spread over workers, and what that costs.
///
/// A worker gets one shard; or two, if its concepts fall into groups that share no sentence: then cutting costs
/// nothing, a crash loses half as much, and a worker that ends early can take another's second shard. More would only
/// add overhead. Workers beyond the number of concepts get none.
///
/// Where concepts draw their negatives from one pool, every worker soon needs most of it, and whole concepts cannot be
/// spread well; [`divide`] weighs that against a split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The shards, by worker, the dearer of a worker's two first.
    pub shards: Vec<Shard>,
    /// Totals.
    pub cost: PlanCost,
}

/// What a plan runs, in sentences (forward passes) and tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanCost {
    /// Distinct sentences of the job: what one worker alone would run.
    pub distinct_sentences: u64,
    /// Their tokens.
    pub distinct_tokens: u64,
    /// Forward passes of the plan: a sentence counts once in every shard that needs it and whose worker does not hold it.
    pub run_sentences: u64,
    /// Tokens of the plan.
    pub run_tokens: u64,
    /// Sentences of the shards that their workers hold from before.
    pub held_sentences: u64,
    /// Forward passes if every concept were mined by itself, each of its distinct sentences once.
    pub unshared_sentences: u64,
    /// Tokens if every concept were mined by itself.
    pub unshared_tokens: u64,
    /// When the last worker ends: the largest of tokens over speed.
    pub makespan: f64,
    /// No plan of whole concepts ends before: the larger of all distinct tokens over all speeds, and the dearest
    /// concept on the fastest worker.
    pub lower_bound: f64,
}

impl PlanCost {
    /// Forward passes saved by sharing: those of every concept by itself less those of the plan.
    pub fn saved_sentences(&self) -> u64 {
        self.unshared_sentences.saturating_sub(self.run_sentences)
    }

    /// Tokens saved by sharing.
    pub fn saved_tokens(&self) -> u64 {
        self.unshared_tokens.saturating_sub(self.run_tokens)
    }
}

/// Input that cannot be planned.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum PlanError {
    /// Nobody to plan for.
    #[error("a plan needs at least one worker")]
    NoWorkers,
    /// A speed that no worker can have.
    #[error("worker {worker} has speed {speed}: a speed is a finite number above 0")]
    BadSpeed {
        /// The worker's place.
        worker: usize,
        /// As given.
        speed: f64,
    },
    /// Costs and sentences that do not belong together.
    #[error("{weights} costs for {sentences} sentences")]
    WrongWeights {
        /// Number of costs given.
        weights: usize,
        /// Number of sentences in the job.
        sentences: usize,
    },
}

/// Spreads a job's concepts over workers.
///
/// `weights` is each distinct sentence's cost in tokens, `[sentence]`; `speeds` each worker's speed, in tokens per unit
/// of time, `[worker]`; `holdings` says who holds responses from before. Concepts are never split here ([`split_by_sentences`] does that). The plan depends on nothing but its
/// arguments, and a job does not depend on the order of its concepts and sentences. Among concepts that share no
/// sentence and workers of one speed it ends no later than total/workers + (1 − 1/workers) × the dearest concept
/// (Graham's bound for list scheduling).
///
/// # Errors
/// If there is no worker, a speed is not a positive number, or the costs are not one a sentence.
pub fn plan(job: &Job, weights: &[u32], speeds: &[f64], holdings: &Holdings) -> Result<Plan, PlanError> {
    if weights.len() != job.sentences.len() {
        return Err(PlanError::WrongWeights { weights: weights.len(), sentences: job.sentences.len() });
    }
    if speeds.is_empty() {
        return Err(PlanError::NoWorkers);
    }
    if let Some((worker, &speed)) = speeds.iter().enumerate().find(|(_, speed)| !(speed.is_finite() && **speed > 0.0)) {
        return Err(PlanError::BadSpeed { worker, speed });
    }

    let sharing = Sharing::new(job, weights, holdings);
    let workers = assign::assign(&sharing, speeds);
    let mut shards = Vec::new();
    for (worker, concepts) in (0..).zip(&workers) {
        let mut own: Vec<Shard> =
            sharing.halves(concepts).into_iter().map(|half| shard(job, weights, holdings, worker, half)).collect();
        own.sort_by(|one, other| other.tokens.cmp(&one.tokens).then_with(|| one.concepts.cmp(&other.concepts)));
        shards.extend(own);
    }
    let cost = cost(&shards, &sharing, speeds);
    Ok(Plan { shards, cost })
}

fn shard(job: &Job, weights: &[u32], holdings: &Holdings, worker: u32, mut concepts: Vec<u32>) -> Shard {
    concepts.sort_unstable();
    let chosen: Vec<_> = concepts.iter().map(|&concept| &job.concepts[concept as usize]).collect();
    let sentences = distinct(&chosen);
    let new = |sentence: &&u32| !holdings.holds(worker, **sentence);
    let tokens = sentences.iter().filter(new).map(|&sentence| u64::from(weights[sentence as usize])).sum();
    let held = sentences.iter().filter(|&&sentence| holdings.holds(worker, sentence)).count() as u32;
    Shard { worker, concepts, sentences, tokens, held }
}

fn cost(shards: &[Shard], sharing: &Sharing, speeds: &[f64]) -> PlanCost {
    let mut loads = vec![0u64; speeds.len()];
    for shard in shards {
        loads[shard.worker as usize] += shard.tokens;
    }
    let times = loads.iter().zip(speeds).map(|(&load, speed)| load as f64 / speed);
    PlanCost {
        distinct_sentences: sharing.distinct_sentences,
        distinct_tokens: sharing.distinct_tokens,
        run_sentences: shards.iter().map(|shard| shard.sentences.len() as u64 - u64::from(shard.held)).sum(),
        run_tokens: loads.iter().sum(),
        held_sentences: shards.iter().map(|shard| u64::from(shard.held)).sum(),
        unshared_sentences: sharing.unshared_sentences,
        unshared_tokens: sharing.concepts.iter().map(|concept| concept.tokens).sum(),
        makespan: times.fold(0.0, f64::max),
        lower_bound: sharing.lower_bound(speeds),
    }
}

#[cfg(test)]
mod tests;
