//! Generation: requests, their resolved form, and events.

use lode_domain::generation::{
    FinishReason, Finished, GenerateEvent, GenerateRequest, Logprobs, MOST_CONCEPTS, ResolvedRequest, TokenScore,
};

use super::{BadField, all, each, parsed, required, same_enum, words};
use crate::wire::{self, generate_event::Event};

same_enum!(FinishReason, FinishReason, "reason", Length, EndOfText, NotFinite, Stop);

impl From<GenerateRequest> for wire::GenerateRequest {
    fn from(request: GenerateRequest) -> Self {
        Self {
            model: request.model.to_string(),
            prompt: request.prompt,
            conditions: each(request.conditions),
            sampling: Some(request.sampling.into()),
            samples: request.samples,
            observe: each(request.observe),
            guide: request.guide.map(Into::into),
        }
    }
}

impl TryFrom<wire::GenerateRequest> for GenerateRequest {
    type Error = BadField;

    fn try_from(request: wire::GenerateRequest) -> Result<Self, BadField> {
        Ok(Self {
            model: parsed(&request.model, "model")?,
            prompt: request.prompt,
            conditions: all(few(request.conditions, "conditions")?)?,
            observe: all(few(request.observe, "observe")?)?,
            sampling: required(request.sampling, "sampling")?.try_into()?,
            samples: at_least_one(request.samples)?,
            guide: request.guide.map(TryInto::try_into).transpose()?,
        })
    }
}

fn at_least_one(samples: u32) -> Result<u32, BadField> {
    if samples == 0 { Err(BadField::new("samples", "is 0: ask for at least one")) } else { Ok(samples) }
}

/// As many as one request may name.
fn few<T>(items: Vec<T>, field: &'static str) -> Result<Vec<T>, BadField> {
    match items.len() {
        0..=MOST_CONCEPTS => Ok(items),
        many => Err(BadField::new(field, format!("has {many} entries: a request can have {MOST_CONCEPTS} at most"))),
    }
}

impl From<ResolvedRequest> for wire::WorkerGenerateRequest {
    fn from(request: ResolvedRequest) -> Self {
        Self {
            model_hash: request.model.0.to_vec(),
            prompt: request.prompt,
            interventions: each(request.interventions),
            observations: each(request.observations),
            sampling: Some(request.sampling.into()),
            samples: request.samples,
            guide: request.guide.map(Into::into),
        }
    }
}

impl TryFrom<wire::WorkerGenerateRequest> for ResolvedRequest {
    type Error = BadField;

    fn try_from(request: wire::WorkerGenerateRequest) -> Result<Self, BadField> {
        Ok(Self {
            model: words::model_hash(&request.model_hash)?,
            prompt: request.prompt,
            interventions: all(few(request.interventions, "interventions")?)?,
            observations: all(few(request.observations, "observations")?)?,
            sampling: required(request.sampling, "sampling")?.try_into()?,
            samples: at_least_one(request.samples)?,
            guide: request.guide.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<TokenScore> for wire::TokenScore {
    fn from(scored: TokenScore) -> Self {
        Self { token: scored.token, text: scored.text, logprob: scored.logprob }
    }
}

impl From<wire::TokenScore> for TokenScore {
    fn from(scored: wire::TokenScore) -> Self {
        Self { token: scored.token, text: scored.text, logprob: scored.logprob }
    }
}

impl From<Logprobs> for wire::Logprobs {
    fn from(logprobs: Logprobs) -> Self {
        Self { drawn: Some(logprobs.drawn.into()), top: each(logprobs.top) }
    }
}

impl TryFrom<wire::Logprobs> for Logprobs {
    type Error = BadField;

    fn try_from(logprobs: wire::Logprobs) -> Result<Self, BadField> {
        Ok(Self { drawn: required(logprobs.drawn, "drawn")?.into(), top: each(logprobs.top) })
    }
}

impl From<GenerateEvent> for wire::GenerateEvent {
    fn from(event: GenerateEvent) -> Self {
        let event = match event {
            GenerateEvent::Token { sample, token, text, logprobs, observed } => {
                let logprobs = logprobs.map(wire::Logprobs::from);
                Event::Token(wire::generate_event::Token { sample, token, text, logprobs, observed })
            }
            GenerateEvent::Finished { sample, finished } => Event::Finished(wire::generate_event::Finished {
                sample,
                reason: wire::FinishReason::from(finished.reason).into(),
                prompt_tokens: finished.prompt_tokens,
                generated_tokens: finished.generated_tokens,
                coverage: Some(finished.coverage.into()),
            }),
        };
        Self { event: Some(event) }
    }
}

impl TryFrom<wire::GenerateEvent> for GenerateEvent {
    type Error = BadField;

    fn try_from(event: wire::GenerateEvent) -> Result<Self, BadField> {
        Ok(match required(event.event, "event")? {
            Event::Token(token) => Self::Token {
                sample: token.sample,
                token: token.token,
                text: token.text,
                logprobs: token.logprobs.map(Logprobs::try_from).transpose()?,
                observed: token.observed,
            },
            Event::Finished(finished) => Self::Finished {
                sample: finished.sample,
                finished: Finished {
                    reason: finished.reason().try_into()?,
                    prompt_tokens: finished.prompt_tokens,
                    generated_tokens: finished.generated_tokens,
                    coverage: required(finished.coverage, "coverage")?.into(),
                },
            },
        })
    }
}
