//! Conditioned generation: what is asked, what a worker is sent, what comes back.

use crate::{
    guide::Guide,
    held::Given,
    id::{ModelHash, ModelName},
    intervention::{Condition, Coverage, Intervention},
    observation::{Observation, Observe},
    sampling::Sampling,
};

/// Conditions, and concepts to observe, that a request can have at most.
pub const MOST_CONCEPTS: usize = 64;

/// A request as a client makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateRequest {
    /// The model.
    pub model: ModelName,
    /// The text to continue.
    pub prompt: String,
    /// Where two force the same unit at the same position, the later one wins.
    pub conditions: Vec<Condition>,
    /// Concepts whose strength is told with every token.
    pub observe: Vec<Observe>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// How many continuations.
    pub samples: u32,
    /// What weighs the next tokens, beside the conditions.
    pub guide: Option<Guide>,
}

/// The same request with its concepts resolved to units: nothing in it needs the index.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedRequest {
    /// The model that the units are of.
    pub model: ModelHash,
    /// The text to continue.
    pub prompt: String,
    /// In the order of the conditions.
    pub interventions: Vec<Given<Intervention>>,
    /// In the order of the concepts that are observed.
    pub observations: Vec<Given<Observation>>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// How many continuations.
    pub samples: u32,
    /// What weighs the next tokens.
    pub guide: Option<Guide>,
}

/// Why a sample ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// `max_new_tokens` or the model's context was reached.
    Length,
    /// The model said that the text ends.
    EndOfText,
    /// A stop text came; what stands before it is the text.
    Stop,
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

/// A token and how probable it was.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenScore {
    /// The token's id.
    pub token: u32,
    /// Its text by itself; a token that is part of a character has none of its own, and so a replacement character.
    pub text: String,
    /// The natural logarithm of its probability.
    pub logprob: f32,
}

/// How probable a token was that was drawn: by the model's softmax over its whole vocabulary at temperature 1, under the request's
/// conditions, before repetition penalty, top-k and top-p.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprobs {
    /// The token that was drawn.
    pub drawn: TokenScore,
    /// The most probable ones, as many as were asked for, most probable first; the drawn one may be among them.
    pub top: Vec<TokenScore>,
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
        /// Text that is complete with it, and will not turn out to be a stop text's beginning.
        text: String,
        /// How probable it was, where that was asked for.
        logprobs: Option<Logprobs>,
        /// How strongly each observed concept's experts responded at the position that the token was drawn from, the one before its
        /// own: in the order of [`GenerateRequest::observe`]. See [`Observation`].
        observed: Vec<f32>,
    },
    /// The sample is complete.
    Finished {
        /// Number of the sample.
        sample: u32,
        /// How it ended.
        finished: Finished,
    },
}
