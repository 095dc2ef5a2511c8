//! How tokens are drawn, as both endpoints ask for it, and what OpenAI can and Lode cannot.

use std::collections::BTreeMap;

use lode_domain::sampling::Sampling;
use serde::Deserialize;
use serde_json::Value;

use super::error::ApiError;

/// Choices of a request at most: of all its prompts together.
const MOST_CHOICES: u32 = 128;
/// Stop sequences of a request at most.
const MOST_STOPS: usize = 4;

/// Fields of both endpoints. What is not named here is ignored, as OpenAI ignores it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Decoding {
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u32>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    seed: Option<i64>,
    stop: Option<Value>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    logit_bias: Option<BTreeMap<String, f32>>,
    /// Lode's own.
    top_k: Option<u32>,
    /// Lode's own.
    repetition_penalty: Option<f32>,
    pub(super) condition: Option<Value>,
    /// Lode's own.
    pub(super) observe: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: Option<bool>,
}

impl Decoding {
    /// Whether the reply comes piece by piece.
    pub(super) fn streams(&self) -> bool {
        self.stream.unwrap_or(false)
    }

    /// Whether a stream's last piece counts tokens.
    ///
    /// # Errors
    /// If it is asked of a reply that is no stream.
    pub(super) fn counts_usage(&self) -> Result<bool, ApiError> {
        match &self.stream_options {
            Some(_) if !self.streams() => {
                Err(ApiError::field("stream_options", "`stream_options` is only for requests with `\"stream\": true`"))
            }
            options => Ok(options.as_ref().and_then(|options| options.include_usage).unwrap_or(false)),
        }
    }

    /// How many choices there are a prompt, of `prompts`.
    ///
    /// # Errors
    /// If there are none or too many.
    pub(super) fn choices(&self, prompts: u32) -> Result<u32, ApiError> {
        let n = self.n.unwrap_or(1);
        if n == 0 || n.saturating_mul(prompts) > MOST_CHOICES {
            let message = format!("`n` is {n} for {prompts} prompts: there may be 1 to {MOST_CHOICES} choices in all");
            return Err(ApiError::field("n", message));
        }
        Ok(n)
    }

    /// The settings, with `most` tokens a choice, and so many log probabilities a token.
    ///
    /// # Errors
    /// If one is out of its range, or is of those that Lode does not have.
    pub(super) fn sampling(&self, most: u32, logprobs: Option<u32>) -> Result<Sampling, ApiError> {
        let own = Sampling::default();
        let sampling = Sampling {
            temperature: self.temperature.unwrap_or(1.0),
            top_p: self.top_p.unwrap_or(1.0),
            top_k: self.top_k.unwrap_or(own.top_k),
            repetition_penalty: self.repetition_penalty.unwrap_or(own.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(own.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(own.frequency_penalty),
            logit_bias: self.biases()?,
            // Without a seed every request draws anew.
            seed: self.seed.map_or_else(rand::random, |seed| seed as u64),
            max_new_tokens: most,
            stop: self.stops()?,
            logprobs,
        };
        let field = |name: &str| match name {
            "max-new-tokens" => "max_tokens".to_owned(),
            name if name.contains("stop text") => "stop".to_owned(),
            name if name.contains("logit-bias") => "logit_bias".to_owned(),
            name => name.replace('-', "_"),
        };
        sampling.check().map_err(|bad| ApiError::field(field(bad.name), bad))?;
        Ok(sampling)
    }

    /// What is added to logits.
    ///
    /// # Errors
    /// If a key is no token id.
    fn biases(&self) -> Result<BTreeMap<u32, f32>, ApiError> {
        let bias = |(token, bias): (&String, &f32)| match token.parse() {
            Ok(token) => Ok((token, *bias)),
            Err(_) => Err(ApiError::field(
                "logit_bias",
                format!("`logit_bias` has the key `{token}`: keys are token ids, as `{{\"50256\": -100}}`"),
            )),
        };
        self.logit_bias.iter().flatten().map(bias).collect()
    }

    /// The texts that end a choice.
    ///
    /// # Errors
    /// If they are none, too many, or empty.
    fn stops(&self) -> Result<Vec<String>, ApiError> {
        let bad = || {
            ApiError::field(
                "stop",
                format!("`stop` is a text or a list of 1 to {MOST_STOPS} texts, none of them empty"),
            )
        };
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(bad);
        match &self.stop {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(many)) if (1..=MOST_STOPS).contains(&many.len()) => many.iter().map(text).collect(),
            Some(Value::Array(_)) => Err(bad()),
            Some(one) => Ok(vec![text(one)?]),
        }
    }
}
