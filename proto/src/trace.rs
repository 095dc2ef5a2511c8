//! The id of a request, and how it travels: from the client through the coordinator to the workers, in every log line and
//! in the errors that a user may ask about. With OpenTelemetry on, the W3C trace context travels beside it.

use std::future::Future;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::global;
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use tonic::{Code, Status, metadata::MetadataMap};
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::{Fault, FaultKind};

/// The metadata that a request's id stands in.
pub const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Bytes of an id at most.
const LONGEST: usize = 64;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// What tells a request from others in the logs of all processes: 1 to 64 letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// A new one: 16 hexadecimal digits.
    #[must_use]
    pub fn random() -> Self {
        let digits = format!("{:016x}", rand::random::<u64>());
        Self(HeaderValue::try_from(digits).unwrap_or_else(|_| HeaderValue::from_static("0")))
    }

    /// That of a call, or a new one if the caller gave none that can be logged.
    pub fn of(headers: &HeaderMap) -> Self {
        headers.get(HEADER).and_then(Self::read).unwrap_or_else(Self::random)
    }

    /// That of the request which this task works on, if there is one.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// What a call to others is sent with: the current one, or a new one.
    pub(crate) fn to_send() -> Self {
        Self::current().unwrap_or_else(Self::random)
    }

    fn read(value: &HeaderValue) -> Option<Self> {
        let is_fine = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let fits = (1..=LONGEST).contains(&value.len()) && value.as_bytes().iter().all(is_fine);
        fits.then(|| Self(value.clone()))
    }

    /// The one that a reply came with.
    pub(crate) fn of_reply(metadata: &MetadataMap) -> Option<Self> {
        let value = metadata.get(HEADER.as_str())?;
        HeaderValue::from_bytes(value.as_bytes()).ok().as_ref().and_then(Self::read)
    }

    /// As it travels.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    /// Makes it the current one of `future`.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }
}

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Takes the current request and span along into a task of its own, which inherits neither.
pub fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let (request, span) = (RequestId::current(), Span::current());
    async move {
        match request {
            Some(request) => request.scope(future).await,
            None => future.await,
        }
    }
    .instrument(span)
}

/// The span of a call that came in. It is of the highest level, so that no filter takes the id from the lines that are left.
pub fn of_call(path: &str, request: &RequestId, headers: &HeaderMap) -> Span {
    let rpc = path.trim_start_matches("/lode.v1.");
    let span = tracing::error_span!("call", rpc, %request);
    let parent = global::get_text_map_propagator(|propagator| propagator.extract(&HeaderExtractor(headers)));
    // Fails only where nothing records spans, and nothing is lost there.
    let _ = span.set_parent(parent);
    span
}

/// Logs how a call ended, if it ended badly: users may come with the request's id and ask.
pub(crate) fn note(headers: &HeaderMap) {
    let Some(status) = Status::from_header_map(headers).filter(|status| status.code() != Code::Ok) else { return };
    let fault = Fault::from(status);
    match fault.kind {
        FaultKind::Internal | FaultKind::Unavailable | FaultKind::DataLoss => tracing::warn!(%fault, "the call failed"),
        _ => tracing::debug!(%fault, "the call was refused"),
    }
}

/// The trace context of the current span, as headers; empty unless OpenTelemetry is on.
pub(crate) fn context() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let context = Span::current().context();
    global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut HeaderInjector(&mut headers))
    });
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_cannot_be_logged_is_replaced() {
        let id = |text: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, HeaderValue::from_bytes(text).unwrap());
            RequestId::of(&headers).to_string()
        };
        assert_eq!(id(b"nightly-7.a_B"), "nightly-7.a_B");
        let long = [b'a'; LONGEST + 1];
        for bad in [&b""[..], b"a b", b"a\"b", "caf\u{e9}".as_bytes(), &long] {
            let made = id(bad);
            assert!(made.len() == 16 && made.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made}");
        }
        assert_ne!(RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_task_of_its_own_takes_the_id_along() {
        let id = RequestId::random();
        let inner = id.clone().scope(async {
            let lost = tokio::spawn(async { RequestId::current() }).await.unwrap();
            (lost, tokio::spawn(carried(async { RequestId::current() })).await.unwrap())
        });
        assert_eq!(inner.await, (None, Some(id)));
        assert_eq!(RequestId::current(), None);
    }
}
