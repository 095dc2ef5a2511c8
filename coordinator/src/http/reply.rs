//! What both endpoints say of a choice, whole or piece by piece.

use std::time::SystemTime;

use lode_domain::{
    generation::{FinishReason, Finished, GenerateEvent, Logprobs},
    id::ModelHash,
};
use lode_proto::trace::RequestId;
use serde_json::{Value, json};

use super::{error::ApiError, generation::Choices, logprobs, models::seconds, observing::strengths};

/// Which of the two endpoints a reply is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `/v1/completions`.
    Completion,
    /// `/v1/chat/completions`.
    Chat,
}

/// What all pieces of a reply have in common.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    endpoint: Endpoint,
    id: String,
    created: u64,
    /// As it was asked for.
    model: String,
    fingerprint: String,
    /// Choices.
    pub(super) choices: u32,
    /// Of these, how many a prompt.
    pub(super) samples: u32,
    /// Characters of each prompt, where offsets count from there.
    pub(super) starts: Vec<usize>,
    /// Concepts that are observed.
    pub(super) observed: Vec<String>,
}

/// Tokens of a request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    prompt: u64,
    generated: u64,
}

/// A choice as far as it has come.
#[derive(Clone, Debug, Default)]
struct Choice {
    text: String,
    logprobs: Vec<Logprobs>,
    /// A token each.
    observed: Vec<Value>,
    finished: Option<Finished>,
}

impl Reply {
    /// Of one choice; the caller says what else it is.
    pub(super) fn new(endpoint: Endpoint, model: String, hash: ModelHash) -> Self {
        let request = RequestId::current().unwrap_or_else(RequestId::random);
        let prefix = match endpoint {
            Endpoint::Completion => "cmpl",
            Endpoint::Chat => "chatcmpl",
        };
        Self {
            endpoint,
            id: format!("{prefix}-{request}"),
            created: seconds(SystemTime::now()),
            model,
            fingerprint: format!("lode-{}-{}", env!("CARGO_PKG_VERSION"), hash.short()),
            choices: 1,
            samples: 1,
            starts: Vec::new(),
            observed: Vec::new(),
        }
    }

    /// Waits for all choices.
    ///
    /// # Errors
    /// If one fails.
    pub(super) async fn whole(&self, mut events: Choices) -> Result<Value, ApiError> {
        let mut choices = vec![Choice::default(); self.choices as usize];
        let mut usage = Usage::default();
        while let Some(event) = events.next().await {
            let (number, event) = event?;
            let Some(choice) = choices.get_mut(number as usize) else { continue };
            match event {
                GenerateEvent::Token { text, logprobs, observed, .. } => {
                    choice.text.push_str(&text);
                    choice.logprobs.extend(logprobs);
                    if !observed.is_empty() {
                        choice.observed.push(strengths(&self.observed, &observed));
                    }
                }
                GenerateEvent::Finished { finished, .. } => {
                    usage.count(number % self.samples == 0, &finished);
                    choice.finished = Some(finished);
                }
            }
        }
        let choices: Vec<Value> =
            choices.into_iter().zip(0..).map(|(choice, number)| self.choice(number, choice)).collect();
        let object = match self.endpoint {
            Endpoint::Completion => "text_completion",
            Endpoint::Chat => "chat.completion",
        };
        let mut reply = self.envelope(object, choices);
        reply["usage"] = usage.json();
        Ok(reply)
    }

    fn choice(&self, number: u32, choice: Choice) -> Value {
        let finished = choice.finished.as_ref();
        let mut json = json!({
            "index": number,
            "finish_reason": finished.map(reason),
            "logprobs": self.logprobs(number, &choice.logprobs, 0),
            "forced": finished.map(forced),
        });
        if !self.observed.is_empty() {
            json["observed"] = choice.observed.into();
        }
        match self.endpoint {
            Endpoint::Completion => json["text"] = choice.text.into(),
            Endpoint::Chat => json["message"] = json!({"role": "assistant", "content": choice.text, "refusal": null}),
        }
        json
    }

    /// Log probabilities of tokens that begin `offset` characters into a choice; null if there are none.
    fn logprobs(&self, number: u32, tokens: &[Logprobs], offset: usize) -> Value {
        let prompt = (number / self.samples.max(1)) as usize;
        match self.endpoint {
            _ if tokens.is_empty() => Value::Null,
            Endpoint::Completion => {
                logprobs::of_completion(tokens, self.starts.get(prompt).copied().unwrap_or(0) + offset)
            }
            Endpoint::Chat => logprobs::of_chat(tokens),
        }
    }

    /// The piece that says who speaks, where that is said.
    pub(super) fn opening(&self, number: u32) -> Option<Value> {
        let delta = json!({"role": "assistant", "content": "", "refusal": null});
        let choice = json!({"index": number, "delta": delta, "finish_reason": null, "logprobs": null});
        (self.endpoint == Endpoint::Chat).then(|| self.piece(vec![choice]))
    }

    /// The piece that an event is, `offset` characters into its choice; `None` if it has nothing for the client.
    pub(super) fn event(&self, number: u32, event: &GenerateEvent, offset: usize) -> Option<Value> {
        let mut choice = json!({"index": number, "finish_reason": null, "logprobs": null});
        let said = match event {
            GenerateEvent::Token { text, logprobs, observed, .. } => {
                if text.is_empty() && logprobs.is_none() && observed.is_empty() {
                    return None;
                }
                choice["logprobs"] = self.logprobs(number, logprobs.as_slice(), offset);
                if !observed.is_empty() {
                    choice["observed"] = vec![strengths(&self.observed, observed)].into();
                }
                Some(text.as_str())
            }
            GenerateEvent::Finished { finished, .. } => {
                choice["finish_reason"] = reason(finished).into();
                choice["forced"] = forced(finished);
                None
            }
        };
        match self.endpoint {
            Endpoint::Completion => choice["text"] = said.unwrap_or_default().into(),
            Endpoint::Chat => choice["delta"] = said.map_or_else(|| json!({}), |text| json!({"content": text})),
        }
        Some(self.piece(vec![choice]))
    }

    /// The piece that counts tokens.
    pub(super) fn counted(&self, usage: Usage) -> Value {
        let mut piece = self.piece(Vec::new());
        piece["usage"] = usage.json();
        piece
    }

    fn piece(&self, choices: Vec<Value>) -> Value {
        let object = match self.endpoint {
            Endpoint::Completion => "text_completion",
            Endpoint::Chat => "chat.completion.chunk",
        };
        self.envelope(object, choices)
    }

    fn envelope(&self, object: &str, choices: Vec<Value>) -> Value {
        json!({
            "id": self.id,
            "object": object,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": self.fingerprint,
            "choices": choices,
        })
    }
}

impl Usage {
    /// A choice is complete; the first of a prompt counts the prompt.
    pub(super) fn count(&mut self, is_first: bool, finished: &Finished) {
        if is_first {
            self.prompt += u64::from(finished.prompt_tokens);
        }
        self.generated += u64::from(finished.generated_tokens);
    }

    fn json(self) -> Value {
        let total = self.prompt + self.generated;
        json!({"prompt_tokens": self.prompt, "completion_tokens": self.generated, "total_tokens": total})
    }
}

fn reason(finished: &Finished) -> &'static str {
    match finished.reason {
        FinishReason::Length => "length",
        FinishReason::EndOfText | FinishReason::Stop => "stop",
        // A request that ends so is an error, see `Choices`.
        FinishReason::NotFinite => "not_finite",
    }
}

/// What was forced on the way, as it was counted where values were written.
fn forced(finished: &Finished) -> Value {
    let coverage = finished.coverage;
    json!({
        "units": coverage.units,
        "layers": coverage.layers,
        "positions": coverage.positions,
        "writes": coverage.writes,
    })
}
