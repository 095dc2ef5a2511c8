//! Calls as no honest client makes them: HTTP/2 with any path, any headers, any bytes.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Request, Response};

/// A connection to a gRPC server.
#[derive(Clone)]
pub struct Raw {
    requests: SendRequest<Bytes>,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// `grpc-status`; none if the server broke the call off without one.
    pub status: Option<u16>,
    /// `grpc-message`.
    pub message: String,
    /// All that stood in headers or trailers.
    pub headers: HeaderMap,
}

/// A call that runs; dropped, it is cancelled.
#[derive(Debug)]
pub struct Held {
    _body: RecvStream,
}

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

impl Raw {
    /// Connects, with the HTTP/2 handshake.
    ///
    /// # Panics
    /// If nobody answers.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.expect("the server listens and speaks HTTP/2")
    }

    /// The same with a server that may not let everybody in.
    pub async fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = tokio::net::TcpStream::connect(address).await.ok()?;
        let (requests, connection) = h2::client::handshake(stream).await.ok()?;
        // Ends with an error when the server closes it, which is not this task's to judge.
        tokio::spawn(async move { drop(connection.await) });
        Some(Self { requests })
    }

    /// Calls `path` with a body of `bytes`.
    ///
    /// # Panics
    /// If there is no answer in time.
    pub async fn call(&self, path: &str, headers: &[(&str, &str)], bytes: Vec<u8>) -> Ended {
        let called = tokio::time::timeout(PATIENCE, self.try_call(path, headers, bytes)).await;
        match called.unwrap_or_else(|_| panic!("{path} was not answered")) {
            Ok(ended) => ended,
            Err(error) => Ended { status: None, message: error.to_string(), headers: HeaderMap::new() },
        }
    }

    /// Calls `path` with a body of `bytes`, and returns once the server has let the call in; it runs until the result is
    /// dropped.
    ///
    /// # Errors
    /// How it ended instead, if it was refused.
    ///
    /// # Panics
    /// If there is no answer in time.
    pub async fn hold(&self, path: &str, bytes: Vec<u8>) -> Result<Held, Ended> {
        let begun = tokio::time::timeout(PATIENCE, self.begin(path, &[], bytes)).await;
        let broken = |error: h2::Error| Ended { status: None, message: error.to_string(), headers: HeaderMap::new() };
        let (head, body) = begun.unwrap_or_else(|_| panic!("{path} was not answered")).map_err(broken)?.into_parts();
        if head.headers.contains_key("grpc-status") {
            return Err(Ended::of(head.headers));
        }
        Ok(Held { _body: body })
    }

    async fn try_call(&self, path: &str, headers: &[(&str, &str)], bytes: Vec<u8>) -> Result<Ended, h2::Error> {
        let (head, mut body) = self.begin(path, headers, bytes).await?.into_parts();
        if head.headers.contains_key("grpc-status") {
            return Ok(Ended::of(head.headers));
        }
        while let Some(data) = body.data().await {
            let len = data?.len();
            body.flow_control().release_capacity(len)?;
        }
        let trailers = body.trailers().await?.unwrap_or(head.headers);
        Ok(Ended::of(trailers))
    }

    /// Sends the request and waits for the head of the answer.
    async fn begin(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        bytes: Vec<u8>,
    ) -> Result<Response<RecvStream>, h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        let mut request = Request::post(format!("http://lode{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, mut sent) = requests.send_request(request.body(()).expect("a request"), bytes.is_empty())?;
        if !bytes.is_empty() {
            // A server that refuses early does not read it.
            let _ = sent.send_data(bytes.into(), true);
        }
        response.await
    }
}

impl Ended {
    fn of(headers: HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (status, message) = (text("grpc-status").parse().ok(), decoded(text("grpc-message")));
        Self { status, message, headers }
    }
}

/// A message as gRPC writes it: what is no plain character stands as `%` and two hexadecimal digits.
fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.split_at_checked(2).map(|(digits, rest)| (u8::from_str_radix(digits, 16), rest)) {
            Some((Ok(byte), rest)) => {
                bytes.push(byte);
                bytes.extend_from_slice(rest.as_bytes());
            }
            _ => bytes.extend_from_slice(format!("%{part}").as_bytes()),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Bytes as gRPC frames one message.
pub fn message(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a message of less than 4 GiB").to_be_bytes();
    [&[0], &length[..], bytes].concat()
}
