//! `/v1/chat/completions`: conversations continued, as the model wants them written out.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use lode_domain::{chat::ChatMessage, generation::GenerateRequest};
use lode_proto::FaultKind;
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
use crate::{Coordinator, chat};

#[derive(Default, Deserialize)]
#[serde(default)]
struct Request {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    tools: Option<Value>,
    functions: Option<Value>,
    response_format: Option<Value>,
    modalities: Option<Vec<String>>,
    audio: Option<Value>,
    logprobs: Option<bool>,
    top_logprobs: Option<u32>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Value,
}

pub(super) async fn create(State(coordinator): State<Arc<Coordinator>>, body: Body) -> Result<Response, ApiError> {
    let body = body::read(body).await?;
    let request: Request = body::part(&body, "")?;
    let decoding: Decoding = body::part(&body, "")?;
    request.refuse_unsupported()?;
    let logprobs = request.logprobs()?;
    let messages = messages(request.messages)?;
    let samples = decoding.choices(1)?;
    let counts_usage = decoding.counts_usage()?;
    let name =
        request.model.ok_or_else(|| ApiError::field("model", "`model` is missing: /v1/models lists what there is"))?;
    let wanted = models::read(&name)?;
    let model = models::find(&coordinator, &wanted.name).await?;
    // As long as the context lasts, unless told otherwise.
    let most = request.max_completion_tokens.or(request.max_tokens).unwrap_or(model.context_len);
    let sampling = decoding.sampling(most, logprobs)?;
    let conditions = conditions(wanted.concepts, decoding.condition.as_ref())?;
    let observe = observed(decoding.observe.as_ref())?;
    let prompt = chat::render(&coordinator, &wanted.name, &messages).await;
    let prompt = prompt.map_err(|fault| match fault.kind {
        FaultKind::Precondition => ApiError::no_template(fault),
        _ => ApiError::from(fault).blame(FaultKind::Invalid, "messages", None),
    })?;
    let mut reply = Reply::new(Endpoint::Chat, name, model.hash);
    (reply.samples, reply.choices) = (samples, samples);
    reply.observed = observe.iter().map(|observe| observe.concept.to_string()).collect();
    let model = wanted.name;
    let request = GenerateRequest { model, prompt, conditions, observe, sampling, samples, guide: None };
    let events = Choices::begin(&coordinator, vec![request]).await?;
    if decoding.streams() {
        return Ok(stream(reply, events, counts_usage.then(Usage::default)));
    }
    Ok(Json(reply.whole(events).await?).into_response())
}

impl Request {
    /// How many alternatives are told with a token, if its log probability is told at all.
    fn logprobs(&self) -> Result<Option<u32>, ApiError> {
        match (self.logprobs.unwrap_or(false), self.top_logprobs) {
            (true, top) => Ok(Some(top.unwrap_or(0))),
            (false, None | Some(0)) => Ok(None),
            (false, Some(_)) => Err(ApiError::field("top_logprobs", "`top_logprobs` goes with `\"logprobs\": true`")),
        }
    }

    fn refuse_unsupported(&self) -> Result<(), ApiError> {
        let is_given = |value: &Option<Value>| {
            value.as_ref().is_some_and(|value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()))
        };
        for (name, value) in [("tools", &self.tools), ("functions", &self.functions), ("audio", &self.audio)] {
            if is_given(value) {
                return Err(ApiError::unsupported(name, "models answer with text"));
            }
        }
        if self.response_format.as_ref().is_some_and(|format| !format.is_null() && format["type"] != "text") {
            return Err(ApiError::unsupported("response_format", "only {\"type\": \"text\"} is"));
        }
        if self.modalities.as_ref().is_some_and(|modes| modes.iter().any(|mode| mode != "text")) {
            return Err(ApiError::unsupported("modalities", "only [\"text\"] is"));
        }
        Ok(())
    }
}

fn messages(messages: Option<Vec<Message>>) -> Result<Vec<ChatMessage>, ApiError> {
    let messages = messages.filter(|messages| !messages.is_empty()).ok_or_else(|| {
        ApiError::field(
            "messages",
            "`messages` is missing or empty: give at least one, {\"role\": \"user\", \"content\": \"...\"}",
        )
    })?;
    let message = |(number, message): (usize, Message)| {
        // What developers say, templates know as the system's.
        let role = if message.role == "developer" { "system".to_owned() } else { message.role };
        Ok(ChatMessage { role, content: content(&message.content, number)? })
    };
    messages.into_iter().enumerate().map(message).collect()
}

/// A text, or parts that are all text.
fn content(content: &Value, number: usize) -> Result<String, ApiError> {
    let bad = || {
        let path = format!("messages[{number}].content");
        let message = format!("`{path}` must be a text, or a list of {{\"type\": \"text\", \"text\": \"...\"}}");
        ApiError::field(path, message)
    };
    match content {
        Value::String(text) => Ok(text.clone()),
        Value::Array(parts) => {
            let text =
                |part: &Value| (part["type"] == "text").then(|| part["text"].as_str()).flatten().map(str::to_owned);
            parts.iter().map(|part| text(part).ok_or_else(bad)).collect()
        }
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<Vec<(String, String)>, Value> {
        let request: Request = body::part(&json!({"messages": value}), "").unwrap();
        let read = messages(request.messages).map_err(|error| error.body()["error"]["param"].clone())?;
        Ok(read.into_iter().map(|message| (message.role, message.content)).collect())
    }

    #[test]
    fn messages_are_texts() {
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        let given =
            json!([{"role": "developer", "content": "Be brief.", "name": "x"}, {"role": "user", "content": parts}]);
        assert_eq!(read(given), Ok(vec![("system".into(), "Be brief.".into()), ("user".into(), "ab".into())]));
        assert_eq!(read(json!([])), Err("messages".into()));
        assert_eq!(read(Value::Null), Err("messages".into()));
        let image = json!([{"type": "image_url", "image_url": {"url": "x"}}]);
        for bad in [image, Value::Null, json!(3)] {
            assert_eq!(read(json!([{"role": "user", "content": bad}])), Err("messages[0].content".into()));
        }
    }

    #[test]
    fn what_models_do_not_do_is_refused() {
        for (field, value) in [
            ("tools", json!([{}])),
            ("response_format", json!({"type": "json_object"})),
            ("modalities", json!(["audio"])),
        ] {
            let request: Request = body::part(&json!({field: value}), "").unwrap();
            let error = request.refuse_unsupported().unwrap_err().body();
            assert_eq!(
                (&error["error"]["param"], &error["error"]["code"]),
                (&field.into(), &"unsupported_parameter".into())
            );
        }
        let request: Request = body::part(&json!({"tools": [], "response_format": {"type": "text"}}), "").unwrap();
        assert!(request.refuse_unsupported().is_ok());
    }
}
