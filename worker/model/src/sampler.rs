//! Drawing a token from logits, as one sequence's settings say.

use candle_core::{Device, Result, Tensor};
use candle_transformers::{
    generation::{LogitsProcessor, Sampling as Draw},
    utils::apply_repeat_penalty,
};
use lode_domain::sampling::Sampling;

/// Below this temperature the most probable token is taken: dividing by it would overflow.
const COLD: f32 = 1e-7;

/// The settings and the random stream of one sequence.
pub(crate) struct Sampler {
    processor: LogitsProcessor,
    repetition_penalty: f32,
}

impl Sampler {
    /// For sample number `sample` of a request with these settings.
    pub fn new(sampling: &Sampling, sample: u32) -> Self {
        let temperature = f64::from(sampling.temperature);
        let (k, p) = (sampling.top_k as usize, f64::from(sampling.top_p));
        let draw = match (k, p) {
            _ if sampling.temperature < COLD => Draw::ArgMax,
            (0, 1.0) => Draw::All { temperature },
            (0, p) => Draw::TopP { p, temperature },
            (k, 1.0) => Draw::TopK { k, temperature },
            (k, p) => Draw::TopKThenTopP { k, p, temperature },
        };
        let processor = LogitsProcessor::from_sampling(mix(sampling.seed, sample), draw);
        Self { processor, repetition_penalty: sampling.repetition_penalty }
    }

    /// A token, given its logits `[token]` and the tokens before it; `None` if the logits are not finite.
    pub fn draw(&mut self, logits: &[f32], before: &[u32]) -> Result<Option<u32>> {
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Ok(None);
        }
        let mut logits = Tensor::new(logits, &Device::Cpu)?;
        if self.repetition_penalty != 1.0 {
            logits = apply_repeat_penalty(&logits, self.repetition_penalty, before)?;
        }
        self.processor.sample(&logits).map(Some)
    }
}

/// A seed for each sample of a request, far from its neighbours' (the finaliser of SplitMix64).
fn mix(seed: u64, sample: u32) -> u64 {
    let mut z = seed.wrapping_add(u64::from(sample).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(sampling: &Sampling, sample: u32) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling, sample);
        (0..40).map(|_| sampler.draw(&[1.0, 1.1, 0.9, -2.0, 1.05], &[1]).unwrap().unwrap()).collect()
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
    }

    #[test]
    fn logits_that_are_no_numbers_give_no_token() {
        let mut sampler = Sampler::new(&Sampling::default(), 0);
        assert_eq!(sampler.draw(&[0.0, f32::NAN], &[]).unwrap(), None);
        assert_eq!(sampler.draw(&[0.0, f32::INFINITY], &[]).unwrap(), None);
    }
}
