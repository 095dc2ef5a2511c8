use proptest::prelude::*;
use rustc_hash::FxHashSet;

use super::*;
use crate::{
    concept::{Concept, ConceptId},
    job::JobConcept,
};

fn plan(job: &Job, weights: &[u32], speeds: &[f64]) -> Result<Plan, PlanError> {
    super::plan(job, weights, speeds, &Holdings::none(speeds.len(), job.sentences.len()))
}

/// A job of concepts given by the numbers of their sentences; the last of each is its negative.
fn job(concepts: &[Vec<u32>]) -> Job {
    let concepts: Vec<Concept> = concepts
        .iter()
        .enumerate()
        .map(|(number, sentences)| {
            let mut positive: Vec<String> = sentences.iter().map(|sentence| format!("{sentence:08}")).collect();
            let negative = positive.pop().into_iter().collect();
            Concept { id: ConceptId::new("group", format!("c{number:05}")).unwrap(), positive, negative }
        })
        .collect();
    Job::new(&concepts).unwrap()
}

/// Concepts over few sentences, so that they share; one cost a sentence; speeds.
fn input() -> impl Strategy<Value = (Job, Vec<u32>, Vec<f64>)> {
    let concepts = prop::collection::vec(prop::collection::vec(0u32..60, 2..12), 1..20);
    let speeds = prop::collection::vec(prop::sample::select(vec![0.5, 1.0, 1.0, 3.0]), 1..6);
    (concepts, prop::collection::vec(0u32..50, 60), speeds).prop_map(|(concepts, weights, speeds)| {
        let job = job(&concepts);
        let weights = weights[..job.sentences.len()].to_vec();
        (job, weights, speeds)
    })
}

fn tokens(sentences: &FxHashSet<u32>, weights: &[u32]) -> u64 {
    sentences.iter().map(|&sentence| u64::from(weights[sentence as usize])).sum()
}

proptest! {
    #[test]
    fn every_concept_is_in_one_shard_with_all_its_sentences((job, weights, speeds) in input()) {
        let plan = plan(&job, &weights, &speeds).unwrap();
        let mut concepts: Vec<u32> = plan.shards.iter().flat_map(|shard| &shard.concepts).copied().collect();
        concepts.sort_unstable();
        prop_assert_eq!(concepts, (0..job.concepts.len() as u32).collect::<Vec<_>>());
        for shard in &plan.shards {
            let needed: FxHashSet<u32> =
                shard.concepts.iter().flat_map(|&concept| job.concepts[concept as usize].distinct()).collect();
            prop_assert_eq!(&needed, &shard.sentences.iter().copied().collect::<FxHashSet<_>>());
            prop_assert_eq!(needed.len(), shard.sentences.len());
            prop_assert_eq!(tokens(&needed, &weights), shard.tokens);
            prop_assert!((shard.worker as usize) < speeds.len());
        }
    }

    #[test]
    fn costs_are_what_the_shards_say((job, weights, speeds) in input()) {
        let Plan { shards, cost } = plan(&job, &weights, &speeds).unwrap();
        let of_worker = |worker| -> Vec<&Shard> { shards.iter().filter(|shard| shard.worker == worker).collect() };
        let mut makespan: f64 = 0.0;
        for (worker, speed) in (0..).zip(&speeds) {
            let own = of_worker(worker);
            prop_assert!(own.len() <= 2);
            let all: FxHashSet<u32> = own.iter().flat_map(|shard| &shard.sentences).copied().collect();
            prop_assert_eq!(all.len(), own.iter().map(|shard| shard.sentences.len()).sum::<usize>(), "a worker's shards share nothing");
            makespan = makespan.max(tokens(&all, &weights) as f64 / speed);
        }
        prop_assert_eq!(cost.makespan, makespan);
        prop_assert!(cost.makespan >= cost.lower_bound * (1.0 - 1e-12));
        prop_assert_eq!(cost.distinct_tokens, weights.iter().map(|&weight| u64::from(weight)).sum::<u64>());
        prop_assert_eq!(cost.distinct_sentences, job.sentences.len() as u64);
        prop_assert!(cost.distinct_sentences <= cost.run_sentences && cost.run_sentences <= cost.unshared_sentences);
        prop_assert!(cost.distinct_tokens <= cost.run_tokens && cost.run_tokens <= cost.unshared_tokens);
        prop_assert_eq!(cost.unshared_sentences, job.concepts.iter().map(|c| c.distinct().len() as u64).sum::<u64>());
    }

    /// Graham's bound for list scheduling.
    #[test]
    fn concepts_that_share_nothing_are_balanced(
        sizes in prop::collection::vec(2u32..40, 1..30),
        workers in 1usize..7,
    ) {
        let mut next = 0;
        let concepts: Vec<Vec<u32>> = sizes.iter().map(|&size| { next += size; (next - size..next).collect() }).collect();
        let job = job(&concepts);
        let plan = plan(&job, &vec![1; next as usize], &vec![1.0; workers]).unwrap();
        let (total, dearest, workers) = (f64::from(next), f64::from(*sizes.iter().max().unwrap()), workers as f64);
        prop_assert!(plan.cost.makespan <= total / workers + (1.0 - 1.0 / workers) * dearest + 1e-9);
        prop_assert_eq!(plan.cost.saved_tokens(), 0);
    }

    #[test]
    fn one_worker_runs_every_sentence_once((job, weights, _) in input()) {
        let Plan { shards, cost } = plan(&job, &weights, &[2.0]).unwrap();
        prop_assert!(shards.len() <= 2);
        prop_assert_eq!(cost.run_sentences, cost.distinct_sentences);
        prop_assert_eq!(cost.makespan, cost.distinct_tokens as f64 / 2.0);
    }
}

/// `groups` groups of `members` concepts: each has 1000 negatives of its group and 150 positives of its own.
fn families(groups: u32, members: u32) -> Job {
    let family = |member| {
        let group = member % groups;
        let negative = 10_000 * group..10_000 * group + 1000;
        negative.chain(1_000_000 + 1000 * member..1_000_000 + 1000 * member + 150).collect()
    };
    job(&(0..groups * members).map(family).collect::<Vec<_>>())
}

#[test]
fn concepts_that_share_sentences_stay_together() {
    let job = families(4, 10);
    let plan = plan(&job, &vec![1; job.sentences.len()], &[1.0; 2]).unwrap();
    assert_eq!(plan.cost.makespan, 5000.0, "two groups each: 2 x 1000 + 20 x 150");
    assert_eq!(plan.cost.run_tokens, plan.cost.distinct_tokens);
    assert_eq!(plan.cost.saved_sentences(), 40 * 1150 - 10_000);
    let sizes: Vec<(u32, usize)> = plan.shards.iter().map(|shard| (shard.worker, shard.concepts.len())).collect();
    assert_eq!(sizes, [(0, 10), (0, 10), (1, 10), (1, 10)], "one group a shard");
}

#[test]
fn faster_workers_get_more() {
    let job = job(&(0..40).map(|number| (10 * number..10 * number + 10).collect()).collect::<Vec<_>>());
    let plan = plan(&job, &vec![1; job.sentences.len()], &[3.0, 1.0]).unwrap();
    let load =
        |worker| plan.shards.iter().filter(|shard| shard.worker == worker).map(|shard| shard.tokens).sum::<u64>();
    assert_eq!((load(0), load(1)), (300, 100));
}

#[test]
fn workers_beyond_the_concepts_stay_idle() {
    let job = job(&[vec![0, 1], vec![1, 2]]);
    let plan = plan(&job, &[5, 5, 5], &[1.0; 8]).unwrap();
    assert_eq!(plan.shards.len(), 2);
    assert_eq!(plan.cost.run_tokens, 20);
}

#[test]
fn impossible_input_is_refused() {
    let job = job(&[vec![0, 1]]);
    assert_eq!(plan(&job, &[1, 1], &[]), Err(PlanError::NoWorkers));
    assert_eq!(plan(&job, &[1], &[1.0]), Err(PlanError::WrongWeights { weights: 1, sentences: 2 }));
    for speed in [0.0, -1.0, f64::INFINITY] {
        assert_eq!(plan(&job, &[1, 1], &[1.0, speed]), Err(PlanError::BadSpeed { worker: 1, speed }));
    }
    assert!(plan(&job, &[1, 1], &[f64::NAN]).is_err());
}

/// As large as jobs get: 1,344 concepts of 1,700 sentences drawn from a common pool, on 64 workers.
#[test]
fn large_jobs_are_planned_in_moments() {
    let mut state = 1u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % below) as u32
    };
    let sentences = 100_000;
    let concepts: Vec<JobConcept> = (0..1344)
        .map(|number| {
            let mut draw = |count| -> Vec<u32> {
                let mut numbers: Vec<u32> = (0..count).map(|_| random(sentences)).collect();
                numbers.sort_unstable();
                numbers
            };
            let id = ConceptId::new("group", format!("c{number:05}")).unwrap();
            JobConcept { id, positive: draw(700), negative: draw(1000) }
        })
        .collect();
    let job = Job { sentences: (0..sentences).map(|number| format!("{number:06}")).collect(), concepts };
    let weights: Vec<u32> = (0..sentences).map(|_| 5 + random(40)).collect();
    let start = std::time::Instant::now();
    let plan = plan(&job, &weights, &[1.0; 64]).unwrap();
    let took = start.elapsed();
    assert_eq!(plan.cost.distinct_sentences, sentences);
    // 0.8 s when written; the limit allows for slow and busy machines, and still fails on another order of growth.
    assert!(took.as_secs() < 60, "{took:?}");
}
