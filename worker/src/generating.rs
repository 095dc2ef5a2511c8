//! Sequences that are being generated, and who waits for them.

use std::{collections::BTreeMap, sync::Arc};

use lode_domain::generation::GenerateEvent;
use lode_model::{Engine, EngineOptions, Model, SequenceId};
use lode_ops::pause_at;
use lode_proto::Fault;
use tokio::sync::mpsc::Sender;

use crate::{
    device::GenerateTask,
    fault::{of_device, of_model},
    metrics,
};

/// Who waits for a sequence.
struct Owner {
    events: Sender<Result<GenerateEvent, Fault>>,
    sample: u32,
}

impl Owner {
    fn tell(&self, event: Result<GenerateEvent, Fault>) {
        // The channel has room for all events of its request; a receiver that is gone is noticed before the next step.
        let _ = self.events.try_send(event);
    }
}

/// The engine and its sequences' owners.
pub(crate) struct Generating {
    model: Arc<Model>,
    options: EngineOptions,
    engine: Engine,
    owners: BTreeMap<SequenceId, Owner>,
    /// Steps so far.
    steps: u64,
    /// What the gauges have of this one's.
    told: Told,
}

/// What gauges were told.
#[derive(Clone, Copy, Default)]
struct Told {
    running: i64,
    waiting: i64,
    positions: i64,
}

impl Generating {
    pub(crate) fn new(model: Arc<Model>, engine: Engine) -> Self {
        let options = engine.options();
        Self { model, options, engine, owners: BTreeMap::new(), steps: 0, told: Told::default() }
    }

    /// Whether nothing is being generated.
    pub(crate) fn is_idle(&self) -> bool {
        self.owners.is_empty()
    }

    /// Lets all samples of a request join, or none.
    pub(crate) fn start(&mut self, task: GenerateTask) {
        pause_at("worker-first-token");
        let samples = task.request.samples.clone();
        match self.engine.join(task.request) {
            Ok(ids) => {
                let owner = |sample| Owner { events: task.events.clone(), sample };
                self.owners.extend(ids.into_iter().zip(samples.map(owner)));
            }
            // See `Owner::tell`.
            Err(error) => drop(task.events.try_send(Err(of_model(error)))),
        }
        self.tell_load();
    }

    /// Does one step of the engine.
    pub(crate) fn step(&mut self) {
        let engine = &mut self.engine;
        self.owners.retain(|id, owner| {
            let waited_for = !owner.events.is_closed();
            if !waited_for {
                engine.leave(*id);
            }
            waited_for
        });
        if self.owners.is_empty() {
            return self.tell_load();
        }
        let steps = match self.engine.step() {
            Ok(steps) => steps,
            Err(error) => return self.fail(&of_device(&error)),
        };
        for step in steps {
            let Some(owner) = self.owners.get(&step.sequence) else { continue };
            let sample = owner.sample;
            if let Some(token) = step.token {
                metrics::TOKENS_GENERATED.add(1);
                let (text, logprobs, observed) = (step.text, step.logprobs, step.observed);
                owner.tell(Ok(GenerateEvent::Token { sample, token, text, logprobs, observed }));
            }
            if let Some(finished) = step.finished {
                owner.tell(Ok(GenerateEvent::Finished { sample, finished }));
                self.owners.remove(&step.sequence);
            }
        }
        self.tell_load();
        self.steps += 1;
        if self.steps == 4 {
            pause_at("worker-mid-text");
        }
    }

    /// Gauges are told changes: the workers of an embedded cluster count together.
    fn tell_load(&mut self) {
        let load = self.engine.load();
        let now = Told { running: load.running as i64, waiting: load.waiting as i64, positions: load.positions as i64 };
        let before = std::mem::replace(&mut self.told, now);
        metrics::SEQUENCES_ACTIVE.change(now.running - before.running);
        metrics::SEQUENCES_WAITING.change(now.waiting - before.waiting);
        metrics::KV_POSITIONS.change(now.positions - before.positions);
    }

    /// Ends all sequences with an error; the next ones start on a fresh engine.
    fn fail(&mut self, fault: &Fault) {
        std::mem::take(&mut self.owners).values().for_each(|owner| owner.tell(Err(fault.clone())));
        self.engine = Engine::new(self.model.clone(), self.options);
        self.tell_load();
    }
}
