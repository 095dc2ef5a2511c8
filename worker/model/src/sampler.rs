//! Drawing a token from logits, as one sequence's settings say.

use std::{cmp::Ordering, collections::BTreeMap};

use lode_domain::sampling::Sampling;

use crate::{
    kernels::math::{exp, sum, vectorised},
    logprobs::largest,
};

/// Below this temperature the most probable token is taken: dividing by it would overflow.
const COLD: f32 = 1e-7;
/// Weights that are summed up together.
const BLOCK: usize = 256;
/// So few weights are sorted.
const FEW: usize = 32;
/// Up to so many of the largest logits are kept in order while they are looked for; more are sorted out afterwards.
const ORDERED: usize = 64;

/// The settings and the random stream of one sequence.
pub(crate) struct Sampler {
    temperature: f32,
    top_k: usize,
    top_p: f64,
    penalties: Penalties,
    random: u64,
}

/// What moves logits before they are weighed.
struct Penalties {
    repetition: f32,
    presence: f32,
    frequency: f32,
    bias: BTreeMap<u32, f32>,
}

/// The tokens before the one that is drawn.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before<'a> {
    pub prompt: &'a [u32],
    pub generated: &'a [u32],
}

/// A token that may be drawn, and its share.
type Weight = (f32, u32);

impl Sampler {
    /// For sample number `sample` of a request with these settings.
    pub fn new(sampling: &Sampling, sample: u32) -> Self {
        Self {
            temperature: sampling.temperature,
            top_k: sampling.top_k as usize,
            top_p: sampling.top_p.into(),
            penalties: Penalties {
                repetition: sampling.repetition_penalty,
                presence: sampling.presence_penalty,
                frequency: sampling.frequency_penalty,
                bias: sampling.logit_bias.clone(),
            },
            // A stream for each sample of a request, far from its neighbours'.
            random: finalise(sampling.seed.wrapping_add(u64::from(sample).wrapping_add(1).wrapping_mul(GOLDEN))),
        }
    }

    /// A token, given its logits `[token]` and the tokens before it; `None` if the logits are not finite.
    ///
    /// First logits are moved: those of tokens before are divided by the repetition penalty if they are positive, and else multiplied
    /// by it (Keskar et al. 2019); of those that were generated, presence penalty + count * frequency penalty is taken; biases are added.
    /// Tokens are weighed by e^(logit / temperature). Of all, the `top_k` largest are kept; of those the smallest set that has the share
    /// `top_p` of their weight. Of equal ones the lower id is kept. What is drawn depends on logits, settings and the number of
    /// draws before alone.
    pub fn draw(&mut self, logits: &[f32], before: Before<'_>) -> Option<u32> {
        if !vectorised(
            #[inline(always)]
            || logits.iter().fold(true, |finite, logit| finite & logit.is_finite()),
        ) {
            return None;
        }
        match self.penalties.moved(logits, before) {
            Some(moved) => self.choose(&moved),
            None => self.choose(logits),
        }
    }

    fn choose(&mut self, logits: &[f32]) -> Option<u32> {
        if self.temperature < COLD {
            return largest(logits, 1).first().copied();
        }
        let scale = 1.0 / self.temperature;
        let most = vectorised(
            #[inline(always)]
            || logits.iter().copied().fold(f32::NEG_INFINITY, f32::max),
        );
        let weigh = |logit: f32| weigh(logit, most, scale);
        if self.top_k == 0 || self.top_k >= logits.len() {
            if self.top_p >= 1.0 {
                let weights: Vec<f32> = vectorised(
                    #[inline(always)]
                    || logits.iter().map(|&logit| weigh(logit)).collect(),
                );
                return self.pick(&weights).map(|place| place as u32);
            }
            let weights = vectorised(
                #[inline(always)]
                || logits.iter().zip(0..).map(|(&logit, token)| (weigh(logit), token)).collect(),
            );
            return self.pick_among(weights);
        }
        let kept = most_probable(logits, self.top_k);
        self.pick_among(kept.into_iter().map(|token| (weigh(logits[token as usize]), token)).collect())
    }

    /// One of `weights`, after the cut at `top_p`.
    fn pick_among(&mut self, mut weights: Vec<Weight>) -> Option<u32> {
        if self.top_p < 1.0 {
            cut(&mut weights, self.top_p);
        }
        // In the tokens' order, whatever was done to find them.
        weights.sort_unstable_by_key(|(_, token)| *token);
        let shares: Vec<f32> = weights.iter().map(|(weight, _)| *weight).collect();
        self.pick(&shares).map(|place| weights[place].1)
    }

    /// A place of `weights`, each as probable as its share; `None` if there are none.
    fn pick(&mut self, weights: &[f32]) -> Option<usize> {
        let blocks: Vec<f64> = vectorised(
            #[inline(always)]
            || weights.chunks(BLOCK).map(|block| f64::from(sum(block.len(), |i| block[i]))).collect(),
        );
        let mut left = self.uniform() * blocks.iter().sum::<f64>();
        let mut block = 0;
        while block + 1 < blocks.len() && left >= blocks[block] {
            left -= blocks[block];
            block += 1;
        }
        let start = block * BLOCK;
        let mut last = None;
        for (place, &weight) in weights.iter().enumerate().skip(start).take(BLOCK).filter(|(_, weight)| **weight > 0.0)
        {
            last = Some(place);
            left -= f64::from(weight);
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// The next number of the stream, from 0 to below 1: SplitMix64 (Steele, Lea and Flood 2014), its upper 53 bits.
    fn uniform(&mut self) -> f64 {
        self.random = self.random.wrapping_add(GOLDEN);
        (finalise(self.random) >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Penalties {
    /// The logits as these settings have them; `None` if they change nothing.
    fn moved(&self, logits: &[f32], before: Before<'_>) -> Option<Vec<f32>> {
        let (repeats, counts) = (self.repetition != 1.0, self.presence != 0.0 || self.frequency != 0.0);
        if !repeats && !counts && self.bias.is_empty() {
            return None;
        }
        let mut moved = logits.to_vec();
        if repeats {
            for (token, _) in counted(before.prompt.iter().chain(before.generated)) {
                if let Some(logit) = moved.get_mut(token as usize) {
                    *logit = if *logit >= 0.0 { *logit / self.repetition } else { *logit * self.repetition };
                }
            }
        }
        if counts {
            for (token, count) in counted(before.generated.iter()) {
                if let Some(logit) = moved.get_mut(token as usize) {
                    *logit -= self.presence + count as f32 * self.frequency;
                }
            }
        }
        for (&token, bias) in &self.bias {
            if let Some(logit) = moved.get_mut(token as usize) {
                *logit += bias;
            }
        }
        Some(moved)
    }
}

/// Every token once, with how often it comes.
fn counted<'a>(tokens: impl Iterator<Item = &'a u32>) -> BTreeMap<u32, u32> {
    let mut counts = BTreeMap::new();
    for &token in tokens {
        *counts.entry(token).or_default() += 1;
    }
    counts
}

/// e^((logit - most) * scale).
#[inline(always)]
fn weigh(logit: f32, most: f32, scale: f32) -> f32 {
    exp((logit - most) * scale)
}

/// What SplitMix64 counts by.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of SplitMix64.
fn finalise(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The `count` tokens with the largest logits, in any order; of equal ones those with lower ids.
fn most_probable(logits: &[f32], count: usize) -> Vec<u32> {
    if count <= ORDERED {
        return largest(logits, count);
    }
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    let order = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    tokens.select_nth_unstable_by(count - 1, order);
    tokens.truncate(count);
    tokens
}

/// Keeps the smallest set of weights, largest first, that has the share `share` of their sum.
///
/// It halves the part in which the set must end until few are left: no sort of all.
fn cut(weights: &mut Vec<Weight>, share: f64) {
    let by_weight = |a: &Weight, b: &Weight| -> Ordering { b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)) };
    let total = |weights: &[Weight]| weights.iter().map(|(weight, _)| f64::from(*weight)).sum::<f64>();
    let mut missing = share * total(weights);
    let (mut first, mut end) = (0, weights.len());
    while end - first > FEW {
        let middle = (end - first) / 2;
        weights[first..end].select_nth_unstable_by(middle, by_weight);
        let upper = total(&weights[first..=first + middle]);
        if upper >= missing {
            end = first + middle + 1;
        } else {
            missing -= upper;
            first += middle + 1;
        }
    }
    weights[first..end].sort_unstable_by(by_weight);
    while first < end && missing > 0.0 {
        missing -= f64::from(weights[first].0);
        first += 1;
    }
    weights.truncate(first.max(1));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draws(sampling: &Sampling, sample: u32) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling, sample);
        let before = Before { prompt: &[1], generated: &[] };
        (0..40).map(|_| sampler.draw(&[1.0, 1.1, 0.9, -2.0, 1.05], before).unwrap()).collect()
    }

    #[test]
    fn settings_do_what_they_say() {
        let plain = Sampling::default();
        assert_eq!(draws(&plain, 0), draws(&plain, 0), "a seed gives the same again");
        assert_ne!(draws(&plain, 0), draws(&plain, 1), "samples differ");
        assert_ne!(draws(&plain, 0), draws(&Sampling { seed: 1, ..plain.clone() }, 0));
        assert!(draws(&Sampling { temperature: 0.0, ..plain.clone() }, 0).iter().all(|&token| token == 1));
        let penalised = Sampling { temperature: 0.0, repetition_penalty: 2.0, ..plain.clone() };
        assert!(draws(&penalised, 0).iter().all(|&token| token == 4), "1 was seen");
        assert!(draws(&Sampling { top_k: 2, ..plain.clone() }, 0).iter().all(|token| [1, 4].contains(token)));
        assert!(draws(&Sampling { top_p: 0.1, ..plain.clone() }, 0).iter().all(|&token| token == 1));
        let both = Sampling { top_k: 3, top_p: 0.05, ..plain.clone() };
        assert!(draws(&both, 0).iter().all(|&token| token == 1));
        // Of the three that are left, the first two have two thirds.
        let both = Sampling { top_k: 3, top_p: 0.6, ..plain };
        assert!(draws(&both, 0).iter().all(|token| [1, 4].contains(token)));
    }

    /// Sums that f32 holds exactly, written out by hand.
    #[test]
    fn logits_are_moved_as_documented() {
        let logits = [1.0, 2.0, -3.0, 4.0];
        let before = Before { prompt: &[1, 1, 2], generated: &[3, 0, 3] };
        let moved = |sampling: Sampling| Sampler::new(&sampling, 0).penalties.moved(&logits, before);
        let plain = Sampling::default;
        assert_eq!(moved(plain()), None);
        let all_seen = moved(Sampling { repetition_penalty: 2.0, ..plain() });
        assert_eq!(all_seen, Some(vec![0.5, 1.0, -6.0, 2.0]), "the prompt's tokens, too");
        let presence = moved(Sampling { presence_penalty: 0.5, ..plain() });
        assert_eq!(presence, Some(vec![0.5, 2.0, -3.0, 3.5]), "generated ones, once each");
        let frequency = moved(Sampling { frequency_penalty: -0.5, ..plain() });
        assert_eq!(frequency, Some(vec![1.5, 2.0, -3.0, 5.0]), "for each time");
        let bias = moved(Sampling { logit_bias: [(1, -100.0), (2, 8.0)].into(), ..plain() });
        assert_eq!(bias, Some(vec![1.0, -98.0, 5.0, 4.0]));
        let all = Sampling {
            repetition_penalty: 2.0,
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            logit_bias: [(0, 1.0)].into(),
            ..plain()
        };
        assert_eq!(moved(all), Some(vec![0.75, 1.0, -6.0, 1.0]), "in this order: repetition, counts, bias");
    }

    #[test]
    fn logits_that_are_no_numbers_give_no_token() {
        let mut sampler = Sampler::new(&Sampling::default(), 0);
        assert_eq!(sampler.draw(&[0.0, f32::NAN], Before::default()), None);
        assert_eq!(sampler.draw(&[0.0, f32::INFINITY], Before::default()), None);
    }

    /// Within five standard deviations of the multinomial distribution, at more tokens than a block has.
    #[test]
    fn tokens_come_as_often_as_they_are_probable() {
        let logits: Vec<f32> = (0..600).map(|token| (token % 7) as f32 / 3.0 - (token / 300) as f32).collect();
        for temperature in [0.5f32, 1.0, 2.0] {
            let mut sampler = Sampler::new(&Sampling { temperature, seed: 3, ..Sampling::default() }, 0);
            let mut counts = vec![0u32; logits.len()];
            const DRAWS: u32 = 100_000;
            for _ in 0..DRAWS {
                counts[sampler.draw(&logits, Before::default()).unwrap() as usize] += 1;
            }
            let weights: Vec<f64> = logits.iter().map(|&logit| f64::from(logit / temperature).exp()).collect();
            let total: f64 = weights.iter().sum();
            for (token, (count, weight)) in counts.iter().zip(&weights).enumerate() {
                let expected = f64::from(DRAWS) * weight / total;
                assert!(
                    (f64::from(*count) - expected).abs() < 5.0 * expected.sqrt() + 1.0,
                    "{token}: {count} of {expected}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn the_cut_is_that_of_a_sort(
            weights in prop::collection::vec((0u8..40).prop_map(|weight| f32::from(weight) / 8.0), 1..300),
            share in 0.01f64..0.99,
        ) {
            let numbered = || weights.iter().copied().zip(0u32..).collect::<Vec<Weight>>();
            let mut sorted = numbered();
            sorted.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
            let mut so_far = 0.0;
            let mut expected = Vec::new();
            for (weight, token) in sorted {
                if so_far >= share * total && !expected.is_empty() {
                    break;
                }
                so_far += f64::from(weight);
                expected.push(token);
            }
            let mut found = numbered();
            cut(&mut found, share);
            let mut found: Vec<u32> = found.into_iter().map(|(_, token)| token).collect();
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn the_most_probable_are_those_of_a_sort(
            logits in prop::collection::vec((0u8..30).prop_map(f32::from), 100..300),
            count in 1usize..100,
        ) {
            let mut all: Vec<u32> = (0..logits.len() as u32).collect();
            all.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
            all.truncate(count);
            let mut found = most_probable(&logits, count);
            found.sort_unstable();
            all.sort_unstable();
            prop_assert_eq!(found, all);
        }
    }
}
