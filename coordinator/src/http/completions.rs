//! `/v1/completions`: texts continued.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use lode_domain::generation::GenerateRequest;
use serde::Deserialize;
use serde_json::Value;

use super::{
    body::{self, Json},
    condition::conditions,
    decoding::Decoding,
    error::ApiError,
    generation::Choices,
    models,
    observing::observed,
    reply::{Endpoint, Reply, Usage},
    stream::stream,
};
use crate::Coordinator;

/// Tokens of a choice unless told otherwise, as OpenAI has it.
const DEFAULT_TOKENS: u32 = 16;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Request {
    model: Option<String>,
    prompt: Option<Value>,
    max_tokens: Option<u32>,
    suffix: Option<String>,
    echo: Option<bool>,
    best_of: Option<u32>,
    logprobs: Option<u32>,
}

pub(super) async fn create(State(coordinator): State<Arc<Coordinator>>, body: Body) -> Result<Response, ApiError> {
    let body = body::read(body).await?;
    let request: Request = body::part(&body, "")?;
    let decoding: Decoding = body::part(&body, "")?;
    let prompts = prompts(request.prompt.as_ref())?;
    let samples = decoding.choices(prompts.len() as u32)?;
    request.refuse_unsupported(samples)?;
    let sampling = decoding.sampling(request.max_tokens.unwrap_or(DEFAULT_TOKENS), request.logprobs)?;
    let counts_usage = decoding.counts_usage()?;
    let name =
        request.model.ok_or_else(|| ApiError::field("model", "`model` is missing: /v1/models lists what there is"))?;
    let wanted = models::read(&name)?;
    let model = models::find(&coordinator, &wanted.name).await?;
    let conditions = conditions(wanted.concepts, decoding.condition.as_ref())?;
    let observe = observed(decoding.observe.as_ref())?;
    let mut reply = Reply::new(Endpoint::Completion, name, model.hash);
    (reply.samples, reply.choices) = (samples, samples * prompts.len() as u32);
    reply.starts = prompts.iter().map(|prompt| prompt.chars().count()).collect();
    reply.observed = observe.iter().map(|observe| observe.concept.to_string()).collect();
    let requests = prompts.into_iter().map(|prompt| GenerateRequest {
        model: wanted.name.clone(),
        prompt,
        conditions: conditions.clone(),
        observe: observe.clone(),
        sampling: sampling.clone(),
        samples,
        guide: None,
    });
    let events = Choices::begin(&coordinator, requests.collect()).await?;
    if decoding.streams() {
        return Ok(stream(reply, events, counts_usage.then(Usage::default)));
    }
    Ok(Json(reply.whole(events).await?).into_response())
}

impl Request {
    fn refuse_unsupported(&self, samples: u32) -> Result<(), ApiError> {
        if self.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
            return Err(ApiError::unsupported("suffix", "models continue texts, they do not fill gaps"));
        }
        if self.echo == Some(true) {
            return Err(ApiError::unsupported("echo", "put the prompt before the text yourself"));
        }
        if self.best_of.is_some_and(|best_of| best_of != samples) {
            return Err(ApiError::unsupported("best_of", "ask for `n` choices and choose yourself"));
        }
        Ok(())
    }
}

/// A text, or a list of texts.
fn prompts(prompt: Option<&Value>) -> Result<Vec<String>, ApiError> {
    let bad = |what: &str| ApiError::field("prompt", format!("`prompt` {what}: give a text or a list of texts"));
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Array(_) => Err(bad("is of token ids, which are not supported")),
        other => Err(bad(&format!("holds {other}"))),
    };
    match prompt {
        None | Some(Value::Null) => Err(bad("is missing")),
        Some(Value::Array(many)) if many.is_empty() => Err(bad("is an empty list")),
        Some(Value::Array(many)) => many.iter().map(text).collect(),
        Some(one) => Ok(vec![text(one)?]),
    }
}
