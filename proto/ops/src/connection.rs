//! Connections of the HTTP front: probes must get through, whoever else is there.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{Router, http::Request};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service as _, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

use crate::http::{Hosted, Subject};

/// Connections at most; the oldest makes room for a newcomer. A probe takes milliseconds.
const CONNECTIONS: usize = 128;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may last. Scrapers that keep theirs open make a new one.
const LIFE: Duration = Duration::from_secs(120);
/// How long accepting rests when the system has no more connections to give.
const REST: Duration = Duration::from_millis(50);

/// A connection that somebody may take over.
pub struct Arrival {
    /// The connection; nothing was read from it.
    pub stream: TcpStream,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// What answers the front's own paths.
    pub probes: Router,
}

/// What a front serves connections with.
pub(crate) struct Desk {
    /// Who may take connections over.
    pub(crate) subject: Arc<OnceLock<Arc<dyn Subject>>>,
    /// The front's own paths.
    pub(crate) probes: Router,
    /// The same, for connections that the subject has no room for.
    pub(crate) overflow: Router,
}

impl Desk {
    /// Serves until it is dropped.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let mut open = JoinSet::new();
        let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "the HTTP front cannot accept a connection");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            while open.try_join_next().is_some() {}
            let arrival = Arrival { stream, peer, probes: self.probes.clone() };
            let hosted = match self.subject.get().cloned() {
                Some(subject) => subject.host(arrival),
                None => Hosted::Declined(arrival),
            };
            let (stream, router) = match hosted {
                Hosted::Taken => continue,
                Hosted::Full(arrival) => (arrival.stream, self.overflow.clone()),
                Hosted::Declined(arrival) => (arrival.stream, arrival.probes),
            };
            oldest_first.retain(|connection| !connection.is_finished());
            if oldest_first.len() >= CONNECTIONS
                && let Some(oldest) = oldest_first.pop_front()
            {
                oldest.abort();
            }
            oldest_first.push_back(open.spawn(answer(stream, router)));
        }
    }
}

async fn answer(stream: TcpStream, router: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    // One that has lasted too long is just closed.
    if let Ok(Err(error)) = tokio::time::timeout(LIFE, served).await {
        tracing::debug!(%error, "a connection to the HTTP front broke off");
    }
}

/// Serves HTTP/1.1 over a connection that somebody took over, as long as it lasts: whoever holds it bounds that. Every request
/// finds `info` among its extensions.
pub async fn converse<I>(line: impl AsyncRead + AsyncWrite + Unpin, router: Router, info: I)
where
    I: Clone + Send + Sync + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(info.clone());
        router.call(request)
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(line), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection of an HTTP client broke off");
    }
}
