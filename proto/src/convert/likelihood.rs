//! Scoring of given continuations: requests, their resolved form, and answers.

use lode_domain::likelihood::{
    Passage, ResolvedScore, ScoreRequest, ScoredContinuation, ScoredPassage, check, check_blocks,
};

use super::{BadField, all, each, parsed, words};
use crate::wire;

impl From<Passage> for wire::Passage {
    fn from(passage: Passage) -> Self {
        Self { prompt: passage.prompt, continuations: passage.continuations }
    }
}

/// Passages of a request; there is at least one, each with a continuation.
fn passages(passages: Vec<wire::Passage>) -> Result<Vec<Passage>, BadField> {
    let passage = |one: wire::Passage| Passage { prompt: one.prompt, continuations: one.continuations };
    let passages: Vec<Passage> = passages.into_iter().map(passage).collect();
    check(&passages).map_err(|error| BadField::new("passages", error))?;
    Ok(passages)
}

/// Blocks after which the residual stream is asked for; they ascend.
fn blocks(blocks: Vec<u32>) -> Result<Vec<u32>, BadField> {
    check_blocks(&blocks).map_err(|error| BadField::new("residual", error))?;
    Ok(blocks)
}

impl From<ScoreRequest> for wire::ScoreRequest {
    fn from(request: ScoreRequest) -> Self {
        Self {
            model: request.model.to_string(),
            conditions: each(request.conditions),
            seed: request.seed,
            passages: each(request.passages),
            guide: request.guide.map(Into::into),
            residual: request.residual,
        }
    }
}

impl TryFrom<wire::ScoreRequest> for ScoreRequest {
    type Error = BadField;

    fn try_from(request: wire::ScoreRequest) -> Result<Self, BadField> {
        Ok(Self {
            model: parsed(&request.model, "model")?,
            conditions: all(request.conditions)?,
            seed: request.seed,
            passages: passages(request.passages)?,
            guide: request.guide.map(TryInto::try_into).transpose()?,
            residual: blocks(request.residual)?,
        })
    }
}

impl From<ResolvedScore> for wire::WorkerScoreRequest {
    fn from(request: ResolvedScore) -> Self {
        Self {
            model_hash: request.model.0.to_vec(),
            interventions: request.interventions.iter().map(wire::Intervention::from).collect(),
            passages: each(request.passages),
            guide: request.guide.map(Into::into),
            residual: request.residual,
        }
    }
}

impl TryFrom<wire::WorkerScoreRequest> for ResolvedScore {
    type Error = BadField;

    fn try_from(request: wire::WorkerScoreRequest) -> Result<Self, BadField> {
        Ok(Self {
            model: words::model_hash(&request.model_hash)?,
            interventions: all(request.interventions)?,
            passages: passages(request.passages)?,
            guide: request.guide.map(TryInto::try_into).transpose()?,
            residual: blocks(request.residual)?,
        })
    }
}

/// The wire form of an answer, `[passage]`.
pub fn score_reply(scored: Vec<ScoredPassage>) -> wire::ScoreReply {
    let continuation = |one: ScoredContinuation| wire::score_reply::Continuation {
        tokens: one.tokens,
        log_probabilities: one.log_probabilities,
        residual: one.residual,
    };
    let passage =
        |one: ScoredPassage| wire::score_reply::Passage { continuations: one.into_iter().map(continuation).collect() };
    wire::ScoreReply { passages: scored.into_iter().map(passage).collect() }
}

/// An answer from the wire, `[passage]`; it must be as long as what was asked, `[passage]` with its number of continuations.
///
/// # Errors
/// If it is not, or a continuation has not one probability a token.
pub fn scored_passages(reply: wire::ScoreReply, asked: &[usize]) -> Result<Vec<ScoredPassage>, BadField> {
    let continuation = |one: wire::score_reply::Continuation| {
        let (tokens, values) = (one.tokens.len(), one.log_probabilities.len());
        if tokens == 0 || tokens != values {
            return Err(BadField::new("log_probabilities", format!("has {values} values for {tokens} tokens")));
        }
        let wire::score_reply::Continuation { tokens, log_probabilities, residual } = one;
        Ok(ScoredContinuation { tokens, log_probabilities, residual })
    };
    let answered: Vec<usize> = reply.passages.iter().map(|passage| passage.continuations.len()).collect();
    if answered != asked {
        return Err(BadField::new("passages", "is not an answer to what was asked"));
    }
    let passage = |one: wire::score_reply::Passage| one.continuations.into_iter().map(continuation).collect();
    reply.passages.into_iter().map(passage).collect()
}
