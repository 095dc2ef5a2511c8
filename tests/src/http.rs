//! As much of an HTTP client as probes, scrapers and tests of the API are.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::Value;

/// A process's HTTP front.
pub struct Front {
    address: String,
}

/// What a front answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The head's other lines.
    pub head: String,
    /// The text.
    pub body: String,
}

impl Front {
    /// The front at `HOST:PORT`.
    pub fn at(address: &str) -> Self {
        Self { address: address.to_owned() }
    }

    /// Where it listens.
    ///
    /// # Panics
    /// If that is no address.
    pub fn address(&self) -> std::net::SocketAddr {
        self.address.parse().expect("an address")
    }

    /// Asks for a path.
    ///
    /// # Panics
    /// If nobody answers, or it is not HTTP.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), "", "")
    }

    /// Sends JSON to a path.
    ///
    /// # Panics
    /// As [`Self::get`].
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask(&format!("POST {path}"), "", &body.to_string())
    }

    /// Asks what `line` says (`GET /path`), with more header lines, each with its line end, and a body.
    ///
    /// # Panics
    /// As [`Self::get`].
    #[track_caller]
    pub fn ask(&self, line: &str, headers: &str, body: &str) -> Answer {
        let mut stream = self.send(line, headers, body);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the front answers");
        Answer::read(&answer)
    }

    /// Asks and does not wait for the answer.
    ///
    /// # Panics
    /// If nobody listens.
    #[track_caller]
    pub fn send(&self, line: &str, headers: &str, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("the front listens");
        stream.write_all(request(line, headers, body).as_bytes()).expect("the front reads");
        stream
    }

    /// The value of a series as it stands in `/metrics`: a name, with labels if it has any.
    ///
    /// # Panics
    /// If it is not there.
    #[track_caller]
    pub fn metric(&self, series: &str) -> f64 {
        let scraped = self.get("/metrics").body;
        let value = scraped.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {series} in\n{scraped}"))
    }
}

/// A request as it is sent; the connection ends with it.
pub fn request(line: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{line} HTTP/1.1\r\nhost: lode\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}content-length: \
         {length}\r\n\r\n{body}"
    )
}

impl Answer {
    /// Reads what came until the connection's end.
    ///
    /// # Panics
    /// If it is not HTTP.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).expect("a status");
        let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        Self { status, body: if is_chunked { unchunked(body) } else { body.to_owned() }, head: head.to_owned() }
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// If it is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The body as JSON, if all went well.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.body);
        self.json()
    }

    /// The pieces of a stream, and whether it ended as it should.
    ///
    /// # Panics
    /// If it is no stream of JSON.
    #[track_caller]
    pub fn pieces(&self) -> (Vec<Value>, bool) {
        assert_eq!(self.status, 200, "{}", self.body);
        let data = |event: &str| event.strip_prefix("data: ").expect("an event is data").to_owned();
        let mut events: Vec<String> = self.body.split_terminator("\n\n").map(data).collect();
        let is_done = events.last().is_some_and(|last| last == "[DONE]");
        if is_done {
            events.pop();
        }
        (events.iter().map(|event| serde_json::from_str(event).expect("JSON")).collect(), is_done)
    }
}

/// What was sent in chunks, each after its length.
fn unchunked(mut chunks: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).expect("a chunk's length");
        let Some((chunk, rest)) = rest.split_at_checked(length) else { break };
        whole.push_str(chunk);
        chunks = rest.trim_start_matches("\r\n");
    }
    whole
}
