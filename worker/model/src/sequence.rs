//! One sequence of an engine: what was asked for, and how far it has come.

use std::sync::Arc;

use lode_domain::{
    generation::{FinishReason, Finished},
    intervention::Intervention,
    sampling::Sampling,
};

use crate::{error::Result, force::Forcing, model::Model, sampler::Sampler, stream::TextStream};

/// A text to continue.
#[derive(Clone, Debug)]
pub struct SequenceRequest {
    /// Token ids of the prompt; if empty, the token that begins a text.
    pub prompt: Vec<u32>,
    /// What is forced; of two on one unit and position the later wins.
    pub interventions: Arc<[Intervention]>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Which of the request's samples this is: each draws from a random stream of its own.
    pub sample: u32,
}

/// A sequence of one engine; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub(crate) u64);

/// What a step did to one sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct StepEvent {
    /// The sequence.
    pub sequence: SequenceId,
    /// The token that was drawn; `None` if there was nothing to draw from ([`FinishReason::NotFinite`]).
    pub token: Option<u32>,
    /// Text that is complete now: what was generated so far, less what earlier events gave. Never half a character.
    pub text: String,
    /// Set by the sequence's last event.
    pub finished: Option<Finished>,
}

/// A sequence under way.
pub(crate) struct Sequence {
    pub id: SequenceId,
    /// First slot of its region in the cache.
    pub slot: usize,
    /// Prompt and generated tokens.
    tokens: Vec<u32>,
    /// How many of them have run.
    past: usize,
    prompt_len: usize,
    /// The most tokens there may be.
    limit: usize,
    pub forcing: Forcing,
    sampler: Sampler,
    stream: TextStream,
}

impl Sequence {
    /// Checks the request and prepares to run it; `slot` is not known yet.
    pub fn new(id: SequenceId, model: &Model, request: SequenceRequest) -> Result<Self> {
        let SequenceRequest { prompt, interventions, sampling, sample } = request;
        sampling.check()?;
        let tokens = model.check_prompt(prompt)?;
        let prompt_len = tokens.len();
        Ok(Self {
            id,
            slot: 0,
            past: 0,
            prompt_len,
            limit: model.context_len().min(prompt_len.saturating_add(sampling.max_new_tokens as usize)),
            forcing: Forcing::new(model.unit_space(), interventions, prompt_len)?,
            sampler: Sampler::new(&sampling, sample),
            stream: TextStream::new(model.text(), &tokens)?,
            tokens,
        })
    }

    /// Slots that its keys need.
    pub fn slots(&self) -> usize {
        self.limit
    }

    /// Position of the first token that has not run.
    pub fn past(&self) -> usize {
        self.past
    }

    /// Tokens that have not run: the prompt at first, then the last one drawn.
    pub fn pending(&self) -> &[u32] {
        &self.tokens[self.past..]
    }

    /// Draws the next token from its logits `[token]`; all pending tokens have run.
    pub fn advance(&mut self, model: &Model, logits: Vec<f32>) -> Result<StepEvent> {
        self.past = self.tokens.len();
        let text = model.text();
        let Some(token) = self.sampler.draw(logits, &self.tokens)? else {
            let text = self.stream.finish(text)?;
            return Ok(self.event(None, text, Some(FinishReason::NotFinite)));
        };
        self.tokens.push(token);
        let reason = if text.is_end(token) {
            Some(FinishReason::EndOfText)
        } else {
            (self.tokens.len() >= self.limit).then_some(FinishReason::Length)
        };
        let mut new = if text.is_end(token) { String::new() } else { self.stream.push(text, token)? };
        if reason.is_some() {
            new.push_str(&self.stream.finish(text)?);
        }
        Ok(self.event(Some(token), new, reason))
    }

    fn event(&self, token: Option<u32>, text: String, reason: Option<FinishReason>) -> StepEvent {
        let finished = reason.map(|reason| Finished {
            reason,
            coverage: self.forcing.coverage(),
            prompt_tokens: self.prompt_len as u32,
            generated_tokens: (self.tokens.len() - self.prompt_len) as u32,
        });
        StepEvent { sequence: self.id, token, text, finished }
    }
}
