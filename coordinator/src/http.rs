//! What the coordinator answers to probes and scrapers.

use std::sync::atomic::Ordering;

use lode_domain::event::JobState;
use lode_ops::Subject;

use crate::{Coordinator, metrics};

/// What a coordinator is doing, as far as probes care.
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
}

impl Subject for Coordinator {
    fn ready(&self) -> Result<(), String> {
        match self.phase.load(Ordering::Relaxed) {
            phase if phase == Phase::Draining as u8 => Err("draining".to_owned()),
            phase if phase == Phase::Starting as u8 => Err("starting".to_owned()),
            _ => self.index.models().map(drop).map_err(|error| error.to_string()),
        }
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
}
