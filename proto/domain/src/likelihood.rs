//! Likelihoods: how probable given continuations of given prompts are, under conditions.

use crate::{
    guide::Guide,
    id::{ModelHash, ModelName},
    intervention::{Condition, Intervention},
};

/// A prompt, and what might follow it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Passage {
    /// What the model has read. An empty one stands for the beginning of a text.
    pub prompt: String,
    /// What might follow, each by itself. A leading space belongs to it.
    pub continuations: Vec<String>,
}

/// A request as a client makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreRequest {
    /// The model.
    pub model: ModelName,
    /// Where two force the same unit at the same position, the later one wins.
    pub conditions: Vec<Condition>,
    /// Seeds the draw of conditions whose units are random.
    pub seed: u64,
    /// What is to be scored.
    pub passages: Vec<Passage>,
    /// What weighs the next tokens, beside the conditions: probabilities are then those of the weighed distribution.
    pub guide: Option<Guide>,
    /// Asks for the mean of the residual stream after each of these blocks, from 0 on, ascending.
    pub residual: Vec<u32>,
}

/// The same request with its conditions resolved to units: nothing in it needs the index.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedScore {
    /// The model that the units are of.
    pub model: ModelHash,
    /// In the order of the conditions.
    pub interventions: Vec<Intervention>,
    /// What is to be scored.
    pub passages: Vec<Passage>,
    /// What weighs the next tokens.
    pub guide: Option<Guide>,
    /// The blocks after which the residual stream is asked for, ascending.
    pub residual: Vec<u32>,
}

/// A continuation's tokens, each with its natural log probability given all before it.
///
/// Prompt and continuation are tokenised as one text, as the model would read it. The continuation's tokens are those after
/// the longest beginning that this text shares with the prompt alone: where a token reaches over the border it is the
/// continuation's. The probabilities are those of the model's full softmax at temperature 1. They are NaN where the
/// conditions drove the model out of its numbers.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ScoredContinuation {
    /// Token ids `[token]`; at least one.
    pub tokens: Vec<u32>,
    /// `[token]`.
    pub log_probabilities: Vec<f32>,
    /// Where it was asked for: the residual stream after each of the blocks, `[block, width]`, the mean over the continuation's tokens
    /// but the last, which is asked for and never run. Empty for a continuation of one token.
    pub residual: Vec<f32>,
}

impl ScoredContinuation {
    /// The continuation's natural log probability: the sum over its tokens.
    pub fn log_probability(&self) -> f64 {
        self.log_probabilities.iter().map(|&log| f64::from(log)).sum()
    }
}

/// A passage's continuations, `[continuation]`.
pub type ScoredPassage = Vec<ScoredContinuation>;

/// A request that asks for too much or too little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadScoreRequest {
    /// There is nothing to score.
    #[error("there is no passage to score")]
    NoPassage,
    /// A passage without continuations.
    #[error("passage {passage} has no continuation")]
    NoContinuation {
        /// Its number, from 1 on.
        passage: usize,
    },
    /// More than one request may ask for.
    #[error("{continuations} continuations are asked for: at most {MOST_CONTINUATIONS} in a request; send several")]
    TooMany {
        /// As asked for.
        continuations: usize,
    },
    /// Blocks twice or in disorder.
    #[error(
        "the residual stream is asked for after block {block} behind block {before}: name each block once, ascending"
    )]
    BlocksInDisorder {
        /// The block.
        block: u32,
        /// The one before it.
        before: u32,
    },
}

/// Continuations of one request at most.
pub const MOST_CONTINUATIONS: usize = 16_384;

/// Checks the form of what is to be scored.
///
/// # Errors
/// If there is nothing, or too much.
pub fn check(passages: &[Passage]) -> Result<(), BadScoreRequest> {
    if passages.is_empty() {
        return Err(BadScoreRequest::NoPassage);
    }
    if let Some(passage) = passages.iter().position(|passage| passage.continuations.is_empty()) {
        return Err(BadScoreRequest::NoContinuation { passage: passage + 1 });
    }
    let continuations = passages.iter().map(|passage| passage.continuations.len()).sum();
    if continuations > MOST_CONTINUATIONS {
        return Err(BadScoreRequest::TooMany { continuations });
    }
    Ok(())
}

/// Checks the order of the blocks after which the residual stream is asked for.
///
/// # Errors
/// If they do not ascend.
pub fn check_blocks(blocks: &[u32]) -> Result<(), BadScoreRequest> {
    match blocks.windows(2).find(|pair| pair[0] >= pair[1]) {
        Some(pair) => Err(BadScoreRequest::BlocksInDisorder { block: pair[1], before: pair[0] }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_a_form() {
        let passage = |count: usize| Passage { prompt: String::new(), continuations: vec!["x".into(); count] };
        assert_eq!(check(&[passage(1), passage(3)]), Ok(()));
        assert_eq!(check(&[]), Err(BadScoreRequest::NoPassage));
        assert_eq!(check(&[passage(1), passage(0)]), Err(BadScoreRequest::NoContinuation { passage: 2 }));
        let many = check(&[passage(MOST_CONTINUATIONS), passage(1)]).unwrap_err();
        assert!(many.to_string().contains("16385") && many.to_string().contains("at most 16384"), "{many}");
        assert_eq!((check_blocks(&[]), check_blocks(&[0, 3])), (Ok(()), Ok(())));
        assert!(check_blocks(&[2, 2]).unwrap_err().to_string().contains("after block 2 behind block 2"));
    }
}
