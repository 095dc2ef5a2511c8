//! The device has one owner: a thread that runs one forward pass after the other.
//!
//! Mining, generation and scoring share it by turns: one batch of sentences, then steps of all sequences for as long as they are to
//! have the device ([`Shares`]), then one batch of passages. Summaries are made on a thread of their own, so that neither generation nor the next shard need wait for them; a
//! shard only waits while the responses of those before it leave no room for its own within the memory budget.

use std::{
    collections::VecDeque,
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use lode_domain::{event::ShardEvent, generation::GenerateEvent};
use lode_model::{Model, Responses, SequenceRequest};
use lode_proto::Fault;
use tokio::sync::{mpsc::Sender, oneshot};
use tracing::Span;

use crate::{
    fault::{device_died, of_model},
    generating::Generating,
    held::Held,
    metrics,
    score::{Events, Gone, summarise},
    scoring::{ScoreTask, Scoring},
    shard::{PreparedShard, Step},
    shares::{Shares, TextShare},
    stages::Stage,
};

/// What the device can be asked to do.
enum Command {
    Mine(Box<MineTask>),
    Generate(GenerateTask),
    Score(ScoreTask),
    /// A summarising thread has ended: this many bytes of responses are free.
    Summarised(u64),
}

/// A shard that runs or waits.
struct MineTask {
    shard: PreparedShard,
    events: Events,
    span: Span,
    /// How the summarising thread says that it has ended. It travels with the task so that the device thread holds no
    /// sender to itself and sees when its handles are gone.
    wake: mpsc::Sender<Command>,
}

/// A request, and who waits for it.
pub(crate) struct GenerateTask {
    pub(crate) request: SequenceRequest,
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
    ///
    /// `budget` is how many bytes of responses the shards hold in memory, all together.
    pub(crate) fn start(
        model: Arc<Model>,
        (held, budget): (Held, u64),
        (generating, share): (Generating, TextShare),
    ) -> (Self, oneshot::Receiver<()>) {
        let (commands, inbox) = mpsc::channel();
        let (alive, died) = oneshot::channel();
        // Detached: it ends with its handles, or with the process.
        thread::spawn(move || {
            let _alive: oneshot::Sender<()> = alive;
            let mining = Mining { held, budget, ..Mining::default() };
            let shares = Shares::new(share);
            Turns { inbox, model, mining, generating, scoring: Scoring::default(), shares }.run();
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

    /// Scores continuations; the answer, an error too, goes where the task says.
    pub(crate) fn score(&self, task: ScoreTask) -> Result<(), Fault> {
        self.commands.send(Command::Score(task)).map_err(|_| device_died())
    }
}

/// The device thread.
struct Turns {
    inbox: mpsc::Receiver<Command>,
    model: Arc<Model>,
    mining: Mining,
    generating: Generating,
    scoring: Scoring,
    shares: Shares,
}

impl Turns {
    fn run(mut self) {
        loop {
            if self.mining.is_idle() && self.generating.is_idle() && self.scoring.is_idle() {
                match self.inbox.recv() {
                    Ok(command) => self.take(command),
                    Err(mpsc::RecvError) => return,
                }
            }
            self.take_all();
            if !self.mining.is_idle() {
                let started = Instant::now();
                self.mining.step(&self.model);
                self.shares.mined(started.elapsed());
            }
            self.generate();
            self.scoring.step(&self.model);
        }
    }

    /// Steps of the texts, whoever comes and goes, until they have had their share.
    fn generate(&mut self) {
        loop {
            let started = Instant::now();
            self.generating.step();
            let is_on = self.shares.generated(started.elapsed());
            self.take_all();
            if !is_on || self.generating.is_idle() {
                return;
            }
        }
    }

    fn take_all(&mut self) {
        while let Ok(command) = self.inbox.try_recv() {
            self.take(command);
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Mine(task) => self.mining.waiting.push_back(*task),
            Command::Generate(task) => self.generating.start(task),
            Command::Score(task) => self.scoring.take(task),
            Command::Summarised(bytes) => self.mining.summarised(bytes),
        }
    }
}

/// Shards that run, wait or are being summarised.
#[derive(Default)]
struct Mining {
    current: Option<MineTask>,
    waiting: VecDeque<MineTask>,
    /// Shards that are being summarised, and the bytes of their responses in memory.
    summarising: u32,
    summarising_bytes: u64,
    budget: u64,
    held: Held,
}

impl Mining {
    /// Whether there is no forward pass to run at the moment.
    fn is_idle(&self) -> bool {
        self.current.is_none() && !self.waiting.front().is_some_and(|next| self.has_room(next))
    }

    /// Whether a shard may begin: its responses fit beside those that are being summarised, or there are none.
    fn has_room(&self, next: &MineTask) -> bool {
        let both = self.summarising_bytes.saturating_add(next.shard.store.memory_bytes());
        self.summarising == 0 || both <= self.budget
    }

    fn summarised(&mut self, bytes: u64) {
        self.summarising = self.summarising.saturating_sub(1);
        self.summarising_bytes = self.summarising_bytes.saturating_sub(bytes);
    }

    /// Does the next step of a shard.
    fn step(&mut self, model: &Model) {
        if self.is_idle() {
            return;
        }
        let Some(mut task) = self.current.take().or_else(|| self.begin(model)) else { return };
        if task.events.is_closed() {
            return task.span.in_scope(|| tracing::info!("shard given up: nobody listens any more"));
        }
        match task.step(model, &self.held) {
            Ok(true) => self.current = Some(task),
            Ok(false) => {
                self.summarising += 1;
                self.summarising_bytes += task.shard.store.memory_bytes();
                thread::spawn(move || task.summarise());
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

    /// The next shard, now that its turn has come: what the cache holds may have changed since it was sent.
    fn begin(&mut self, model: &Model) -> Option<MineTask> {
        let mut task = self.waiting.pop_front()?;
        self.held.with(|cache| task.shard.begin(model, cache.as_deref()));
        Some(task)
    }
}

impl MineTask {
    /// Does the next step; false when all responses are there.
    fn step(&mut self, model: &Model, held: &Held) -> Result<bool, Fault> {
        match self.shard.next() {
            Step::Recall(numbers) => {
                let stages = self.shard.stages.clone();
                let recall = || held.with(|cache| cache.map(|cache| self.shard.recall(&numbers, model, cache)));
                stages.time(Stage::Recall, recall).transpose()?;
                metrics::RECALLED.add(numbers.len() as u64);
            }
            Step::Run(numbers) => self.run(&numbers, model, held)?,
            Step::Score => return Ok(false),
        }
        // Progress is for people: if nobody has read the last one yet, this one may be left out.
        let _ = self.events.try_send(Ok(ShardEvent::Progress(self.shard.progress)));
        Ok(true)
    }

    /// Runs one batch.
    fn run(&mut self, numbers: &[u32], model: &Model, held: &Held) -> Result<(), Fault> {
        let sentences: Vec<_> = numbers.iter().map(|&number| &self.shard.sentences[number as usize]).collect();
        let started = Instant::now();
        let (stages, pooling) = (self.shard.stages.clone(), self.shard.spec.recipe.pooling);
        let responses = stages.time(Stage::Forward, || model.responses(&sentences, pooling)).map_err(of_model)?;
        let tokens = sentences.iter().map(|sentence| sentence.len() as u64).sum();
        stages.time(Stage::Keep, || self.keep(numbers, responses, held))?;
        metrics::BATCH_SECONDS.observe(started.elapsed());
        metrics::TOKENS.add(tokens);
        self.shard.progress.tokens_done += tokens;
        Ok(())
    }

    /// Puts the responses of a batch into the store, and into the cache.
    fn keep(&mut self, numbers: &[u32], responses: Responses, held: &Held) -> Result<(), Fault> {
        let rows: Vec<&[f32]> = (0..responses.sentences()).map(|sentence| responses.row(sentence)).collect();
        self.shard.take(numbers, &rows)?;
        held.keep(numbers.iter().map(|&number| self.shard.key(number)), responses);
        Ok(())
    }

    /// Summarises the shard on the calling thread.
    fn summarise(self) {
        /// Tells the device even if summarising panics.
        struct Wake(mpsc::Sender<Command>, u64);
        impl Drop for Wake {
            fn drop(&mut self) {
                // A device that is gone waits for nothing.
                let _ = self.0.send(Command::Summarised(self.1));
            }
        }
        // Before all else, so that it goes after the responses, even if summarising panics.
        let _wake = Wake(self.wake.clone(), self.shard.store.memory_bytes());
        let Self { shard, events, span, .. } = self;
        let _in_span = span.entered();
        let started = Instant::now();
        match summarise(&shard, &events) {
            Ok(()) => {
                metrics::SHARDS.add(1);
                metrics::SPILLED_BYTES.add(shard.store.spilled_bytes());
                tracing::info!(
                    sentences = shard.sentences.len(),
                    concepts = shard.concepts.len(),
                    spilled_bytes = shard.store.spilled_bytes(),
                    summary_seconds = started.elapsed().as_secs_f32(),
                    "shard mined"
                );
            }
            Err(Gone) => tracing::info!("shard given up: nobody listens any more"),
        }
        // The responses go before the device may start on the next shard.
        drop(shard);
    }
}
