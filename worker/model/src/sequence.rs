//! One sequence of an engine: what was asked for, and how far it has come.

use std::{ops::Range, sync::Arc};

use lode_domain::{
    generation::{FinishReason, Finished, Logprobs, TokenScore},
    guide::Reader,
    sampling::Sampling,
};

use crate::{
    engine::Reuse,
    error::{ModelError, Result},
    force::{Conditions, Forcing},
    guide::Guiding,
    logprobs::{largest, log_total},
    model::Model,
    pages::{PAGE, Page, PageName, Pages},
    prefix::{START, name_page},
    sampler::{Before, Sampler},
    schedule::{Pending, TURN},
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
    /// What weighs the next tokens.
    pub guide: Option<Arc<Reader>>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Numbers of the samples: each draws from a random stream of its own.
    pub samples: Range<u32>,
}

impl SequenceRequest {
    /// One sample of a prompt that `model` continues, with nothing forced or observed.
    pub fn new(model: &Model, prompt: &[u32], sampling: Sampling) -> Self {
        let space = Arc::clone(model.unit_space());
        let conditions = Arc::new(Conditions::new(space, Vec::new()));
        Self { prompt: prompt.into(), conditions, watch: Arc::default(), guide: None, sampling, samples: 0..1 }
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

/// What all samples of a request have in common.
pub(crate) struct Work {
    /// Checked, and not empty.
    pub prompt: Vec<u32>,
    /// Of the prompt's full pages.
    pub names: Vec<PageName>,
    conditions: Arc<Conditions>,
    pub watch: Arc<Watch>,
    guide: Option<Arc<Reader>>,
    sampling: Sampling,
    /// The most tokens there may be.
    limit: usize,
    /// As it stands at the end of the prompt.
    stream: TextStream,
}

impl Work {
    /// Checks the request; there is room for `room` positions in all.
    pub fn new(model: &Model, request: SequenceRequest, room: usize) -> Result<Self> {
        let SequenceRequest { prompt, conditions, watch, guide, sampling, .. } = request;
        sampling.check()?;
        let prompt = model.check_prompt(prompt.to_vec())?;
        let vocab = model.vocab_len();
        if let Some(&token) = sampling.logit_bias.keys().find(|token| **token as usize >= vocab) {
            return Err(ModelError::UnknownToken { token, vocab });
        }
        let len = prompt.len();
        let asked = len.saturating_add(sampling.max_new_tokens as usize);
        let limit = match model.context_len() {
            // Whoever asks for all that there may be gets all that there can be.
            context if asked >= context => context.min((room + 1).max(len + 1)),
            _ => asked,
        };
        let name = |before: &mut PageName, page| {
            *before = name_page(*before, page, &prompt, (&conditions, len));
            Some(*before)
        };
        Ok(Self {
            names: (0..len / PAGE).scan(START, name).collect(),
            limit,
            stream: TextStream::new(model.text(), &prompt)?,
            prompt,
            conditions,
            watch,
            guide,
            sampling,
        })
    }

    /// Positions whose keys and values a sequence can need: the last token does not run.
    pub fn positions(&self) -> usize {
        self.limit - 1
    }

    /// Names of the pages that may be taken from others: the prompt's last token runs in any case, for what it draws.
    pub fn reusable(&self) -> &[PageName] {
        &self.names[..(self.prompt.len() - 1) / PAGE]
    }
}

/// A sequence under way.
pub(crate) struct Sequence {
    pub id: SequenceId,
    pub work: Arc<Work>,
    /// For all positions that it can need.
    pub pages: Vec<Page>,
    /// Runs the prompt for this one, too.
    pub leader: Option<SequenceId>,
    /// See [`Pending::turns`].
    pub turns: u32,
    /// Prompt and generated tokens.
    tokens: Vec<u32>,
    /// How many of them have run.
    past: usize,
    /// Pages that are full and named, and the last one's name.
    named: (usize, PageName),
    pub forcing: Forcing,
    guiding: Option<Guiding>,
    sampler: Sampler,
    stream: TextStream,
    stops: Stops,
}

impl Sequence {
    /// Begins sample number `sample` of `work`.
    pub fn new((id, sample): (SequenceId, u32), work: Arc<Work>, pages: Vec<Page>) -> Self {
        Self {
            id,
            pages,
            leader: None,
            turns: 0,
            tokens: work.prompt.clone(),
            past: 0,
            named: (0, START),
            forcing: Forcing::new(Arc::clone(&work.conditions), work.prompt.len()),
            guiding: work.guide.clone().map(Guiding::new),
            sampler: Sampler::new(&work.sampling, sample),
            stream: work.stream.clone(),
            stops: Stops::new(work.sampling.stop.clone()),
            work,
        }
    }

    /// Position of the first token that has not run.
    pub fn past(&self) -> usize {
        self.past
    }

    /// Tokens that have not run: the prompt at first, then the last one drawn.
    pub fn pending(&self) -> &[u32] {
        &self.tokens[self.past..]
    }

    /// What it could run, as number `place` of the running ones; nothing while another runs its prompt.
    pub fn pending_at(&self, place: usize) -> Option<Pending> {
        let pending = Pending { place, tokens: self.pending().len(), turns: self.turns };
        self.leader.is_none().then_some(pending)
    }

    /// Whether it is about to run the prompt of `work`.
    pub fn leads(&self, work: &Arc<Work>) -> bool {
        Arc::ptr_eq(&self.work, work) && self.leader.is_none() && self.past < work.prompt.len()
    }

    /// Leaves the first `pages` pages out, which hold what it would compute.
    pub fn skip(&mut self, pages: usize) {
        self.forcing.pass(self.past..pages * PAGE);
        self.past = pages * PAGE;
        self.named = (pages, pages.checked_sub(1).map_or(START, |last| self.work.names[last]));
    }

    /// Goes on from where `leader`, whose pages these are, has come: to the prompt's end. Gives the pages to copy, `(from, to)`.
    pub fn follow(&mut self, leader: &[Page]) -> Option<(Page, Page)> {
        let len = self.work.prompt.len();
        self.leader = None;
        self.skip(len / PAGE);
        self.forcing.pass(self.past..len);
        self.past = len;
        let last = len / PAGE;
        (!len.is_multiple_of(PAGE)).then(|| (leader[last], self.pages[last]))
    }

    /// Notes that `rows` pending tokens have run, and names the pages that they filled.
    pub fn has_run(&mut self, rows: usize, pages: &mut Pages, reuse: Reuse) {
        self.past += rows;
        self.turns += rows.div_ceil(TURN) as u32;
        let (named, name) = &mut self.named;
        while reuse == Reuse::On && (*named + 1) * PAGE <= self.past {
            let work = &self.work;
            *name = name_page(*name, *named, &self.tokens, (&work.conditions, work.prompt.len()));
            pages.name(self.pages[*named], *name);
            *named += 1;
        }
    }

    /// Draws the next token from its logits `[token]`; all pending tokens have run.
    pub fn advance(&mut self, model: &Model, logits: &[f32], observed: Vec<f32>) -> Result<StepEvent> {
        let text = model.text();
        let (prompt, generated) = self.tokens.split_at(self.work.prompt.len());
        let weighed = self.guiding.as_mut().map(|guiding| guiding.weigh(logits, &self.tokens));
        let mut event = StepEvent {
            sequence: self.id,
            token: self.sampler.draw(weighed.as_deref().unwrap_or(logits), Before { prompt, generated }),
            text: String::new(),
            logprobs: None,
            observed,
            finished: None,
        };
        let Some(token) = event.token else {
            event.finished = Some(self.finished(FinishReason::NotFinite));
            return Ok(event);
        };
        event.logprobs = self.work.sampling.logprobs.map(|top| self.scores(model, logits, (token, top))).transpose()?;
        self.tokens.push(token);
        let mut reason = if text.is_end(token) {
            Some(FinishReason::EndOfText)
        } else {
            (self.tokens.len() >= self.work.limit).then_some(FinishReason::Length)
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
            prompt_tokens: self.work.prompt.len() as u32,
            generated_tokens: (self.tokens.len() - self.work.prompt.len()) as u32,
        }
    }
}
