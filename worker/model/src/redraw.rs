//! Weights drawn anew, as before training: for a control of the same shape.
//!
//! As Hugging Face initialises these families: matrices and tables normal with the config's `initializer_range`, GPT-2's output
//! projections narrower by the square root of twice the number of blocks, biases 0, norms 1.
//!
//! A tensor's numbers follow from seed and name, as BLAKE3 spreads them, and are the same bits on every machine: a normal number is
//! the sum of six even ones (Irwin and Hall), integers all, and no function of the system's library is asked.

use lode_domain::control::Control;

use crate::{config::Config, error::Result};

/// The normal distribution's width where a config is silent, as in Hugging Face's.
const DEVIATION: f64 = 0.02;
/// Even numbers of 16 bits that make a normal one.
const SUMMANDS: usize = 6;

/// See the module.
pub(crate) struct Redraw {
    seed: u64,
    deviation: f64,
    /// What GPT-2's output projections are narrower by.
    narrower: f64,
}

impl Redraw {
    pub fn new(control: Control, config: &Config) -> Result<Self> {
        let Control::RandomInit { seed } = control;
        let deviation = config.number_or("initializer_range", DEVIATION)?;
        let narrower = match config.get("n_layer") {
            Some(_) => (2.0 * config.size("n_layer")? as f64).sqrt(),
            None => 1.0,
        };
        Ok(Self { seed, deviation, narrower })
    }

    /// The seed of the draw.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The tensor `name` of `shape`, row-major.
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Vec<f32> {
        let elements = shape.iter().product();
        if name.ends_with("bias") {
            return vec![0.0; elements];
        }
        if shape.len() < 2 {
            return vec![1.0; elements];
        }
        let narrower = if name.ends_with("c_proj.weight") { self.narrower } else { 1.0 };
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"random-init").update(&self.seed.to_le_bytes()).update(name.as_bytes());
        let mut stream = hasher.finalize_xof();
        // The summands' mean is half their largest, and their variance that of 65,536 even steps.
        let middle = SUMMANDS as f64 * f64::from(u16::MAX) / 2.0;
        let variance = SUMMANDS as f64 * (f64::from(u16::MAX) + 1.0).powi(2) / 12.0;
        let scale = self.deviation / narrower / variance.sqrt();
        let mut bytes = [0; 2 * SUMMANDS];
        let mut draw = || {
            stream.fill(&mut bytes);
            let (summands, _) = bytes.as_chunks::<2>();
            let sum: u32 = summands.iter().map(|two| u32::from(u16::from_le_bytes(*two))).sum();
            ((f64::from(sum) - middle) * scale) as f32
        };
        (0..elements).map(|_| draw()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redraw(seed: u64) -> Redraw {
        Redraw { seed, deviation: 0.02, narrower: 2.0 }
    }

    /// Mean and deviation of many numbers.
    fn moments(values: &[f32]) -> (f64, f64) {
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / values.len() as f64;
        let squares = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>();
        (mean, (squares / values.len() as f64).sqrt())
    }

    #[test]
    fn tensors_are_as_before_training() {
        let (mean, deviation) = moments(&redraw(1).tensor("h.0.mlp.c_fc.weight", &[300, 400]));
        assert!(mean.abs() < 3e-4 && (deviation - 0.02).abs() < 2e-4, "{mean} {deviation}");
        let (_, narrow) = moments(&redraw(1).tensor("h.0.mlp.c_proj.weight", &[300, 400]));
        assert!((narrow - 0.01).abs() < 1e-4, "{narrow}");
        assert_eq!(redraw(1).tensor("h.0.ln_1.weight", &[3]), [1.0; 3]);
        assert_eq!(redraw(1).tensor("h.0.ln_1.bias", &[3]), [0.0; 3]);
    }

    #[test]
    fn seed_and_name_decide_and_nothing_else() {
        let first = redraw(1).tensor("a.weight", &[8, 4]);
        assert_eq!(first, redraw(1).tensor("a.weight", &[8, 4]));
        assert_eq!(first[..4], redraw(1).tensor("a.weight", &[2, 2])[..]);
        assert_ne!(first, redraw(2).tensor("a.weight", &[8, 4]));
        assert_ne!(first, redraw(1).tensor("b.weight", &[8, 4]));
    }
}
