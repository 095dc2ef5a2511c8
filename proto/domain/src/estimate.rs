//! What a job would cost, before it is paid for.

/// The plan of a job and what it is expected to take.
#[derive(Clone, Debug, PartialEq)]
pub struct Estimate {
    /// Concepts.
    pub concepts: u32,
    /// Sum over concepts and classes: what a loop over concepts would run.
    pub listed_sentences: u64,
    /// Distinct sentences of the job.
    pub distinct_sentences: u64,
    /// Their tokens.
    pub distinct_tokens: u64,
    /// Forward passes of the plan: one for every sentence of every shard that its worker does not hold from before.
    pub run_sentences: u64,
    /// Their tokens.
    pub run_tokens: u64,
    /// Sentences whose responses a worker holds from before.
    pub held_sentences: u64,
    /// Forward passes if every concept were mined by itself, each of its distinct sentences once.
    pub unshared_sentences: u64,
    /// Their tokens.
    pub unshared_tokens: u64,
    /// Sentences that the tokenizer drops: empty or too long.
    pub dropped_sentences: u64,
    /// Shards of whole concepts.
    pub shards: u32,
    /// Concepts that are split by sentences.
    pub split_concepts: u32,
    /// Ranges that they are split into.
    pub ranges: u32,
    /// When the last worker should end, in seconds, by the workers' measured speeds.
    pub seconds: f64,
    /// Bytes of partial summaries that pass through the coordinator's disk.
    pub partial_bytes: u64,
    /// Bytes that the result takes in the index, before the database's own overhead.
    pub index_bytes: u64,
    /// The workers that have the model, by id.
    pub workers: Vec<WorkerEstimate>,
}

/// A worker's part in an [`Estimate`].
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerEstimate {
    /// Where it is reached.
    pub url: String,
    /// What it computes on.
    pub device: String,
    /// Measured speed of its forward passes.
    pub tokens_per_second: f64,
    /// Shards of whole concepts that are meant for it.
    pub shards: u32,
    /// Sentences that it runs for them.
    pub sentences: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Bytes of the responses of its largest shard; what is beyond its memory budget goes to its disk.
    pub response_bytes: u64,
    /// Its memory budget for responses.
    pub memory_budget: u64,
}
