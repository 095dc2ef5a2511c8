//! The description of the API.

use axum::http::header;

/// OpenAPI 3.1; `tests/tests/openapi.rs` holds it against the server.
const OPENAPI: &str = include_str!("../../openapi.json");

pub(super) async fn openapi() -> ([(header::HeaderName, &'static str); 1], &'static str) {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI)
}
