//! Where each context reaches parity, and what that says together.

use std::collections::BTreeMap;

use lode_eval::{
    bootstrap::{Interval, interval},
    parity::{at_parity, parity_point},
    stats::{mean, pearson, quantile, spearman},
};

use super::{
    Parity,
    exact::ByK,
    sampled::{Place, Sampled},
};
use crate::cmd::eval::{method::Method, strength::Strength};

/// One context under one concept.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) context: usize,
    pub(super) concept: usize,
    /// p(first) - p(second) with nothing forced.
    pub(super) bias: Option<f64>,
    /// Whether the concept pushes against that.
    pub(super) opposes: bool,
    /// By the exact probabilities.
    pub(super) parity: Option<f64>,
    /// By sampling.
    pub(super) sampled_parity: Option<f64>,
    /// Of the continuations with nothing forced.
    pub(super) perplexity: Option<f64>,
    /// Of those at the exact parity point, interpolated.
    pub(super) perplexity_at_parity: Option<f64>,
}

/// Contexts taken together.
#[derive(Clone, Debug)]
pub(super) struct Overall {
    pub(super) concept: Option<usize>,
    pub(super) contexts: usize,
    /// Share of them that reach parity.
    pub(super) reached: Option<Interval>,
    pub(super) sampled_reached: Option<Interval>,
    /// The 10th, 50th and 90th percentile of k at parity.
    pub(super) k: [Option<f64>; 3],
    /// Median perplexities, of the contexts that reach parity.
    pub(super) perplexity: Option<f64>,
    pub(super) perplexity_at_parity: Option<f64>,
    /// Between k at parity and the size of the bias.
    pub(super) pearson: Option<f64>,
    pub(super) spearman: Option<f64>,
}

/// All of it.
pub(super) struct Findings {
    /// `[concept][context]` by k.
    pub(super) exact: [Vec<ByK>; 2],
    pub(super) sampled: BTreeMap<Place, Sampled>,
    pub(super) each: Vec<Finding>,
    seed: u64,
    /// Whether there is something between one strength and the next.
    is_graded: bool,
    /// Whether only the strength above the parity point was sampled.
    is_searched: bool,
}

/// Differences by k, where there are numbers.
pub(super) fn curve(by_k: &ByK) -> Vec<(f64, f64)> {
    by_k.iter().filter_map(|(&k, pair)| pair.map(|(first, second)| (k.value(), first - second))).collect()
}

impl Findings {
    pub(super) fn new(parity: &Parity<'_>, exact: [Vec<ByK>; 2], sampled: BTreeMap<Place, Sampled>) -> Self {
        let (seed, is_graded) = (parity.args.shared.run.seed, parity.method != Method::Prompt);
        let is_searched = parity.args.bisect;
        let mut findings = Self { exact, sampled, each: Vec::new(), seed, is_graded, is_searched };
        for context in 0..parity.contexts.len() {
            for concept in 0..2 {
                findings.each.push(findings.finding(context, concept));
            }
        }
        findings
    }

    /// What was sampled; nothing forced is everybody's.
    pub(super) fn sample(&self, concept: usize, context: usize, k: Strength) -> Option<&Sampled> {
        self.sampled.get(&Place { concept: if k.is_none() { 0 } else { concept }, context, k })
    }

    /// Nothing lies between no instruction and one.
    fn whole(&self, k: f64) -> f64 {
        if self.is_graded { k } else { k.ceil() }
    }

    fn finding(&self, context: usize, concept: usize) -> Finding {
        let by_k = &self.exact[concept][context];
        let exact = curve(by_k);
        // One a point of the curve.
        let known = || by_k.iter().filter(|(_, pair)| pair.is_some()).map(|(&k, _)| k);
        let sampled_at = |k: Strength| self.sample(concept, context, k);
        let sampled: Vec<(f64, f64)> =
            known().filter_map(|k| Some((k.value(), sampled_at(k).and_then(Sampled::delta)?))).collect();
        let perplexities: Vec<Option<f64>> = known().map(|k| sampled_at(k).and_then(Sampled::perplexity)).collect();
        let bias = exact.first().filter(|(k, _)| *k == 0.0).map(|(_, delta)| *delta);
        let parity = parity_point(&exact).map(|k| self.whole(k));
        let above = parity.and_then(|k| Strength::above(k, known()));
        let above = above.and_then(sampled_at).and_then(Sampled::perplexity);
        Finding {
            context,
            concept,
            bias,
            opposes: bias.is_some_and(|bias| if concept == 0 { bias < 0.0 } else { bias > 0.0 }),
            parity,
            sampled_parity: parity_point(&sampled).map(|k| self.whole(k)),
            perplexity: perplexities.first().copied().flatten(),
            perplexity_at_parity: if self.is_searched || !self.is_graded {
                above
            } else {
                at_parity(&exact, &perplexities)
            },
        }
    }

    /// Contexts under the concept that pushes against their bias; of one concept, or of both.
    pub(super) fn overall(&self, concept: Option<usize>) -> Overall {
        let own: Vec<&Finding> = self
            .each
            .iter()
            .filter(|one| one.opposes && concept.is_none_or(|concept| one.concept == concept))
            .collect();
        let share = |reached: fn(&Finding) -> bool| {
            let each: Vec<f64> = own.iter().map(|one| f64::from(u8::from(reached(one)))).collect();
            interval(&each, self.seed, mean)
        };
        let numbers = |of: fn(&Finding) -> Option<f64>| -> Vec<f64> { own.iter().filter_map(|one| of(one)).collect() };
        let ks = numbers(|one| one.parity);
        let median = |of: fn(&Finding) -> Option<f64>| quantile(&numbers(of), 0.5);
        let pairs: Vec<(f64, f64)> = own.iter().filter_map(|one| Some((one.bias?.abs(), one.parity?))).collect();
        Overall {
            concept,
            contexts: own.len(),
            reached: share(|one| one.parity.is_some()),
            sampled_reached: if self.sampled.is_empty() { None } else { share(|one| one.sampled_parity.is_some()) },
            k: [0.1, 0.5, 0.9].map(|q| quantile(&ks, q)),
            perplexity: median(|one| one.parity.and(one.perplexity)),
            perplexity_at_parity: median(|one| one.perplexity_at_parity),
            pearson: pearson(&pairs),
            spearman: spearman(&pairs),
        }
    }

    /// Differences of all contexts under a concept at k: exact, and sampled.
    pub(super) fn deltas(&self, concept: usize, k: Strength) -> (Vec<f64>, Vec<f64>) {
        let exact = &self.exact[concept];
        let exact = exact.iter().filter_map(|by_k| by_k.get(&k).copied().flatten()).map(|(a, b)| a - b).collect();
        let contexts = 0..self.exact[concept].len();
        let sampled = contexts.filter_map(|context| self.sample(concept, context, k));
        let of = |one: &Sampled| (f64::from(one.first) - f64::from(one.second)) / f64::from(one.samples);
        (exact, sampled.map(of).collect())
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }
}
