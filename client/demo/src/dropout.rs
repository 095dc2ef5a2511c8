//! Dropout of whole units: what a unit says is missing at every position of a text.

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::Result;

/// Sets units of a text to zero at all its positions. The others have to carry what it knows, and the model has to
/// bear a unit that is constant over a text, which is what forcing makes of it.
pub(crate) struct ChannelDropout {
    share: f64,
    rng: ChaCha8Rng,
}

impl ChannelDropout {
    /// Leaves out `share` of the units, drawn anew for every text and every call.
    pub(crate) fn new(share: f64, seed: u64) -> Self {
        Self { share, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Leaves out nothing.
    pub(crate) fn none() -> Self {
        Self::new(0.0, 0)
    }

    /// `[text * position, unit]`, of which the kept ones are scaled so that sums keep their size.
    pub(crate) fn apply(&mut self, x: Tensor, texts: usize) -> Result<Tensor> {
        if self.share == 0.0 {
            return Ok(x);
        }
        let (rows, units) = x.dims2()?;
        let kept = (1.0 / (1.0 - self.share)) as f32;
        let mask: Vec<f32> =
            (0..texts * units).map(|_| if self.rng.random_bool(self.share) { 0.0 } else { kept }).collect();
        let mask = Tensor::from_vec(mask, (texts, 1, units), &Device::Cpu)?;
        Ok(x.reshape((texts, rows / texts, units))?.broadcast_mul(&mask)?.reshape((rows, units))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_left_out_of_a_whole_text_and_sums_keep_their_size() {
        let (texts, positions, units) = (50, 3, 40);
        let ones = Tensor::ones((texts * positions, units), candle_core::DType::F32, &Device::Cpu).unwrap();
        let x = ChannelDropout::new(0.25, 1).apply(ones, texts).unwrap();
        let x = x.reshape((texts, positions, units)).unwrap().to_vec3::<f32>().unwrap();
        let mut sum = 0.0;
        for text in &x {
            assert!(text.iter().all(|position| *position == text[0]));
            sum += text[0].iter().sum::<f32>();
        }
        // 2,000 draws: five standard errors are 0.065
        let mean = sum / (texts * units) as f32;
        assert!((mean - 1.0).abs() < 0.065, "{mean}");
    }
}
