//! The members of a cluster: what a worker says of itself, what the coordinator says of all.

use crate::{
    chat::ChatTemplate,
    id::{ModelHash, WorkerId},
    record::ModelRecord,
};

/// Version of the protocol between coordinator and workers: both must speak the same.
pub const PROTOCOL_VERSION: u32 = 5;

/// What a worker says when it registers.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerCard {
    /// Where the coordinator reaches its gRPC server.
    pub url: String,
    /// Version of its software.
    pub software_version: String,
    /// Protocol it speaks.
    pub protocol_version: u32,
    /// `cpu (2 threads)`, `cuda:0`.
    pub device: String,
    /// Float type it computes in: `f32`.
    pub precision: String,
    /// Bytes of pooled responses it keeps in memory; the rest goes to disk.
    pub memory_budget: u64,
    /// Speed of its forward passes, measured when it started.
    pub tokens_per_second: f64,
    /// Samples that it generates at a time at most.
    pub sequences: u32,
    /// The model it has loaded.
    pub model: ModelRecord,
    /// How that wants conversations written out, if it was made for them.
    pub chat: Option<ChatTemplate>,
}

/// A registered worker.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerStatus {
    /// Its id.
    pub id: WorkerId,
    /// Where it is reached.
    pub url: String,
    /// What it computes on.
    pub device: String,
    /// Float type it computes in.
    pub precision: String,
    /// Name of its model.
    pub model: String,
    /// Version of its software.
    pub software_version: String,
    /// Bytes of pooled responses it keeps in memory.
    pub memory_budget: u64,
    /// Milliseconds since its last sign of life.
    pub silent_millis: u64,
    /// Measured speed of its forward passes.
    pub tokens_per_second: f64,
    /// The job that it mines for at the moment.
    pub mining: Option<crate::id::JobId>,
}

/// A model that is known to the index.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelStatus {
    /// The model.
    pub model: ModelRecord,
    /// Concepts mined in it, each recipe counted.
    pub concepts: u32,
    /// Workers that have it loaded.
    pub workers: u32,
}

/// The cluster at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterStatus {
    /// Version of the coordinator.
    pub software_version: String,
    /// Registered workers.
    pub workers: Vec<WorkerStatus>,
    /// Models of the index.
    pub models: Vec<ModelStatus>,
    /// Size of the index on disk.
    pub index_bytes: u64,
}

/// A shard's address: whose it is and how it is mined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardSpec {
    /// The job it belongs to.
    pub job: crate::id::JobId,
    /// Its number within the job.
    pub shard: crate::id::ShardId,
    /// The model it must run on.
    pub model: ModelHash,
    /// How responses are taken.
    pub recipe: crate::expertise::Recipe,
    /// What is to be sent back.
    pub summaries: Summaries,
    /// What is measured beside AP.
    pub measures: crate::criterion::Measures,
}

/// The two kinds of summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summaries {
    /// Expertise: the shard holds all sentences of its concepts.
    Finished,
    /// Responses: the shard is a range of sentences, without concepts.
    Partial,
}
