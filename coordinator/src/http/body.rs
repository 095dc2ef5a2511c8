//! JSON: what comes in, of bounded size and in bounded time, and what goes out.

use std::time::Duration;

use axum::{
    body::{Body, to_bytes},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::error::ApiError;

/// Bytes of a request at most, as of a gRPC call that sends no sentences.
pub(super) const MOST: usize = 1 << 20;

/// How long a request may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A reply that is a value as JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => ([(header::CONTENT_TYPE, "application/json")], bytes).into_response(),
            // No value that is answered here has a key that is no text.
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

/// Reads a body as a JSON object.
///
/// # Errors
/// If it is too large, does not come, or is something else.
pub(super) async fn read(body: Body) -> Result<Value, ApiError> {
    let bytes = match tokio::time::timeout(PATIENCE, to_bytes(body, MOST)).await {
        Err(_) => return Err(ApiError::silent(PATIENCE)),
        Ok(Err(error)) => return Err(unread(error)),
        Ok(Ok(bytes)) => bytes,
    };
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| ApiError::bad_json(format!("the body is not JSON: {error}")))?;
    if !value.is_object() {
        return Err(ApiError::bad_json("the body must be a JSON object".to_owned()));
    }
    Ok(value)
}

/// Reads what `T` knows of a part of a request; `place` is where the part stands, empty for the whole.
///
/// # Errors
/// If a field is not what it should be; the error names it.
pub(super) fn part<T: DeserializeOwned>(value: &Value, place: &str) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let path = match (place, inner.as_str()) {
            (place, ".") => place.to_owned(),
            ("", inner) => inner.to_owned(),
            (place, inner) => format!("{place}.{inner}"),
        };
        match path.as_str() {
            // A field that is missing has no path; its name is in the message.
            "" => ApiError::bad_json(error.inner().to_string()),
            path => ApiError::field(path, format!("`{path}`: {}", error.inner())),
        }
    })
}

/// There are two ways to fail: the limit, and a connection that broke off.
fn unread(error: axum::Error) -> ApiError {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        if error.is::<http_body_util::LengthLimitError>() {
            return ApiError::too_large(MOST);
        }
        cause = error.source();
    }
    ApiError::bad_json(format!("the request broke off: {error}"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Person {
        age: u8,
        #[serde(default)]
        children: Vec<Person>,
    }

    async fn refused(text: impl Into<Body>) -> Value {
        read(text.into()).await.unwrap_err().body()["error"].clone()
    }

    #[tokio::test]
    async fn a_body_is_an_object_of_bounded_size() {
        assert_eq!(read(r#"{"age": 3}"#.into()).await.unwrap(), json!({"age": 3}));
        let broken = refused("{\"age\": 3,").await;
        assert_eq!((&broken["code"], &broken["type"]), (&"invalid_json".into(), &"invalid_request_error".into()));
        assert!(broken["message"].as_str().unwrap().contains("line 1 column 10"), "{broken}");
        assert_eq!(refused("{} {}").await["code"], "invalid_json");
        assert_eq!(refused("[]").await["code"], "invalid_json");
        assert_eq!(refused(" ".repeat(MOST + 1)).await["code"], "request_too_large");
    }

    #[test]
    fn an_error_says_where_it_is() {
        let person: Person = part(&json!({"age": 30, "children": [{"age": 3}], "new": 1}), "").unwrap();
        assert_eq!((person.age, person.children[0].age), (30, 3));
        let wrong = json!({"age": 30, "children": [{"age": 300}]});
        let param = |place| part::<Person>(&wrong, place).unwrap_err().body()["error"]["param"].clone();
        assert_eq!((param(""), param("people[4]")), ("children[0].age".into(), "people[4].children[0].age".into()));
        let missing = part::<Person>(&json!({}), "").unwrap_err().body()["error"].clone();
        assert!(missing["message"].as_str().unwrap().contains("missing field `age`"), "{missing}");
    }
}
