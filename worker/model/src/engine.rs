//! Generation: sequences join and leave at every step, and share one forward pass.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    cache::{Cache, CachedKeys, Kept},
    error::Result,
    model::Model,
    rows::Rows,
    sequence::{Sequence, SequenceId, SequenceRequest, StepEvent},
    steer::Steer,
};

/// Once a batch has this many rows, further sequences wait for the next step: long prompts come a few at a time.
const ROWS: usize = 2048;

/// Continues any number of texts at once; each with its own interventions, settings and random stream.
///
/// A sequence's tokens are the same whatever runs beside it.
pub struct Engine {
    model: Arc<Model>,
    cache: Cache,
    /// In the order in which they joined.
    sequences: Vec<Sequence>,
    next: u64,
}

impl Engine {
    /// Without sequences.
    pub fn new(model: Arc<Model>) -> Self {
        let cache = Cache::new(model.decoder().blocks.len());
        Self { model, cache, sequences: Vec::new(), next: 0 }
    }

    /// Takes a text to continue; its first token comes with the next step.
    ///
    /// # Errors
    /// If the prompt, a setting or an intervention is out of range; other sequences go on.
    pub fn join(&mut self, request: SequenceRequest) -> Result<SequenceId> {
        let id = SequenceId(self.next);
        let mut sequence = Sequence::new(id, &self.model, request)?;
        sequence.slot = self.cache.reserve(sequence.slots())?;
        self.next += 1;
        self.sequences.push(sequence);
        Ok(id)
    }

    /// Draws the next token of every sequence (of the first ones, if many have long prompts), in one forward pass.
    ///
    /// A sequence whose event says `finished` has left.
    ///
    /// # Errors
    /// If the computation fails: the device is at fault, not a sequence, and the engine is best dropped.
    pub fn step(&mut self) -> Result<Vec<StepEvent>> {
        let mut rows = Rows::default();
        let mut steer = Steer::default();
        let mut kept = Vec::new();
        let mut last_rows = Vec::new();
        for sequence in &mut self.sequences {
            if rows.len() >= ROWS {
                break;
            }
            let (first_row, past, slot) = (rows.len(), sequence.past(), sequence.slot);
            rows.push(sequence.pending(), past, slot, usize::MAX);
            kept.push(Kept { first_row, rows: rows.len() - first_row, slot: slot + past });
            last_rows.push((rows.len() - 1) as u32);
            steer.force.add(&mut sequence.forcing, first_row, past, rows.len() - first_row);
            steer.watching.add(rows.len() - 1, &sequence.watch);
        }
        if last_rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut keys = CachedKeys { cache: &mut self.cache, kept };
        let decoder = self.model.decoder();
        let x = decoder.forward(&rows, &mut keys, &mut steer)?;
        let logits = decoder.logits(&x, &last_rows)?.to_vec2::<f32>()?;
        let mut observed: BTreeMap<usize, Vec<f32>> = steer.watching.finish().collect();

        let model = &self.model;
        let events: Vec<StepEvent> = self
            .sequences
            .iter_mut()
            .zip(last_rows.iter().zip(logits))
            .map(|(sequence, (row, logits))| {
                let observed = observed.remove(&(*row as usize)).unwrap_or_default();
                sequence.advance(model, &logits, observed)
            })
            .collect::<Result<_>>()?;
        for event in events.iter().filter(|event| event.finished.is_some()) {
            self.leave(event.sequence);
        }
        Ok(events)
    }

    /// Drops a sequence; one that has left already is no error.
    pub fn leave(&mut self, id: SequenceId) {
        if let Some(place) = self.sequences.iter().position(|sequence| sequence.id == id) {
            self.cache.release(self.sequences.remove(place).slot);
        }
    }

    /// How many sequences are under way.
    pub fn active(&self) -> usize {
        self.sequences.len()
    }
}
