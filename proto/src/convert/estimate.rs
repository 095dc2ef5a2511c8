//! What a job would cost.

use lode_domain::estimate::{Estimate, WorkerEstimate};

use super::each;
use crate::wire::{self, estimate_job_reply};

impl From<Estimate> for wire::EstimateJobReply {
    fn from(estimate: Estimate) -> Self {
        Self {
            concepts: estimate.concepts,
            listed_sentences: estimate.listed_sentences,
            distinct_sentences: estimate.distinct_sentences,
            distinct_tokens: estimate.distinct_tokens,
            run_sentences: estimate.run_sentences,
            run_tokens: estimate.run_tokens,
            held_sentences: estimate.held_sentences,
            unshared_sentences: estimate.unshared_sentences,
            unshared_tokens: estimate.unshared_tokens,
            dropped_sentences: estimate.dropped_sentences,
            shards: estimate.shards,
            split_concepts: estimate.split_concepts,
            ranges: estimate.ranges,
            seconds: estimate.seconds,
            partial_bytes: estimate.partial_bytes,
            index_bytes: estimate.index_bytes,
            workers: each(estimate.workers),
        }
    }
}

impl From<wire::EstimateJobReply> for Estimate {
    fn from(reply: wire::EstimateJobReply) -> Self {
        Self {
            concepts: reply.concepts,
            listed_sentences: reply.listed_sentences,
            distinct_sentences: reply.distinct_sentences,
            distinct_tokens: reply.distinct_tokens,
            run_sentences: reply.run_sentences,
            run_tokens: reply.run_tokens,
            held_sentences: reply.held_sentences,
            unshared_sentences: reply.unshared_sentences,
            unshared_tokens: reply.unshared_tokens,
            dropped_sentences: reply.dropped_sentences,
            shards: reply.shards,
            split_concepts: reply.split_concepts,
            ranges: reply.ranges,
            seconds: reply.seconds,
            partial_bytes: reply.partial_bytes,
            index_bytes: reply.index_bytes,
            workers: each(reply.workers),
        }
    }
}

impl From<WorkerEstimate> for estimate_job_reply::WorkerEstimate {
    fn from(worker: WorkerEstimate) -> Self {
        Self {
            url: worker.url,
            device: worker.device,
            tokens_per_second: worker.tokens_per_second,
            shards: worker.shards,
            sentences: worker.sentences,
            tokens: worker.tokens,
            response_bytes: worker.response_bytes,
            memory_budget_bytes: worker.memory_budget,
        }
    }
}

impl From<estimate_job_reply::WorkerEstimate> for WorkerEstimate {
    fn from(worker: estimate_job_reply::WorkerEstimate) -> Self {
        Self {
            url: worker.url,
            device: worker.device,
            tokens_per_second: worker.tokens_per_second,
            shards: worker.shards,
            sentences: worker.sentences,
            tokens: worker.tokens,
            response_bytes: worker.response_bytes,
            memory_budget: worker.memory_budget_bytes,
        }
    }
}
