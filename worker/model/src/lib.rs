//! Instrumented decoders on candle: hooked forward passes, capture, intervention and generation.
//!
//! Synchronous and single-owner: one thread drives a [`Model`] or an [`Engine`]; no tonic, no tokio here.
//!
//! - A new model family is a file under `family/` and a line in its `mod.rs`; what it is assembled from lies under
//!   `parts/`, and what the parts run on a CPU under `kernels/` (other devices use candle's own operations).
//! - A new pooling is a word in `lode_domain::pooling` and an arm in `kernels/pool.rs`.
//! - Whatever looks at or changes a linear's output is a `Hook` (`hook.rs`): pooling (`responses.rs`), and in
//!   generation forcing and observing (`steer.rs`, with `force.rs` and `watch.rs`).
//! - Between matrix products everything is f32; [`Precision`] is that of weights and products.
//!
//! A sentence's responses are the same bits in any batch, and a sequence's tokens the same in any company: every sum runs
//! in an order that depends on the row alone, in matrix products too (`kernels/gemm`). Where the tensor library multiplies,
//! batches have one shape (`prepared.rs`) or at least two rows (`parts/linear.rs`).

mod cache;
mod chat;
mod config;
mod decoder;
mod engine;
mod error;
mod family;
mod force;
mod guide;
mod hook;
pub mod hub;
#[doc(hidden)]
pub mod kernels;
mod likelihood;
mod logprobs;
mod model;
mod options;
mod pages;
mod parts;
mod prefix;
mod prepared;
mod queue;
mod redraw;
mod responses;
mod rows;
mod sampler;
mod schedule;
mod sequence;
mod shards;
mod steer;
mod stops;
mod stream;
mod text;
mod watch;
mod weights;

pub use engine::{Engine, EngineLoad, EngineOptions, Reuse};
pub use error::ModelError;
pub use force::{Conditions, Plan};
pub use likelihood::{Answer, Asked, Passage, Question};
pub use model::Model;
pub use options::{BadOption, DeviceChoice, LoadOptions, Precision};
pub use prepared::{BatchShape, Prepared, pack};
pub use responses::Responses;
pub use sequence::{SequenceId, SequenceRequest, StepEvent};
pub use text::{Dropped, Encoded, Text};
pub use watch::Watch;
