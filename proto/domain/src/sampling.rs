//! How tokens are drawn.

use serde::{Deserialize, Serialize};

/// Sampling settings of one request; the same settings and seed give the same text again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Softmax temperature; 0 takes the most probable token.
    pub temperature: f32,
    /// Keep the smallest set of tokens whose probability reaches this; 1 keeps all.
    pub top_p: f32,
    /// Keep this many most probable tokens; 0 keeps all.
    pub top_k: u32,
    /// Divides the positive logits of tokens already seen (and multiplies the negative ones); 1 changes nothing.
    pub repetition_penalty: f32,
    /// Seeds the draw; sample number i of a request draws from a stream of its own.
    pub seed: u64,
    /// How many tokens at most are generated.
    pub max_new_tokens: u32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_p: 1.0, top_k: 0, repetition_penalty: 1.0, seed: 0, max_new_tokens: 40 }
    }
}

/// A setting out of its range.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{name} is {value}: it must be {range}")]
pub struct BadSampling {
    /// The setting.
    pub name: &'static str,
    /// As given.
    pub value: f64,
    /// What it may be.
    pub range: &'static str,
}

impl Sampling {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// Names the first setting that is out of range.
    pub fn check(&self) -> Result<(), BadSampling> {
        let checks = [
            ("temperature", self.temperature, "0 or more", self.temperature >= 0.0 && self.temperature.is_finite()),
            ("top-p", self.top_p, "above 0 and at most 1", self.top_p > 0.0 && self.top_p <= 1.0),
            (
                "repetition-penalty",
                self.repetition_penalty,
                "above 0",
                self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite(),
            ),
            ("max-new-tokens", self.max_new_tokens as f32, "at least 1", self.max_new_tokens > 0),
        ];
        match checks.into_iter().find(|(.., ok)| !ok) {
            Some((name, value, range, _)) => Err(BadSampling { name, value: value.into(), range }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        assert_eq!(Sampling::default().check(), Ok(()));
        let bad = [
            Sampling { temperature: -1.0, ..Sampling::default() },
            Sampling { temperature: f32::NAN, ..Sampling::default() },
            Sampling { top_p: 0.0, ..Sampling::default() },
            Sampling { repetition_penalty: 0.0, ..Sampling::default() },
            Sampling { max_new_tokens: 0, ..Sampling::default() },
        ];
        let names = bad.map(|sampling| sampling.check().unwrap_err().name);
        assert_eq!(names, ["temperature", "temperature", "top-p", "repetition-penalty", "max-new-tokens"]);
    }
}
