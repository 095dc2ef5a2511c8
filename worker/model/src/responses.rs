//! Responses: activations pooled over each sentence's tokens, captured by a hook.

use std::sync::Arc;

use candle_core::Tensor;
use lode_domain::{
    pooling::Pooling,
    unit::{UnitId, UnitSpace},
};
use rayon::prelude::*;

use crate::{ModelError, error::Result, hook::Hook, kernels::pool::pool, prepared::Prepared};

/// Responses of all units to the sentences of a batch, `[sentence, unit]`: finite, and never -0.0.
#[derive(Clone, Debug, PartialEq)]
pub struct Responses {
    units: usize,
    values: Vec<f32>,
}

impl Responses {
    /// Number of sentences.
    pub fn sentences(&self) -> usize {
        self.values.len() / self.units
    }

    /// Number of units.
    pub fn units(&self) -> usize {
        self.units
    }

    /// Responses of all units to sentence number `sentence` of the batch, `[unit]`.
    ///
    /// # Panics
    /// If `sentence` is not below [`Self::sentences`].
    pub fn row(&self, sentence: usize) -> &[f32] {
        &self.values[sentence * self.units..(sentence + 1) * self.units]
    }
}

/// The hook that pools: no activation outlives its layer.
pub(crate) struct Capture<'a> {
    space: Arc<UnitSpace>,
    pooling: Pooling,
    batch: &'a [&'a Prepared],
    /// First row of each sentence.
    starts: Vec<usize>,
    /// `[sentence, unit]`.
    pooled: Vec<f32>,
}

impl<'a> Capture<'a> {
    /// For a batch whose sentences stand back to back, in order.
    pub fn new(space: Arc<UnitSpace>, pooling: Pooling, batch: &'a [&'a Prepared]) -> Self {
        let starts = batch.iter().scan(0, |next, sentence| {
            let start = *next;
            *next += sentence.len();
            Some(start)
        });
        let starts = starts.collect();
        let pooled = vec![0.0; batch.len() * space.len()];
        Self { space, pooling, batch, starts, pooled }
    }

    /// What was pooled, once the forward pass is through.
    pub fn finish(mut self) -> Result<Responses> {
        let units = self.space.len();
        for (sentence, row) in self.pooled.chunks_exact_mut(units).enumerate() {
            if let Some(unit) = row.iter().position(|value| !value.is_finite()) {
                let unit = self.space.name(UnitId(unit as u32));
                return Err(ModelError::ResponseNotFinite { unit, sentence });
            }
            // Adding 0.0 makes 0.0 of -0.0: equal numbers, equal bits.
            row.iter_mut().for_each(|value| *value += 0.0);
        }
        Ok(Responses { units, values: self.pooled })
    }
}

impl Hook for Capture<'_> {
    fn after(&mut self, layer: usize, output: Tensor) -> Result<Tensor, candle_core::Error> {
        let units = self.space.range(layer);
        let total = self.space.len();
        let rows = self.pooled.par_chunks_exact_mut(total).zip(self.batch).zip(&self.starts);
        rows.try_for_each(|((pooled, sentence), &start)| {
            let activations = output.narrow(0, start, sentence.len())?;
            pool(self.pooling, &activations, &sentence.counted, &mut pooled[units.clone()])
        })?;
        Ok(output)
    }
}
