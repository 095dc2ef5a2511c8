//! The HTTP front for probes and scrapers.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    connection::{Arrival, Desk},
    metric::{self, Metric},
};

/// How often noted durations are put into their buckets when nobody scrapes; until then each takes memory.
const UPKEEP: Duration = Duration::from_secs(5);

/// What a front speaks for.
pub trait Subject: Send + Sync {
    /// Whether work may be sent here now. May read the disk, asks no other process.
    ///
    /// # Errors
    /// The reason why not.
    fn ready(&self) -> Result<(), String>;

    /// Brings the gauges up to date that are read and not kept.
    fn refresh(&self) {}

    /// Takes a connection over, if more than probes is to be answered here.
    fn host(self: Arc<Self>, arrival: Arrival) -> Hosted {
        Hosted::Declined(arrival)
    }
}

/// What became of a connection.
pub enum Hosted {
    /// The subject serves it.
    Taken,
    /// The subject has no room: only the front's own paths are answered, the others with 503.
    Full(Arrival),
    /// There is nothing but the front's own paths.
    Declined(Arrival),
}

/// A front that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    /// The address is taken or not ours.
    #[error("cannot serve HTTP on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// As the system says.
        source: std::io::Error,
    },
    /// This process counts already.
    #[error("cannot record metrics: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// A front that serves until it is dropped: it outlives the drain, so that probes see it.
pub struct Front {
    subject: Arc<OnceLock<Arc<dyn Subject>>>,
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Front {
    /// Starts to count and to serve; not ready until there is a subject.
    ///
    /// # Errors
    /// If the address cannot be had, or the process counts already.
    pub async fn start(address: SocketAddr, tables: &[&[Metric]]) -> Result<Self, FrontError> {
        let failed = |source| FrontError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let metrics = metric::install(tables)?;
        let subject = Arc::<OnceLock<Arc<dyn Subject>>>::default();
        let upkeep = tokio::spawn(upkeep(metrics.clone()));
        let router = Router::new()
            .route("/healthz", get(async || "alive\n"))
            .route("/readyz", get(readyz))
            .route("/metrics", get(scrape))
            .with_state(Shared { subject: subject.clone(), metrics });
        let overflow = router.clone().fallback(full);
        let serve = tokio::spawn(Desk { subject: subject.clone(), probes: router, overflow }.serve(listener));
        tracing::info!(%address, "HTTP front up");
        Ok(Self { subject, address, tasks: [upkeep, serve] })
    }

    /// Says whom to ask from now on; the first one stays.
    pub fn speak_for(&self, subject: Arc<dyn Subject>) {
        self.subject.get_or_init(|| subject);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn upkeep(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

#[derive(Clone)]
struct Shared {
    subject: Arc<OnceLock<Arc<dyn Subject>>>,
    metrics: PrometheusHandle,
}

impl Shared {
    /// Asks the subject where blocking is allowed.
    async fn ask<T: Send + 'static>(&self, question: fn(&dyn Subject) -> T) -> Result<T, String> {
        let subject = self.subject.get().cloned().ok_or("starting")?;
        let answer = tokio::task::spawn_blocking(move || question(&*subject)).await;
        answer.map_err(|error| error.to_string())
    }
}

async fn readyz(State(shared): State<Shared>) -> Response {
    match shared.ask(|subject| subject.ready()).await.and_then(std::convert::identity) {
        Ok(()) => "ready\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn full() -> Response {
    let reason = "too many connections: all have calls that run; try again later\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], reason).into_response()
}

async fn scrape(State(shared): State<Shared>) -> Response {
    // While the process starts there is nothing to refresh, but what was counted is shown.
    let _ = shared.ask(|subject| subject.refresh()).await;
    let format = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, format)], shared.metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    struct Always(Result<(), String>);

    impl Subject for Always {
        fn ready(&self) -> Result<(), String> {
            self.0.clone()
        }
    }

    async fn get(front: &Front, path: &str) -> String {
        let mut stream = TcpStream::connect(front.address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: lode\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn alive_is_not_ready() {
        let table = [Metric::counter("lode_tests_total", crate::Unit::Count, "Tests.").by_outcome(&["done"])];
        let front = Front::start(([127, 0, 0, 1], 0).into(), &[&table]).await.unwrap();
        assert!(get(&front, "/healthz").await.starts_with("HTTP/1.1 200"));
        let starting = get(&front, "/readyz").await;
        assert!(starting.starts_with("HTTP/1.1 503") && starting.ends_with("starting\n"), "{starting}");
        table[0].count("done");
        let scraped = get(&front, "/metrics").await;
        assert!(scraped.contains("# HELP lode_tests_total Tests."), "{scraped}");
        assert!(scraped.contains("lode_tests_total{outcome=\"done\"} 1"), "{scraped}");

        front.speak_for(Arc::new(Always(Err("draining".into()))));
        let draining = get(&front, "/readyz").await;
        assert!(draining.starts_with("HTTP/1.1 503") && draining.ends_with("draining\n"), "{draining}");
        assert!(get(&front, "/healthz").await.starts_with("HTTP/1.1 200"));
        // One process has one front: its metrics are the process's.
        assert!(Front::start(([127, 0, 0, 1], 0).into(), &[&table]).await.is_err());
    }
}
