//! The device has one owner: a thread that runs one forward pass after the other.
//!
//! Mining and generation share it by turns: one batch of sentences, then one step of all sequences. Scoring runs on a
//! thread of its own, so that the next forward passes need not wait for it; a second shard waits until the first is
//! scored, so that only one shard's responses are held at a time.

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use lode_domain::{event::ShardEvent, generation::GenerateEvent};
use lode_model::{Model, SequenceRequest};
use lode_proto::Fault;
use tokio::sync::{mpsc::Sender, oneshot};
use tracing::Span;

use crate::{
    fault::{device_died, of_model},
    generating::Generating,
    metrics,
    score::{Events, Gone, score},
    shard::PreparedShard,
};

/// What the device can be asked to do.
enum Command {
    Mine(Box<MineTask>),
    Generate(GenerateTask),
    /// The scoring thread has ended.
    Scored,
}

/// A shard that runs or waits.
struct MineTask {
    shard: PreparedShard,
    events: Events,
    span: Span,
    /// How the scoring thread says that it has ended. It travels with the task so that the device thread holds no
    /// sender to itself and sees when its handles are gone.
    wake: mpsc::Sender<Command>,
}

/// The samples of one request; sample i is `sequences[i]`.
pub(crate) struct GenerateTask {
    pub(crate) sequences: Vec<SequenceRequest>,
    /// Has room for every event of every sample, so that the device never waits for a reader.
    pub(crate) events: Sender<Result<GenerateEvent, Fault>>,
}

/// Handle of the device thread; when the last one is dropped, the thread ends.
#[derive(Clone)]
pub(crate) struct Device {
    commands: mpsc::Sender<Command>,
}

impl Device {
    /// Starts the thread; the receiver fires when it dies.
    pub(crate) fn start(model: Arc<Model>) -> (Self, oneshot::Receiver<()>) {
        let (commands, inbox) = mpsc::channel();
        let (alive, died) = oneshot::channel();
        // Detached: it ends with its handles, or with the process.
        thread::spawn(move || {
            let _alive: oneshot::Sender<()> = alive;
            let generating = Generating::new(model.clone());
            Turns { inbox, model, mining: Mining::default(), generating }.run();
        });
        (Self { commands }, died)
    }

    /// Mines a shard; everything about it, errors too, is told to `events`.
    pub(crate) fn mine(&self, shard: PreparedShard, events: Events) -> Result<(), Fault> {
        let task = MineTask { shard, events, span: Span::current(), wake: self.commands.clone() };
        self.commands.send(Command::Mine(Box::new(task))).map_err(|_| device_died())
    }

    /// Generates; everything about it, errors too, is told to the task's events.
    pub(crate) fn generate(&self, task: GenerateTask) -> Result<(), Fault> {
        self.commands.send(Command::Generate(task)).map_err(|_| device_died())
    }
}

/// The device thread.
struct Turns {
    inbox: mpsc::Receiver<Command>,
    model: Arc<Model>,
    mining: Mining,
    generating: Generating,
}

impl Turns {
    fn run(mut self) {
        loop {
            if self.mining.is_idle() && self.generating.is_idle() {
                match self.inbox.recv() {
                    Ok(command) => self.take(command),
                    Err(mpsc::RecvError) => return,
                }
            }
            while let Ok(command) = self.inbox.try_recv() {
                self.take(command);
            }
            self.mining.step(&self.model);
            self.generating.step();
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Mine(task) => self.mining.waiting.push_back(*task),
            Command::Generate(task) => self.generating.start(task),
            Command::Scored => self.mining.scoring = false,
        }
    }
}

/// Shards that run, wait or are being scored.
#[derive(Default)]
struct Mining {
    current: Option<MineTask>,
    waiting: VecDeque<MineTask>,
    scoring: bool,
}

impl Mining {
    /// Whether there is no forward pass to run at the moment.
    fn is_idle(&self) -> bool {
        self.scoring || (self.current.is_none() && self.waiting.is_empty())
    }

    /// Runs one batch.
    fn step(&mut self, model: &Model) {
        if self.is_idle() {
            return;
        }
        let Some(mut task) = self.current.take().or_else(|| self.waiting.pop_front()) else { return };
        if task.events.is_closed() {
            return task.span.in_scope(|| tracing::info!("shard given up: nobody listens any more"));
        }
        match task.run_batch(model) {
            Ok(true) => self.current = Some(task),
            Ok(false) => {
                self.scoring = true;
                thread::spawn(move || task.score());
            }
            // Told from a thread of its own: the channel may be full, and the device must not wait for its reader.
            Err(fault) => {
                thread::spawn(move || {
                    // A receiver that is gone needs no error.
                    let _ = task.events.blocking_send(Err(fault));
                });
            }
        }
    }
}

impl MineTask {
    /// Runs the next batch; false when there is none.
    fn run_batch(&mut self, model: &Model) -> Result<bool, Fault> {
        let Some(batch) = self.shard.batches.pop_front() else { return Ok(false) };
        let sentences: Vec<_> = batch.iter().map(|&place| &self.shard.sentences[place]).collect();
        let started = Instant::now();
        let responses = model.responses(&sentences, self.shard.spec.recipe.pooling).map_err(of_model)?;
        let rows: Vec<&[f32]> = (0..responses.sentences()).map(|sentence| responses.row(sentence)).collect();
        self.shard.store.append(&rows).map_err(Fault::internal)?;
        let tokens = sentences.iter().map(|sentence| sentence.len() as u64).sum();
        metrics::BATCH_SECONDS.observe(started.elapsed());
        metrics::TOKENS.add(tokens);
        let progress = &mut self.shard.progress;
        progress.tokens_done += tokens;
        progress.sentences_done += sentences.len() as u32;
        // Progress is for people: if nobody has read the last one yet, this one may be left out.
        let _ = self.events.try_send(Ok(ShardEvent::Progress(*progress)));
        Ok(true)
    }

    /// Scores the shard on the calling thread.
    fn score(self) {
        /// Tells the device even if scoring panics.
        struct Wake(mpsc::Sender<Command>);
        impl Drop for Wake {
            fn drop(&mut self) {
                // A device that is gone waits for nothing.
                let _ = self.0.send(Command::Scored);
            }
        }
        let Self { shard, events, span, wake } = self;
        let _wake = Wake(wake);
        let _in_span = span.entered();
        let started = Instant::now();
        match score(&shard, &events) {
            Ok(()) => {
                metrics::SHARDS.add(1);
                metrics::SPILLED_BYTES.add(shard.store.spilled_bytes());
                tracing::info!(
                    sentences = shard.sentences.len(),
                    concepts = shard.concepts.len(),
                    spilled_bytes = shard.store.spilled_bytes(),
                    scoring_seconds = started.elapsed().as_secs_f32(),
                    "shard mined"
                );
            }
            Err(Gone) => tracing::info!("shard given up: nobody listens any more"),
        }
        // The responses go before the device may start on the next shard.
        drop(shard);
    }
}
