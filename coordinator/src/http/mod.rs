//! What the coordinator answers over HTTP: probes and scrapers, the OpenAI-compatible API, and the index queries as JSON.
//!
//! Requests go through the same door as gRPC's (tokens, rights, limits), and text comes from the same `dispatch`: nothing is
//! done here but to read JSON, ask, and write JSON. `openapi.json` describes every path.

mod admission;
mod answers;
mod body;
mod chat;
mod completions;
mod condition;
mod decoding;
mod error;
mod generation;
mod logprobs;
mod model_ref;
mod models;
mod observing;
mod page;
mod params;
mod queries;
mod reply;
mod stream;

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Router,
    http::{Method, Uri},
    middleware,
    routing::{get, post},
};
use lode_domain::event::JobState;
use lode_ops::{Arrival, Hosted, Subject};

use self::error::ApiError;
use crate::{Coordinator, metrics};

/// What a coordinator is doing, as far as callers care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// The index is open, nobody is served yet.
    Starting,
    /// The gRPC server runs.
    Serving,
    /// A shutdown was asked for; open streams come to their end.
    Draining,
}

impl Coordinator {
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Whether calls are taken.
    ///
    /// # Errors
    /// In a word, why not.
    pub(crate) fn serves(&self) -> Result<(), &'static str> {
        match self.phase.load(Ordering::Relaxed) {
            phase if phase == Phase::Draining as u8 => Err("draining"),
            phase if phase == Phase::Starting as u8 => Err("starting"),
            _ => Ok(()),
        }
    }
}

impl Subject for Coordinator {
    fn ready(&self) -> Result<(), String> {
        self.serves()?;
        self.index.models().map(drop).map_err(|error| error.to_string())
    }

    fn refresh(&self) {
        metrics::CONNECTIONS.set(self.door.connections() as u64);
        metrics::WORKERS.set(self.registry.list().len() as u64);
        let running = self.jobs.list().iter().filter(|job| job.state == JobState::Running).count();
        metrics::JOBS_RUNNING.set(running as u64);
        metrics::SHARDS_WAITING.set(self.jobs.waiting() as u64);
        metrics::WAITING.set(self.places.waiting() as u64);
        match self.index.size_on_disk() {
            Ok(bytes) => metrics::INDEX_BYTES.set(bytes),
            // The scrape is worth having without it; readiness says that the index is broken.
            Err(error) => tracing::warn!(%error, "the size of the index cannot be read"),
        }
    }

    fn host(self: Arc<Self>, arrival: Arrival) -> Hosted {
        let Arrival { stream, peer, probes } = arrival;
        let seated = match self.door.seat(stream, peer) {
            Ok(seated) => seated,
            Err(stream) => return Hosted::Full(Arrival { stream, peer, probes }),
        };
        tokio::spawn(async move {
            match seated.await {
                Ok(line) => {
                    let router = self.router.get_or_init(|| router(self.clone(), probes)).clone();
                    let info = line.info();
                    lode_ops::converse(line, router, info).await;
                }
                Err(error) => tracing::debug!(%peer, %error, "refused a connection"),
            }
        });
        Hosted::Taken
    }
}

/// All paths.
fn router(coordinator: Arc<Coordinator>, probes: Router) -> Router {
    let api = Router::new()
        .route("/openapi.json", get(page::openapi))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/v1/completions", post(completions::create))
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/lode/models", get(queries::models))
        .route("/v1/lode/models/{model}/concepts", get(queries::concepts))
        .route("/v1/lode/models/{model}/units/top", get(queries::top))
        .route("/v1/lode/models/{model}/units/show", get(queries::show))
        .route("/v1/lode/models/{model}/units/layers", get(queries::layers))
        .route("/v1/lode/models/{model}/overlap", get(queries::overlap))
        .route("/v1/lode/models/{model}/nearest", get(queries::nearest))
        .fallback(unknown_path)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(coordinator.clone(), admission::admit))
        .with_state(coordinator);
    probes.fallback_service(api)
}

async fn unknown_path(uri: Uri) -> ApiError {
    ApiError::unknown_path(uri.path())
}

async fn other_method(method: Method, uri: Uri) -> ApiError {
    ApiError::other_method(&method, uri.path())
}
