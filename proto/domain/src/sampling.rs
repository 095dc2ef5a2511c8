//! How tokens are drawn.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Alternatives a token can have at most.
pub const MOST_LOGPROBS: u32 = 20;
/// Stop texts a request can have at most.
pub const MOST_STOPS: usize = 16;
/// Tokens whose logits a request can move at most.
pub const MOST_BIASES: usize = 1024;
/// By how much a logit can be moved at most.
const STRONGEST_BIAS: f32 = 100.0;
/// Presence and frequency penalty at most.
const STRONGEST_PENALTY: f32 = 2.0;
/// Bytes of a stop text at most.
const LONGEST_STOP: usize = 1024;

/// Sampling settings of one request; the same settings and seed give the same text again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Softmax temperature; 0 takes the most probable token.
    pub temperature: f32,
    /// Keep the smallest set of tokens whose probability reaches this; 1 keeps all.
    pub top_p: f32,
    /// Keep this many most probable tokens; 0 keeps all.
    pub top_k: u32,
    /// Divides the positive logits of tokens already seen (and multiplies the negative ones); 1 changes nothing.
    pub repetition_penalty: f32,
    /// What is taken from the logits of tokens that were generated before, whatever their number; 0 changes nothing.
    pub presence_penalty: f32,
    /// What is taken from a token's logit for each time that it was generated before; 0 changes nothing.
    pub frequency_penalty: f32,
    /// What is added to the logits of these tokens.
    pub logit_bias: BTreeMap<u32, f32>,
    /// Seeds the draw; sample number i of a request draws from a stream of its own.
    pub seed: u64,
    /// How many tokens at most are generated.
    pub max_new_tokens: u32,
    /// Where one of these would begin, the text ends; tokens need not begin or end where it does.
    pub stop: Vec<String>,
    /// Asks for every token's log probability, and for this many most probable tokens with theirs; see
    /// [`Logprobs`](crate::generation::Logprobs).
    pub logprobs: Option<u32>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            logit_bias: BTreeMap::new(),
            seed: 0,
            max_new_tokens: 40,
            stop: Vec::new(),
            logprobs: None,
        }
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
        let longest_stop = self.stop.iter().map(String::len).max().unwrap_or(0);
        let has_empty_stop = self.stop.iter().any(String::is_empty);
        let logprobs = self.logprobs.unwrap_or(0);
        let penalty = |value: f32| value.abs() <= STRONGEST_PENALTY;
        let bias = self.logit_bias.values().copied().find(|bias| bias.is_nan() || bias.abs() > STRONGEST_BIAS);
        let checks = [
            ("temperature", self.temperature, "0 or more", self.temperature >= 0.0 && self.temperature.is_finite()),
            ("top-p", self.top_p, "above 0 and at most 1", self.top_p > 0.0 && self.top_p <= 1.0),
            (
                "repetition-penalty",
                self.repetition_penalty,
                "above 0",
                self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite(),
            ),
            ("presence-penalty", self.presence_penalty, "-2 to 2", penalty(self.presence_penalty)),
            ("frequency-penalty", self.frequency_penalty, "-2 to 2", penalty(self.frequency_penalty)),
            ("logit-bias", bias.unwrap_or(0.0), "-100 to 100", bias.is_none()),
            (
                "number of logit-biases",
                self.logit_bias.len() as f32,
                "at most 1024",
                self.logit_bias.len() <= MOST_BIASES,
            ),
            ("max-new-tokens", self.max_new_tokens as f32, "at least 1", self.max_new_tokens > 0),
            ("number of stop texts", self.stop.len() as f32, "at most 16", self.stop.len() <= MOST_STOPS),
            ("length of a stop text", 0.0, "1 to 1024 bytes", !has_empty_stop),
            ("length of a stop text", longest_stop as f32, "1 to 1024 bytes", longest_stop <= LONGEST_STOP),
            ("logprobs", logprobs as f32, "at most 20", logprobs <= MOST_LOGPROBS),
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
            Sampling { stop: vec!["x".to_owned(); 17], ..Sampling::default() },
            Sampling { stop: vec![String::new()], ..Sampling::default() },
            Sampling { stop: vec!["x".repeat(1025)], ..Sampling::default() },
            Sampling { logprobs: Some(21), ..Sampling::default() },
            Sampling { presence_penalty: 2.1, ..Sampling::default() },
            Sampling { frequency_penalty: f32::NAN, ..Sampling::default() },
            Sampling { logit_bias: [(1, 1.0), (7, f32::NAN)].into(), ..Sampling::default() },
            Sampling { logit_bias: [(7, -100.5)].into(), ..Sampling::default() },
            Sampling { logit_bias: (0..1025).map(|token| (token, 1.0)).collect(), ..Sampling::default() },
        ];
        let names = bad.map(|sampling| sampling.check().unwrap_err().name);
        let stops = ["number of stop texts", "length of a stop text", "length of a stop text"];
        assert_eq!(names[..5], ["temperature", "temperature", "top-p", "repetition-penalty", "max-new-tokens"]);
        assert_eq!((&names[5..8], names[8]), (&stops[..], "logprobs"));
        assert_eq!(names[9..11], ["presence-penalty", "frequency-penalty"]);
        assert_eq!(names[11..], ["logit-bias", "logit-bias", "number of logit-biases"]);
    }
}
