//! Every call of the API goes through the coordinator's door, and has a request id and a span, as gRPC's have.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http_body::{Frame, SizeHint};
use lode_domain::access::Right;
use lode_proto::{
    Admitted, Fault, FaultKind, Knock, LineInfo, bearer_of,
    trace::{self, RequestId},
};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Instrument as _, Span};

use super::error::ApiError;
use crate::Coordinator;

/// Lets a request in or answers why not.
pub(super) async fn admit(State(coordinator): State<Arc<Coordinator>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let id = RequestId::of(request.headers());
    let span = trace::of_call(&path, &id, request.headers());
    let mut response = match span.in_scope(|| enter(&coordinator, &path, &request)) {
        Err(error) => error.into_response(),
        Ok(admitted) => {
            let caller = admitted.caller;
            let running = Running { _admitted: admitted, _counted: coordinator.calls.token() };
            let response = id.clone().scope(caller.scope(next.run(request))).instrument(span.clone()).await;
            let status = response.status();
            if status.is_server_error() {
                span.in_scope(|| tracing::warn!(status = status.as_u16(), "the call failed"));
            }
            response.map(|body| Body::new(Outgoing { body, span, _running: running }))
        }
    };
    response.headers_mut().insert(trace::HEADER, id.header());
    response
}

fn enter(coordinator: &Coordinator, path: &str, request: &Request) -> Result<Admitted, ApiError> {
    coordinator.serves().map_err(ApiError::not_serving)?;
    let line = request.extensions().get::<LineInfo>();
    if coordinator.door.has_tls() && !line.is_some_and(LineInfo::is_encrypted) {
        return Err(ApiError::in_the_clear());
    }
    let headers = request.headers();
    let knock = Knock { method: path, right: Right::of_http(path), headers };
    let refused = |mut fault: Fault| {
        if fault.kind == FaultKind::Unauthenticated && bearer_of(headers).is_none() {
            fault.message =
                "a token is needed and none was sent: send `Authorization: Bearer TOKEN` (for clients, the API key)"
                    .into();
        }
        ApiError::from(fault)
    };
    coordinator.door.guard().admit(&knock, line).map_err(refused)
}

/// A call, until its reply has gone or the client has.
struct Running {
    _admitted: Admitted,
    _counted: TaskTrackerToken,
}

/// What the caller gets; the call runs as long as this is there.
struct Outgoing {
    body: Body,
    span: Span,
    _running: Running,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let span = self.span.clone();
        let _entered = span.enter();
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
