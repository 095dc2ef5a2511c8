//! As much of an HTTP client as a probe or a scraper is.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

/// A process's HTTP front.
pub struct Front {
    address: String,
}

/// What a front answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
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
        let mut stream = TcpStream::connect(&self.address).expect("the front listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: lode\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("the front reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the front answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, body: body.to_owned() }
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
