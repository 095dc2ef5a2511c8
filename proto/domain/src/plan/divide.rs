//! Which concepts stay whole on a worker, and which are split by sentences over all of them.

use serde::{Deserialize, Serialize};

use super::{Holdings, Plan, PlanCost, PlanError, SentenceRange, Shard, plan, split_into};
use crate::{
    job::{Job, JobConcept, distinct},
    words::words,
};

/// Ranges that a split gives every worker, on average: two, so that a range lost is half a worker's part, and fast workers
/// take a slow one's second.
const RANGES_A_WORKER: usize = 2;
/// A split is chosen if it should end this much sooner: estimates are rough, and what is whole needs no merge.
const WORTH_IT: f64 = 0.8;
/// Ranges a worker at most, however small its memory: beyond, it spills to its disk.
const MOST_RANGES_A_WORKER: usize = 16;

/// Whether concepts may be split by sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SplitMode {
    /// Where a concept is too large for every worker's memory, or the job would end sooner.
    #[default]
    Auto,
    /// Every concept.
    Always,
    /// None.
    Never,
}

words!(SplitMode, "auto, always, never", Auto = "auto", Always = "always", Never = "never");

/// What a worker can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Power {
    /// Measured speed of its forward passes.
    pub tokens_per_second: f64,
    /// How many sentences' responses fit its memory budget.
    pub most_sentences: u64,
}

/// What a split costs beside its forward passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SplitCost {
    /// Bytes of one sentence's responses: four a unit.
    pub sentence_bytes: u64,
    /// How fast partial summaries travel and are merged.
    pub bytes_per_second: f64,
    /// Room for partial summaries on the coordinator's disk.
    pub room: u64,
}

/// Concepts that are split: every range of their sentences is run by one worker, and the partial summaries are merged.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// Numbers of the concepts in [`Job::concepts`], ascending.
    pub concepts: Vec<u32>,
    /// Ranges over the job's sentences, ascending.
    pub ranges: Vec<SentenceRange>,
    /// The worker that holds most of each range from before, `[range]`.
    pub preferred: Vec<Option<u32>>,
    /// Sentences of all ranges.
    pub sentences: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// How a job is divided.
#[derive(Clone, Debug, PartialEq)]
pub struct Division {
    /// Shards of whole concepts.
    pub shards: Vec<Shard>,
    /// The concepts that are split, if any.
    pub split: Option<Split>,
    /// Totals of both.
    pub cost: PlanCost,
    /// When the last worker should end, in seconds: forward passes, and what a split costs beside them.
    pub seconds: f64,
}

/// Divides a job among workers: see [`SplitMode`] for what is split, and [`plan`] for the rest.
///
/// # Errors
/// As [`plan`].
pub fn divide(
    job: &Job,
    weights: &[u32],
    workers: &[Power],
    holdings: &Holdings,
    split_cost: &SplitCost,
    mode: SplitMode,
) -> Result<Division, PlanError> {
    let planner = Planner { job, weights, workers, holdings, split_cost };
    let all: Vec<u32> = (0..job.concepts.len() as u32).collect();
    let whole = planner.whole(&all)?;
    let fits = |concepts: &[u32]| planner.bytes(concepts) <= split_cost.room;
    match mode {
        SplitMode::Never => Ok(whole),
        SplitMode::Always => Ok(planner.split(&all)),
        SplitMode::Auto => {
            let large = planner.too_large();
            if !large.is_empty() && fits(&large) {
                let rest: Vec<u32> = all.iter().copied().filter(|concept| !large.contains(concept)).collect();
                return planner.both(&large, &rest);
            }
            let split = planner.split(&all);
            Ok(if workers.len() > 1 && fits(&all) && split.seconds < WORTH_IT * whole.seconds { split } else { whole })
        }
    }
}

struct Planner<'a> {
    job: &'a Job,
    weights: &'a [u32],
    workers: &'a [Power],
    holdings: &'a Holdings,
    split_cost: &'a SplitCost,
}

impl Planner<'_> {
    fn concepts(&self, numbers: &[u32]) -> Vec<&JobConcept> {
        numbers.iter().map(|&number| &self.job.concepts[number as usize]).collect()
    }

    /// Concepts with more sentences than any worker's memory takes.
    fn too_large(&self) -> Vec<u32> {
        let most = self.workers.iter().map(|worker| worker.most_sentences).max().unwrap_or(0);
        let numbered = (0..).zip(&self.job.concepts);
        numbered.filter(|(_, concept)| concept.distinct().len() as u64 > most).map(|(number, _)| number).collect()
    }

    /// Bytes of the partial summaries of `concepts`.
    fn bytes(&self, concepts: &[u32]) -> u64 {
        distinct(&self.concepts(concepts)).len() as u64 * self.split_cost.sentence_bytes
    }

    /// Whole concepts; their numbers in the shards are the job's.
    fn whole(&self, concepts: &[u32]) -> Result<Division, PlanError> {
        let speeds: Vec<f64> = self.workers.iter().map(|worker| worker.tokens_per_second).collect();
        let only: Vec<JobConcept> = self.concepts(concepts).into_iter().cloned().collect();
        // The table of sentences stays, so weights and holdings do too; sentences that no concept needs cost nothing.
        let part = Job { sentences: self.job.sentences.clone(), concepts: only };
        let Plan { mut shards, cost } = plan(&part, self.weights, &speeds, self.holdings)?;
        for number in shards.iter_mut().flat_map(|shard| &mut shard.concepts) {
            *number = concepts[*number as usize];
        }
        Ok(Division { shards, split: None, cost, seconds: cost.makespan })
    }

    /// All of `concepts` by ranges of their sentences.
    fn split(&self, concepts: &[u32]) -> Division {
        let chosen = self.concepts(concepts);
        let sentences = distinct(&chosen);
        let weight = |&sentence: &u32| u64::from(self.weights[sentence as usize]);
        let tokens: u64 = sentences.iter().map(weight).sum();
        let workers = self.workers.len().max(1);
        let fitting = self.workers.iter().map(|worker| worker.most_sentences).min().unwrap_or(u64::MAX).max(1);
        let for_memory = usize::try_from((sentences.len() as u64).div_ceil(fitting)).unwrap_or(usize::MAX);
        let ranges = for_memory.clamp(RANGES_A_WORKER * workers, MOST_RANGES_A_WORKER * workers);
        let ranges = split_into(self.job, concepts, self.weights, ranges);

        let new_tokens: u64 = sentences.iter().filter(|&&sentence| !self.holdings.held(sentence)).map(weight).sum();
        let held = sentences.iter().filter(|&&sentence| self.holdings.held(sentence)).count() as u64;
        let unshared: Vec<Vec<u32>> = chosen.iter().map(|concept| concept.distinct()).collect();
        let speed: f64 = self.workers.iter().map(|worker| worker.tokens_per_second).sum();
        let makespan = new_tokens as f64 / speed;
        let cost = PlanCost {
            distinct_sentences: sentences.len() as u64,
            distinct_tokens: tokens,
            run_sentences: sentences.len() as u64 - held,
            run_tokens: new_tokens,
            held_sentences: held,
            unshared_sentences: unshared.iter().map(|numbers| numbers.len() as u64).sum(),
            unshared_tokens: unshared.iter().flatten().map(weight).sum(),
            makespan,
            lower_bound: makespan,
        };
        let seconds = makespan + self.bytes(concepts) as f64 / self.split_cost.bytes_per_second;
        let preferred = ranges.iter().map(|range| self.holder_of_most(range, &sentences)).collect();
        let split = Split { concepts: concepts.to_vec(), ranges, preferred, sentences: sentences.len() as u64, tokens };
        Division { shards: Vec::new(), split: Some(split), cost, seconds }
    }

    fn holder_of_most(&self, range: &SentenceRange, sentences: &[u32]) -> Option<u32> {
        let within: Vec<u32> =
            sentences.iter().copied().filter(|sentence| range.sentences.contains(sentence)).collect();
        let held = |worker: u32| within.iter().filter(|&&sentence| self.holdings.holds(worker, sentence)).count();
        (0..self.workers.len() as u32)
            .map(|worker| (held(worker), worker))
            .max()
            .filter(|best| best.0 > 0)
            .map(|best| best.1)
    }

    /// `large` split, the rest whole.
    fn both(&self, large: &[u32], rest: &[u32]) -> Result<Division, PlanError> {
        let split = self.split(large);
        if rest.is_empty() {
            return Ok(split);
        }
        let whole = self.whole(rest)?;
        let (one, other) = (split.cost, whole.cost);
        let everything: Vec<u32> = (0..self.job.concepts.len() as u32).collect();
        let sentences = distinct(&self.concepts(&everything));
        let cost = PlanCost {
            distinct_sentences: sentences.len() as u64,
            distinct_tokens: sentences.iter().map(|&sentence| u64::from(self.weights[sentence as usize])).sum(),
            run_sentences: one.run_sentences + other.run_sentences,
            run_tokens: one.run_tokens + other.run_tokens,
            held_sentences: one.held_sentences + other.held_sentences,
            unshared_sentences: one.unshared_sentences + other.unshared_sentences,
            unshared_tokens: one.unshared_tokens + other.unshared_tokens,
            makespan: one.makespan + other.makespan,
            lower_bound: one.lower_bound.max(other.lower_bound),
        };
        Ok(Division { shards: whole.shards, split: split.split, cost, seconds: split.seconds + whole.seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::concept::Concept;

    /// Concepts with sentences of their own and 40 negatives that all share.
    fn job(concepts: usize, positives: usize) -> Job {
        let texts = |mark: &str, count| (0..count).map(|number| format!("{mark}{number:04}")).collect();
        let concept = |number| Concept {
            id: format!("g/c{number}").parse().unwrap(),
            positive: texts(&format!("p{number}-"), positives),
            negative: texts("n", 40),
        };
        Job::new(&(0..concepts).map(concept).collect::<Vec<_>>()).unwrap()
    }

    fn divided(job: &Job, workers: usize, most_sentences: u64, mode: SplitMode) -> Division {
        let power = vec![Power { tokens_per_second: 10.0, most_sentences }; workers];
        let holdings = Holdings::none(workers, job.sentences.len());
        let cost = SplitCost { sentence_bytes: 4, bytes_per_second: 1e3, room: 1 << 30 };
        divide(job, &vec![10; job.sentences.len()], &power, &holdings, &cost, mode).unwrap()
    }

    fn check_split(job: &Job, split: &Split) {
        let covered: Vec<u32> = split.ranges.iter().flat_map(|range| range.sentences.clone()).collect();
        for &concept in &split.concepts {
            let needed = job.concepts[concept as usize].distinct();
            assert!(needed.iter().all(|sentence| covered.contains(sentence)));
        }
        assert_eq!(split.ranges.iter().map(|range| u64::from(range.distinct)).sum::<u64>(), split.sentences);
        assert_eq!(split.ranges.iter().map(|range| range.tokens).sum::<u64>(), split.tokens);
    }

    #[test]
    fn one_concept_on_three_workers_is_split() {
        let job = job(1, 60);
        let split = divided(&job, 3, 1000, SplitMode::Auto).split.unwrap();
        assert_eq!((split.ranges.len(), split.tokens), (6, 1000));
        check_split(&job, &split);
        assert_eq!(divided(&job, 1, 1000, SplitMode::Auto).split, None);
        assert_eq!(divided(&job, 3, 1000, SplitMode::Never).split, None);
        assert_eq!(divided(&job, 1, 1000, SplitMode::Always).split.unwrap().ranges.len(), 2);
    }

    #[test]
    fn a_pool_shared_by_all_is_split_and_concepts_that_share_little_are_not() {
        assert!(divided(&job(6, 2), 3, 1000, SplitMode::Auto).split.is_some());
        assert_eq!(divided(&job(6, 400), 3, 1000, SplitMode::Auto).split, None);
    }

    #[test]
    fn what_no_memory_holds_is_split_and_the_rest_stays_whole() {
        let mut concepts = vec![Concept {
            id: "g/large".parse().unwrap(),
            positive: (0..300).map(|number| format!("large{number}")).collect(),
            negative: vec!["n".into()],
        }];
        concepts.extend((0..4).map(|number| Concept {
            id: format!("g/small{number}").parse().unwrap(),
            positive: vec![format!("p{number}")],
            negative: vec!["n".into()],
        }));
        let job = Job::new(&concepts).unwrap();
        let division = divided(&job, 2, 100, SplitMode::Auto);
        let split = division.split.unwrap();
        assert_eq!(split.concepts, [0]);
        assert!(split.ranges.iter().all(|range| range.distinct <= 100));
        check_split(&job, &split);
        let mut whole: Vec<u32> = division.shards.iter().flat_map(|shard| shard.concepts.clone()).collect();
        whole.sort_unstable();
        assert_eq!(whole, [1, 2, 3, 4]);
        assert_eq!(division.cost.distinct_sentences, 305);
        // Memory for next to nothing does not make a shard of every sentence.
        assert!(divided(&job, 2, 0, SplitMode::Auto).split.unwrap().ranges.len() <= 33);
    }

    #[test]
    fn no_room_for_partial_summaries_keeps_concepts_whole() {
        let job = job(1, 60);
        let power = [Power { tokens_per_second: 10.0, most_sentences: 10 }; 3];
        let cost = SplitCost { sentence_bytes: 4, bytes_per_second: 1e3, room: 100 };
        let division = divide(&job, &[10; 100], &power, &Holdings::none(3, 100), &cost, SplitMode::Auto).unwrap();
        assert_eq!(division.split, None);
    }

    #[test]
    fn a_worker_that_holds_the_sentences_gets_the_concepts() {
        let job = job(2, 30);
        let mut holdings = Holdings::none(2, job.sentences.len());
        // Worker 1 has mined concept 0 before.
        job.concepts[0].distinct().into_iter().for_each(|sentence| holdings.add(1, sentence));
        let power = [Power { tokens_per_second: 10.0, most_sentences: 1000 }; 2];
        let cost = SplitCost { sentence_bytes: 4000, bytes_per_second: 1e3, room: 1 << 30 };
        let division = divide(&job, &vec![10; job.sentences.len()], &power, &holdings, &cost, SplitMode::Auto).unwrap();
        assert!(division.shards.iter().all(|shard| shard.worker == 1), "{:?}", division.shards);
        assert_eq!((division.cost.run_sentences, division.cost.held_sentences), (30, 70));
        assert_eq!(division.cost.run_tokens, 300);
    }
}
