//! Conditioned generation: what is asked, what a worker is sent, what comes back.

use crate::{
    id::{ModelHash, ModelName},
    intervention::{Condition, Coverage, Intervention},
    sampling::Sampling,
};

/// A request as a client makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateRequest {
    /// The model.
    pub model: ModelName,
    /// The text to continue.
    pub prompt: String,
    /// Where two force the same unit at the same position, the later one wins.
    pub conditions: Vec<Condition>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// How many continuations.
    pub samples: u32,
}

/// The same request with its conditions resolved to units: nothing in it needs the index.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedRequest {
    /// The model that the units are of.
    pub model: ModelHash,
    /// The text to continue.
    pub prompt: String,
    /// In the order of the conditions.
    pub interventions: Vec<Intervention>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// How many continuations.
    pub samples: u32,
}

/// Why a sample ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// `max_new_tokens` or the model's context was reached.
    Length,
    /// The model said that the text ends.
    EndOfText,
    /// The logits were not finite: the forced values drove the model out of its numbers.
    NotFinite,
}

/// How a sample ended, and what was forced on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Why it ended.
    pub reason: FinishReason,
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens generated.
    pub generated_tokens: u32,
    /// What was forced.
    pub coverage: Coverage,
}

/// One step of one sample.
#[derive(Clone, Debug, PartialEq)]
pub enum GenerateEvent {
    /// One more token.
    Token {
        /// Number of the sample.
        sample: u32,
        /// The token's id.
        token: u32,
        /// Text that is complete with it.
        text: String,
    },
    /// The sample is complete.
    Finished {
        /// Number of the sample.
        sample: u32,
        /// How it ended.
        finished: Finished,
    },
}
