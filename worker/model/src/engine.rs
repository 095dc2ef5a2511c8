//! Generation: sequences join and leave at every step, and share one forward pass.

use std::{num::NonZeroU32, sync::Arc};

use candle_core::Tensor;
use rayon::prelude::*;

use crate::{
    ModelError,
    cache::{Cache, CachedKeys, position_bytes},
    error::Result,
    kernels::{paged::Run, rows::with_values},
    model::Model,
    pages::{PAGE, Page},
    queue::Queue,
    rows::Rows,
    schedule::schedule,
    sequence::{Sequence, SequenceId, SequenceRequest, StepEvent, Work},
    steer::Steer,
};

/// Sequences that run at the same time at most, unless told otherwise.
const SEQUENCES: NonZeroU32 = NonZeroU32::new(256).expect("it is not zero");

/// What an engine may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Bytes of keys and values at most; a sequence has all that it can need before it begins.
    pub kv_bytes: u64,
    /// Sequences at most that run at the same time.
    pub sequences: NonZeroU32,
    /// Rows of prompts that run at most in a step beside sequences that generate: more let prompts be through sooner and make the
    /// others' tokens come slower.
    pub prompt_rows: usize,
    /// Whether prompts that begin alike are run once.
    pub reuse: Reuse,
}

/// Whether keys and values of prompts that begin alike, under the same conditions, are computed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reuse {
    /// Once for all samples of a request, and for other requests as long as there is room.
    #[default]
    On,
    /// For each sequence; the tokens are the same.
    Off,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { kv_bytes: 4 << 30, sequences: SEQUENCES, prompt_rows: 64, reuse: Reuse::On }
    }
}

/// How full an engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineLoad {
    /// Sequences that run.
    pub running: usize,
    /// Sequences that wait for room.
    pub waiting: usize,
    /// Positions whose keys and values are reserved by those that run.
    pub positions: usize,
    /// Positions that there is room for.
    pub room: usize,
}

/// Continues any number of texts at once; each with its own conditions, settings and random stream.
///
/// A sequence's tokens are the same whatever runs beside it, in however many pieces its prompt runs, and whether or not another had
/// run it before.
pub struct Engine {
    model: Arc<Model>,
    options: EngineOptions,
    cache: Cache,
    /// In the order in which they began.
    running: Vec<Sequence>,
    waiting: Queue,
    next: u64,
}

impl Engine {
    /// Without sequences.
    pub fn new(model: Arc<Model>, options: EngineOptions) -> Self {
        let pages = (options.kv_bytes / page_bytes(&model)).min(u64::from(Page::MAX));
        let cache = Cache::new(pages as usize, model.decoder().blocks.len());
        Self { model, options, cache, running: Vec::new(), waiting: Queue::default(), next: 0 }
    }

    /// Takes a text to continue, one sequence for each sample; their first tokens come with one of the next steps.
    ///
    /// # Errors
    /// If the prompt or a setting is out of range, or one sequence alone needs more keys and values than the budget allows; other
    /// sequences go on. One that is to go on to the end of the context ends where the budget does.
    pub fn join(&mut self, request: SequenceRequest) -> Result<Vec<SequenceId>> {
        let samples = request.samples.clone();
        let room = self.load().room;
        let work = Arc::new(Work::new(&self.model, request, room)?);
        let positions = work.positions();
        if positions > room {
            return Err(ModelError::NoRoom { positions, room });
        }
        let sequences: Vec<_> = samples.map(|sample| (self.number(), sample)).collect();
        let ids = sequences.iter().map(|(id, _)| *id).collect();
        self.waiting.push(work, sequences);
        Ok(ids)
    }

    /// What it was made with.
    pub fn options(&self) -> EngineOptions {
        self.options
    }

    /// Bytes of the least that keys and values are given out in.
    pub fn page_bytes(&self) -> u64 {
        page_bytes(&self.model)
    }

    fn number(&mut self) -> SequenceId {
        self.next += 1;
        SequenceId(self.next)
    }

    /// Lets those begin that there is room for, and runs one forward pass: a token for every sequence that generates, a piece of some
    /// prompts.
    ///
    /// A sequence whose event says `finished` has left.
    ///
    /// # Errors
    /// If the computation fails: the device is at fault, not a sequence, and the engine is best dropped.
    pub fn step(&mut self) -> Result<Vec<StepEvent>> {
        self.admit();
        let pending: Vec<_> =
            self.running.iter().enumerate().filter_map(|(place, sequence)| sequence.pending_at(place)).collect();
        let scheduled = schedule(&pending, self.options.prompt_rows);
        if scheduled.is_empty() {
            return Ok(Vec::new());
        }

        let mut rows = Rows::default();
        let mut steer = Steer::default();
        let mut runs = Vec::with_capacity(scheduled.len());
        // Places of sequences that draw a token, and the rows that they draw from.
        let mut drawing: Vec<(usize, u32)> = Vec::new();
        for &(place, count) in &scheduled {
            let sequence = &mut self.running[place];
            let (first_row, past) = (rows.len(), sequence.past());
            let tokens = &sequence.pending()[..count];
            rows.push_tokens(tokens, past);
            runs.push(Run { first_row, rows: count, past, pages: sequence.pages.clone() });
            steer.force.add(&mut sequence.forcing, first_row, past, count);
            if count == sequence.pending().len() {
                let row = rows.len() - 1;
                drawing.push((place, row as u32));
                steer.watching.add(row, &sequence.work.watch);
            }
        }
        let mut keys = CachedKeys { cache: &mut self.cache, runs };
        let x = self.model.decoder().forward(&rows, &mut keys, &mut steer)?;

        for &(place, count) in &scheduled {
            self.running[place].has_run(count, &mut self.cache.pages, self.options.reuse);
        }
        let mut draws: Vec<Option<Draw>> = self.running.iter().map(|_| None).collect();
        let mut observed: std::collections::BTreeMap<usize, Vec<f32>> = steer.watching.finish().collect();
        for (number, (place, row)) in drawing.iter().enumerate() {
            let observed = observed.remove(&(*row as usize)).unwrap_or_default();
            draws[*place] = Some(Draw { number, observed });
        }
        self.follow(&mut draws)?;
        let events = self.draw(&x, (&drawing, draws))?;
        for event in events.iter().filter(|event| event.finished.is_some()) {
            self.leave(event.sequence);
        }
        Ok(events)
    }

    /// Draws a token for every sequence that has a draw, from the residual stream `x` `[row, width]`.
    fn draw(&mut self, x: &Tensor, (drawing, draws): (&[(usize, u32)], Vec<Option<Draw>>)) -> Result<Vec<StepEvent>> {
        if drawing.is_empty() {
            return Ok(Vec::new());
        }
        let chosen: Vec<u32> = drawing.iter().map(|(_, row)| *row).collect();
        let logits = self.model.decoder().logits(x, &chosen)?;
        let (model, running) = (&*self.model, &mut self.running);
        with_values(&logits, |logits| {
            let width = logits.len() / chosen.len();
            let drawn = running.par_iter_mut().zip(draws).filter_map(|(sequence, draw)| {
                let Draw { number, observed } = draw?;
                Some(sequence.advance(model, &logits[number * width..][..width], observed))
            });
            drawn.collect()
        })?
    }

    /// Where a prompt is through that other samples of its request wait for, they go on from there: they share its full pages, have
    /// its last one copied, and draw from the same logits.
    fn follow(&mut self, draws: &mut [Option<Draw>]) -> Result<()> {
        let mut copies = Vec::new();
        for place in 0..self.running.len() {
            let Some(leader) = self.running[place].leader else { continue };
            let Some(leading) = self.running.iter().position(|sequence| sequence.id == leader) else { continue };
            let Some(draw) = &draws[leading] else { continue };
            draws[place] = Some(draw.clone());
            let (leader, own) = (self.running[leading].pages.clone(), &mut self.running[place]);
            copies.extend(own.follow(&leader));
        }
        Ok(self.cache.copy(&copies)?)
    }

    /// Lets sequences begin as long as there is room.
    fn admit(&mut self) {
        while self.running.len() < self.options.sequences.get() as usize {
            let Some((work, id, sample)) = self.waiting.next() else { return };
            let count = work.positions().div_ceil(PAGE);
            let leader = match self.options.reuse {
                Reuse::On => self.running.iter().find(|running| running.leads(work)),
                Reuse::Off => None,
            };
            let taken = match leader {
                Some(leader) => {
                    let shared = &leader.pages[..work.prompt.len() / PAGE];
                    self.cache.pages.share(shared, count).map(|pages| (pages, 0))
                }
                None => {
                    self.cache.pages.take(if self.options.reuse == Reuse::On { work.reusable() } else { &[] }, count)
                }
            };
            let Some((pages, shared)) = taken else { return };
            let mut sequence = Sequence::new((id, sample), Arc::clone(work), pages);
            sequence.leader = leader.map(|leader| leader.id);
            sequence.skip(shared);
            let turns = self.running.iter().filter(|running| running.pending().len() > 1).map(|running| running.turns);
            sequence.turns = turns.min().unwrap_or(0);
            self.running.push(sequence);
            self.waiting.advance();
        }
    }

    /// Drops a sequence; one that has left already is no error.
    pub fn leave(&mut self, id: SequenceId) {
        let Some(place) = self.running.iter().position(|sequence| sequence.id == id) else {
            return self.waiting.remove(id);
        };
        let gone = self.running.remove(place);
        // Of those that waited for its prompt, one goes on with it.
        let mut heir = None;
        for follower in self.running.iter_mut().filter(|sequence| sequence.leader == Some(id)) {
            follower.leader = heir;
            if heir.is_none() {
                follower.skip(gone.past() / PAGE);
                heir = Some(follower.id);
            }
        }
        self.cache.pages.release(&gone.pages);
    }

    /// How many sequences have not left, whether they run or wait.
    pub fn active(&self) -> usize {
        self.running.len() + self.waiting.len()
    }

    /// How full it is.
    pub fn load(&self) -> EngineLoad {
        EngineLoad {
            running: self.running.len(),
            waiting: self.waiting.len(),
            positions: self.cache.pages.held() * PAGE,
            room: self.cache.pages.capacity() * PAGE,
        }
    }
}

/// Bytes of a page's keys and values in all blocks.
fn page_bytes(model: &Model) -> u64 {
    let blocks = model.decoder().blocks.iter();
    (blocks.map(|block| position_bytes(block.attention.heads)).sum::<usize>() * PAGE) as u64
}

/// What a sequence draws from.
#[derive(Clone, Debug)]
struct Draw {
    /// Row of the logits.
    number: usize,
    /// What was observed there.
    observed: Vec<f32>,
}
