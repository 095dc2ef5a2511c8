//! What the worker counts. A new metric is a constant and a place in [`METRICS`].

use lode_ops::{Metric, Unit};

/// All of it.
pub const METRICS: &[Metric] = &[
    SHARDS,
    TOKENS,
    RECALLED,
    BATCH_SECONDS,
    SPILLED_BYTES,
    SEQUENCES_ACTIVE,
    SEQUENCES_WAITING,
    KV_POSITIONS,
    TOKENS_GENERATED,
    TOKENS_SCORED,
];

pub(crate) const SHARDS: Metric =
    Metric::counter("lode_worker_shards_total", Unit::Count, "Shards that were mined to their end.");
pub(crate) const TOKENS: Metric =
    Metric::counter("lode_worker_tokens_total", Unit::Count, "Tokens of sentences that were run for mining.");
pub(crate) const RECALLED: Metric = Metric::counter(
    "lode_worker_recalled_sentences_total",
    Unit::Count,
    "Sentences whose responses came from the cache instead of a forward pass.",
);
pub(crate) const BATCH_SECONDS: Metric =
    Metric::seconds("lode_worker_batch_seconds", "How long one batch of sentences took on the device, in seconds.");
pub(crate) const SPILLED_BYTES: Metric = Metric::counter(
    "lode_worker_spilled_bytes_total",
    Unit::Bytes,
    "Responses beyond the memory budget that went to the disk.",
);
pub(crate) const SEQUENCES_ACTIVE: Metric =
    Metric::gauge("lode_worker_sequences_active", Unit::Count, "Samples that are being generated.");
pub(crate) const SEQUENCES_WAITING: Metric = Metric::gauge(
    "lode_worker_sequences_waiting",
    Unit::Count,
    "Samples that wait for room among those being generated.",
);
pub(crate) const KV_POSITIONS: Metric = Metric::gauge(
    "lode_worker_kv_positions",
    Unit::Count,
    "Token positions whose keys and values are reserved by samples that are being generated.",
);
pub(crate) const TOKENS_GENERATED: Metric =
    Metric::counter("lode_worker_tokens_generated_total", Unit::Count, "Tokens that were generated.");
pub(crate) const TOKENS_SCORED: Metric = Metric::counter(
    "lode_worker_tokens_scored_total",
    Unit::Count,
    "Tokens whose probability was asked for and computed.",
);
