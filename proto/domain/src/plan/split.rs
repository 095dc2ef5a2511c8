//! Splits concepts that are too large for one worker's budget into ranges of sentences.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::job::{Job, distinct};

/// A range of a job's sentences that one worker runs for a set of concepts, giving a partial summary of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentenceRange {
    /// Numbers of sentences in [`Job::sentences`]; those that the concepts do not need are not run.
    /// [`crate::job::JobConcept::within`] gives the labels.
    pub sentences: Range<u32>,
    /// How many of them the concepts need.
    pub distinct: u32,
    /// What running these costs, in tokens.
    pub tokens: u64,
}

/// Cuts the sentences that `concepts` (numbers into [`Job::concepts`]) need into as few ranges as keep each within
/// `budget` tokens, and among such cuts into even ones: the dearest range is as cheap as it can be.
///
/// `weights` is each distinct sentence's cost in tokens, `[sentence]`. The ranges ascend, do not overlap, and
/// together hold every sentence needed. A sentence that exceeds the budget by itself gets its own range. Without
/// concepts there are no ranges.
///
/// # Panics
/// If a concept or a weight is missing.
pub fn split_by_sentences(job: &Job, concepts: &[u32], weights: &[u32], budget: u64) -> Vec<SentenceRange> {
    let (sentences, costs) = needed(job, concepts, weights);
    let fewest = cuts(&costs, budget).len();
    even(&sentences, &costs, fewest)
}

/// The same, into at most `most` ranges: as many, unless there are fewer sentences.
///
/// # Panics
/// If a concept or a weight is missing.
pub fn split_into(job: &Job, concepts: &[u32], weights: &[u32], most: usize) -> Vec<SentenceRange> {
    let (sentences, costs) = needed(job, concepts, weights);
    even(&sentences, &costs, most)
}

/// The sentences that concepts need, and what each costs.
fn needed(job: &Job, concepts: &[u32], weights: &[u32]) -> (Vec<u32>, Vec<u64>) {
    let chosen: Vec<_> = concepts.iter().map(|&concept| &job.concepts[concept as usize]).collect();
    let sentences = distinct(&chosen);
    let costs = sentences.iter().map(|&sentence| u64::from(weights[sentence as usize])).collect();
    (sentences, costs)
}

/// At most `most` ranges, the dearest as cheap as it can be.
fn even(sentences: &[u32], costs: &[u64], most: usize) -> Vec<SentenceRange> {
    // No cap below the dearest sentence or the even share can do with as few cuts.
    let dearest = costs.iter().copied().max().unwrap_or(0);
    let total = costs.iter().sum::<u64>();
    let (mut low, mut high) = (dearest.max(total / most.max(1) as u64), total.max(dearest));
    while low < high {
        let middle = low + (high - low) / 2;
        if cuts(costs, middle).len() <= most {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let range = |part: Range<usize>| SentenceRange {
        sentences: sentences[part.start]..sentences[part.end - 1] + 1,
        distinct: part.len() as u32,
        tokens: costs[part].iter().sum(),
    };
    cuts(costs, high).into_iter().map(range).collect()
}

/// Fills one range after the other up to `cap`; a cost above it stands alone.
fn cuts(costs: &[u64], cap: u64) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut filled) = (0, 0);
    for (place, &cost) in costs.iter().enumerate() {
        if place > start && filled + cost > cap {
            ranges.push(start..place);
            (start, filled) = (place, 0);
        }
        filled += cost;
    }
    if start < costs.len() {
        ranges.push(start..costs.len());
    }
    ranges
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::concept::Concept;

    fn job(positives: usize, negatives: usize) -> Job {
        let texts = |mark: &str, count| (0..count).map(|number| format!("{mark}{number:03}")).collect();
        let id = "group/name".parse().unwrap();
        Job::new(&[Concept { id, positive: texts("p", positives), negative: texts("n", negatives) }]).unwrap()
    }

    proptest! {
        #[test]
        fn ranges_hold_every_sentence_once_within_the_budget(
            positives in 1usize..20,
            negatives in 1usize..20,
            weights in prop::collection::vec(0u32..30, 40),
            budget in 0u64..200,
        ) {
            let job = job(positives, negatives);
            let weights = &weights[..job.sentences.len()];
            let ranges = split_by_sentences(&job, &[0], weights, budget);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].sentences.end <= pair[1].sentences.start));
            let parts: Vec<_> = ranges.iter().map(|range| job.concepts[0].within(&range.sentences)).collect();
            let of = |class: fn(&crate::job::JobConcept) -> &Vec<u32>| parts.iter().flat_map(class).copied().collect::<Vec<_>>();
            prop_assert_eq!(&of(|part| &part.positive), &job.concepts[0].positive);
            prop_assert_eq!(&of(|part| &part.negative), &job.concepts[0].negative);
            for (range, part) in ranges.iter().zip(&parts) {
                let held = part.distinct();
                prop_assert_eq!(range.distinct as usize, held.len());
                prop_assert_eq!(range.tokens, held.iter().map(|&s| u64::from(weights[s as usize])).sum::<u64>());
                prop_assert!(range.tokens <= budget.max(u64::from(*weights.iter().max().unwrap())));
            }
        }
    }

    #[test]
    fn ranges_are_few_and_even() {
        let job = job(5, 5);
        let tokens = |budget| {
            split_by_sentences(&job, &[0], &[10; 10], budget).iter().map(|range| range.tokens).collect::<Vec<_>>()
        };
        assert_eq!(tokens(100), [100]);
        assert_eq!(tokens(99), [50, 50]);
        assert_eq!(tokens(40), [40, 40, 20]);
        assert_eq!(tokens(1), [10; 10]);
        assert_eq!(split_by_sentences(&job, &[], &[10; 10], 40), []);
    }
}
