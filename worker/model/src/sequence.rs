//! One sequence of an engine: what was asked for, and how far it has come.

use std::sync::Arc;

use lode_domain::{
    generation::{FinishReason, Finished, Logprobs, TokenScore},
    sampling::Sampling,
};

use crate::{
    error::Result,
    force::{Conditions, Forcing},
    logprobs::{largest, log_total},
    model::Model,
    sampler::Sampler,
    stops::{Stopped, Stops},
    stream::TextStream,
    watch::Watch,
};

/// A text to continue.
#[derive(Clone, Debug)]
pub struct SequenceRequest {
    /// Token ids of the prompt; if empty, the token that begins a text.
    pub prompt: Arc<[u32]>,
    /// What is forced.
    pub conditions: Arc<Conditions>,
    /// What is observed.
    pub watch: Arc<Watch>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Which of the request's samples this is: each draws from a random stream of its own.
    pub sample: u32,
}

impl SequenceRequest {
    /// The first sample of a prompt that `model` continues, with nothing forced or observed.
    pub fn new(model: &Model, prompt: &[u32], sampling: Sampling) -> Self {
        let space = Arc::clone(model.unit_space());
        let conditions = Arc::new(Conditions::new(space, Vec::new()));
        Self { prompt: prompt.into(), conditions, watch: Arc::default(), sampling, sample: 0 }
    }
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
    /// Text that is complete now: what was generated so far, less what earlier events gave and what may become a stop text. Never
    /// half a character.
    pub text: String,
    /// How probable the token was, where that was asked for.
    pub logprobs: Option<Logprobs>,
    /// How strongly each observed concept's experts responded where the token was drawn.
    pub observed: Vec<f32>,
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
    pub watch: Arc<Watch>,
    sampler: Sampler,
    stream: TextStream,
    stops: Stops,
    logprobs: Option<u32>,
}

impl Sequence {
    /// Checks the request and prepares to run it; `slot` is not known yet.
    pub fn new(id: SequenceId, model: &Model, request: SequenceRequest) -> Result<Self> {
        let SequenceRequest { prompt, conditions, watch, sampling, sample } = request;
        sampling.check()?;
        let tokens = model.check_prompt(prompt.to_vec())?;
        let prompt_len = tokens.len();
        Ok(Self {
            id,
            slot: 0,
            past: 0,
            prompt_len,
            limit: model.context_len().min(prompt_len.saturating_add(sampling.max_new_tokens as usize)),
            forcing: Forcing::new(conditions, prompt_len),
            watch,
            sampler: Sampler::new(&sampling, sample),
            stream: TextStream::new(model.text(), &tokens)?,
            stops: Stops::new(sampling.stop),
            logprobs: sampling.logprobs,
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
    pub fn advance(&mut self, model: &Model, logits: &[f32], observed: Vec<f32>) -> Result<StepEvent> {
        self.past = self.tokens.len();
        let text = model.text();
        let mut event = StepEvent {
            sequence: self.id,
            token: self.sampler.draw(logits, &self.tokens)?,
            text: String::new(),
            logprobs: None,
            observed,
            finished: None,
        };
        let Some(token) = event.token else {
            event.finished = Some(self.finished(FinishReason::NotFinite));
            return Ok(event);
        };
        event.logprobs = self.logprobs.map(|top| self.scores(model, logits, (token, top))).transpose()?;
        self.tokens.push(token);
        let mut reason = if text.is_end(token) {
            Some(FinishReason::EndOfText)
        } else {
            (self.tokens.len() >= self.limit).then_some(FinishReason::Length)
        };
        let mut new = if text.is_end(token) { String::new() } else { self.stream.push(text, token)? };
        if reason.is_some() {
            new.push_str(&self.stream.finish(text)?);
        }
        let (mut new, stopped) = self.stops.push(new);
        if stopped == Stopped::Yes {
            reason = Some(FinishReason::Stop);
        } else if reason.is_some() {
            new.push_str(&self.stops.finish());
        }
        event.text = new;
        event.finished = reason.map(|reason| self.finished(reason));
        Ok(event)
    }

    /// How probable the drawn token is, and the `top` most probable ones, after what there is so far.
    fn scores(&self, model: &Model, logits: &[f32], (drawn, top): (u32, u32)) -> Result<Logprobs> {
        let total = log_total(logits);
        let before = self.tokens[self.tokens.len() - 1];
        let scored = |token: u32| {
            let logprob = (f64::from(logits[token as usize]) - total) as f32;
            Ok(TokenScore { token, text: model.text().piece(before, token)?, logprob })
        };
        let top = largest(logits, top as usize).into_iter().map(scored).collect::<Result<_>>()?;
        Ok(Logprobs { drawn: scored(drawn)?, top })
    }

    fn finished(&self, reason: FinishReason) -> Finished {
        Finished {
            reason,
            coverage: self.forcing.coverage(),
            prompt_tokens: self.prompt_len as u32,
            generated_tokens: (self.tokens.len() - self.prompt_len) as u32,
        }
    }
}
