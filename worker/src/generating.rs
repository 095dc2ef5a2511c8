//! Sequences that are being generated, and who waits for them.

use std::{collections::BTreeMap, sync::Arc};

use lode_domain::generation::GenerateEvent;
use lode_model::{Engine, Model, SequenceId};
use lode_ops::pause_at;
use lode_proto::Fault;
use tokio::sync::mpsc::Sender;

use crate::{device::GenerateTask, fault::of_model, metrics};

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
    engine: Engine,
    owners: BTreeMap<SequenceId, Owner>,
    /// Steps so far.
    steps: u64,
    /// What the gauge of active sequences has of this one's.
    told_active: i64,
}

impl Generating {
    pub(crate) fn new(model: Arc<Model>) -> Self {
        Self { engine: Engine::new(model.clone()), model, owners: BTreeMap::new(), steps: 0, told_active: 0 }
    }

    /// Whether nothing is being generated.
    pub(crate) fn is_idle(&self) -> bool {
        self.owners.is_empty()
    }

    /// Lets all samples of a request join; if one cannot, none does.
    pub(crate) fn start(&mut self, task: GenerateTask) {
        pause_at("worker-first-token");
        let mut joined = Vec::new();
        for sequence in task.sequences {
            let sample = sequence.sample;
            match self.engine.join(sequence) {
                Ok(id) => joined.push((id, Owner { events: task.events.clone(), sample })),
                Err(error) => {
                    joined.into_iter().for_each(|(id, _)| self.engine.leave(id));
                    // See `Owner::tell`.
                    let _ = task.events.try_send(Err(of_model(error)));
                    return;
                }
            }
        }
        self.owners.extend(joined);
        self.tell_active();
    }

    /// Generates one token of every sequence.
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
            return self.tell_active();
        }
        let steps = match self.engine.step() {
            Ok(steps) => steps,
            Err(error) => return self.fail(&of_model(error)),
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
        self.tell_active();
        self.steps += 1;
        if self.steps == 4 {
            pause_at("worker-mid-text");
        }
    }

    /// Told as a change: the workers of an embedded cluster count together.
    fn tell_active(&mut self) {
        let active = self.owners.len() as i64;
        metrics::SEQUENCES_ACTIVE.change(active - std::mem::replace(&mut self.told_active, active));
    }

    /// Ends all sequences with an error; the next ones start on a fresh engine.
    fn fail(&mut self, fault: &Fault) {
        std::mem::take(&mut self.owners).values().for_each(|owner| owner.tell(Err(fault.clone())));
        self.engine = Engine::new(self.model.clone());
        self.tell_active();
    }
}
