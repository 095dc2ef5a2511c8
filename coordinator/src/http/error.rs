//! Errors as OpenAI's clients expect them: a status, and `{"error": {"message", "type", "param", "code"}}`.

use std::time::Duration;

use axum::{
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use lode_proto::{Fault, FaultKind};
use serde_json::{Value, json};

use super::body::Json;

/// When to try again where nobody knows better.
const LATER: Duration = Duration::from_secs(1);

/// A request that was not done.
#[derive(Clone, Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    message: String,
    /// The field that is at fault.
    param: Option<String>,
    code: Option<&'static str>,
    retry_after: Option<Duration>,
}

/// The one table: what a fault is over HTTP, and the code that clients know it by.
fn meaning(kind: FaultKind) -> (StatusCode, Option<&'static str>) {
    match kind {
        FaultKind::Invalid => (StatusCode::BAD_REQUEST, None),
        FaultKind::NotFound => (StatusCode::NOT_FOUND, Some("not_found")),
        FaultKind::Precondition => (StatusCode::CONFLICT, Some("precondition_failed")),
        FaultKind::Exhausted => (StatusCode::TOO_MANY_REQUESTS, Some("rate_limit_exceeded")),
        FaultKind::Unavailable | FaultKind::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, Some("unavailable")),
        FaultKind::Late => (StatusCode::GATEWAY_TIMEOUT, Some("timeout")),
        FaultKind::Unauthenticated => (StatusCode::UNAUTHORIZED, Some("invalid_api_key")),
        FaultKind::Denied => (StatusCode::FORBIDDEN, Some("permission_denied")),
        FaultKind::DataLoss => (StatusCode::INTERNAL_SERVER_ERROR, Some("data_loss")),
        FaultKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, Some("internal_error")),
    }
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None, retry_after: None }
    }

    /// A field that says what cannot be done.
    pub(super) fn field(param: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self { param: Some(param.into()), ..Self::new(StatusCode::BAD_REQUEST, message.to_string()) }
    }

    /// A field that OpenAI has and Lode has not.
    pub(super) fn unsupported(param: &str, instead: &str) -> Self {
        let error = Self::field(param, format!("`{param}` is not supported: {instead}"));
        Self { code: Some("unsupported_parameter"), ..error }
    }

    /// A body that is no JSON, or not as it should be.
    pub(super) fn bad_json(message: String) -> Self {
        Self { code: Some("invalid_json"), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    /// A body beyond the limit.
    pub(super) fn too_large(most: usize) -> Self {
        let message = format!("the request is too large: {most} bytes at most");
        Self { code: Some("request_too_large"), ..Self::new(StatusCode::PAYLOAD_TOO_LARGE, message) }
    }

    /// A body that does not come.
    pub(super) fn silent(patience: Duration) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, format!("the request did not come within {patience:?}"))
    }

    /// Values that no model bears.
    pub(super) fn not_finite() -> Self {
        let message = "the forced values drove the model out of its numbers: force fewer units, or smaller values";
        Self { code: Some("not_finite"), ..Self::field("condition", message) }
    }

    /// A model that was not made for conversations.
    pub(super) fn no_template(fault: Fault) -> Self {
        Self { code: Some("no_chat_template"), ..Self::field("model", fault.message) }
    }

    /// Nothing is there.
    pub(super) fn unknown_path(path: &str) -> Self {
        let message = format!("there is nothing at {path}: /openapi.json lists what there is");
        Self { code: Some("unknown_url"), ..Self::new(StatusCode::NOT_FOUND, message) }
    }

    /// Something is there, for others.
    pub(super) fn other_method(method: &Method, path: &str) -> Self {
        let message = format!("{path} does not take {method}: /openapi.json says what it takes");
        Self { code: Some("method_not_supported"), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }

    /// A coordinator that takes no calls at the moment.
    pub(super) fn not_serving(state: &str) -> Self {
        Fault::unavailable(format!("the coordinator is {state}: try again later")).into()
    }

    /// A call in the clear where calls are encrypted.
    pub(super) fn in_the_clear() -> Self {
        Fault::denied("this server speaks TLS: use https://").into()
    }

    /// Blames a field, and says by which code clients know the error, if it is of `kind`.
    pub(super) fn blame(self, kind: FaultKind, param: &str, code: Option<&'static str>) -> Self {
        let (status, _) = meaning(kind);
        if self.status != status || self.param.is_some() {
            return self;
        }
        Self { param: Some(param.to_owned()), code: code.or(self.code), ..self }
    }

    /// What stands under `error`.
    pub(super) fn body(&self) -> Value {
        let kind = match self.status.as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}})
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        let (status, code) = meaning(fault.kind);
        let retry_after = fault.retry_after.or(fault.is_retryable().then_some(LATER));
        Self { code, retry_after, ..Self::new(status, fault.message) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if let Some(wait) = self.retry_after {
            // Whole seconds are all that the header has.
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs_f64().ceil().max(1.0) as u64));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
