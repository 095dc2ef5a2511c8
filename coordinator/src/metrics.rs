//! What the coordinator counts. A new metric is a constant and a place in [`METRICS`].

use std::time::Instant;

use lode_domain::{event::JobEvent, generation::GenerateEvent};
use lode_ops::{Metric, Unit};
use lode_proto::{Fault, FaultKind};

/// All of it.
pub const METRICS: &[Metric] = &[
    CONNECTIONS,
    WORKERS,
    JOBS_RUNNING,
    INDEX_BYTES,
    SHARDS,
    SHARD_RETRIES,
    SHARDS_WAITING,
    STRAGGLERS,
    CONCEPTS,
    TOKENS_MINED,
    COMMIT_SECONDS,
    MERGE_SECONDS,
    GENERATE_REQUESTS,
    GENERATE_SECONDS,
    FIRST_TOKEN_SECONDS,
    TOKENS_GENERATED,
    WAITING,
    WAIT_SECONDS,
];

pub(crate) const CONNECTIONS: Metric =
    Metric::gauge("lode_connections", Unit::Count, "Connections of clients and workers that are open.");
pub(crate) const WORKERS: Metric = Metric::gauge("lode_workers", Unit::Count, "Workers that are registered.");
pub(crate) const JOBS_RUNNING: Metric = Metric::gauge("lode_jobs_running", Unit::Count, "Mining jobs that run.");
pub(crate) const INDEX_BYTES: Metric = Metric::gauge("lode_index_bytes", Unit::Bytes, "What the index takes on disk.");
/// See [`ShardOutcome`].
const SHARDS: Metric = Metric::counter(
    "lode_shards_total",
    Unit::Count,
    "Runs of shards, by outcome; those that a cancelled job cut short do not count.",
)
.by_outcome(&["done", "retried", "failed"]);
const SHARD_RETRIES: Metric =
    Metric::counter("lode_shard_retries_total", Unit::Count, "Shards that broke off and were put back into the queue.");
pub(crate) const SHARDS_WAITING: Metric =
    Metric::gauge("lode_shards_waiting", Unit::Count, "Shards of running jobs that wait for a worker.");
pub(crate) const STRAGGLERS: Metric =
    Metric::counter("lode_stragglers_total", Unit::Count, "Slow shards that were given to a second worker.");
const CONCEPTS: Metric = Metric::counter("lode_concepts_total", Unit::Count, "Concepts that jobs settled, by outcome.")
    .by_outcome(&["indexed", "failed"]);
pub(crate) const TOKENS_MINED: Metric = Metric::counter(
    "lode_tokens_mined_total",
    Unit::Count,
    "Tokens of sentences that workers said they have run, those of shards that were run again too; of a shard that broke off, \
     up to the last sign of progress.",
);
pub(crate) const COMMIT_SECONDS: Metric =
    Metric::seconds("lode_commit_seconds", "How long one concept's commit to the index took, in seconds.");
pub(crate) const MERGE_SECONDS: Metric =
    Metric::seconds("lode_merge_seconds", "How long merging the partial summaries of one split took, in seconds.");
const GENERATE_REQUESTS: Metric =
    Metric::counter("lode_generate_requests_total", Unit::Count, "Generation requests that ended, by outcome.")
        .by_outcome(&["done", "refused", "busy", "failed", "abandoned"]);
const GENERATE_SECONDS: Metric = Metric::seconds(
    "lode_generate_seconds",
    "How long generation requests took from their arrival to their last token, in seconds.",
);
const FIRST_TOKEN_SECONDS: Metric = Metric::seconds(
    "lode_generate_first_token_seconds",
    "How long generation requests waited for their first token, in seconds.",
);
const TOKENS_GENERATED: Metric =
    Metric::counter("lode_tokens_generated_total", Unit::Count, "Tokens that were generated for clients.");

pub(crate) const WAITING: Metric =
    Metric::gauge("lode_generate_waiting", Unit::Count, "Generation requests that wait for a place on a worker.");
pub(crate) const WAIT_SECONDS: Metric = Metric::seconds(
    "lode_generate_wait_seconds",
    "How long generation requests waited for a place on a worker, or until they were refused one, in seconds.",
);

/// How one run of a shard ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ShardOutcome {
    /// Nothing of it is left to do.
    Done,
    /// The rest waits in the queue again.
    Retried,
    /// The rest has failed.
    Failed,
}

impl ShardOutcome {
    pub(crate) fn count(self) {
        SHARDS.count(match self {
            Self::Done => "done",
            Self::Retried => "retried",
            Self::Failed => "failed",
        });
    }
}

/// Counts what happens to a job.
pub(crate) fn count_event(event: &JobEvent) {
    match event {
        JobEvent::ConceptIndexed(_) => CONCEPTS.count("indexed"),
        JobEvent::ConceptFailed { .. } => CONCEPTS.count("failed"),
        JobEvent::ShardRetried { .. } => SHARD_RETRIES.add(1),
        JobEvent::Planned(_) | JobEvent::Progress(_) | JobEvent::Ended { .. } => {}
    }
}

/// One generation request from its arrival to its end, which is counted once: at the latest when this is dropped.
pub(crate) struct Generation {
    arrived: Instant,
    /// Samples that are not complete yet.
    open: u32,
    has_token: bool,
    has_ended: bool,
}

impl Generation {
    pub(crate) fn arrives(samples: u32) -> Self {
        Self { arrived: Instant::now(), open: samples, has_token: false, has_ended: false }
    }

    /// Nothing was generated for the request.
    pub(crate) fn is_refused(&mut self, fault: &Fault) {
        self.end(if fault.kind == FaultKind::Exhausted { "busy" } else { "refused" });
    }

    /// One step for the client.
    pub(crate) fn sees(&mut self, event: &Result<GenerateEvent, Fault>) {
        match event {
            Ok(GenerateEvent::Token { .. }) => {
                TOKENS_GENERATED.add(1);
                if !std::mem::replace(&mut self.has_token, true) {
                    FIRST_TOKEN_SECONDS.observe(self.arrived.elapsed());
                }
            }
            Ok(GenerateEvent::Finished { .. }) => {
                self.open = self.open.saturating_sub(1);
                if self.open == 0 {
                    GENERATE_SECONDS.observe(self.arrived.elapsed());
                    self.end("done");
                }
            }
            Err(_) => self.end("failed"),
        }
    }

    fn end(&mut self, outcome: &'static str) {
        if !std::mem::replace(&mut self.has_ended, true) {
            GENERATE_REQUESTS.count(outcome);
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.end("abandoned");
    }
}
