//! Observation as a hook: the values of observed units are read as they come by, at no extra forward pass.

use std::sync::Arc;

use candle_core::{Result as TensorResult, Tensor};
use lode_domain::{
    observation::{Observation, ObservedUnit},
    unit::UnitSpace,
};

use crate::{ModelError, error::Result, kernels::write::read};

/// All observations of one request; its samples share them.
#[derive(Debug, Default)]
pub struct Watch {
    /// By layer: which observation, index within the layer, and the measures.
    layers: Vec<Vec<(usize, u32, ObservedUnit)>>,
    /// Units of each observation.
    units: Vec<usize>,
}

impl Watch {
    /// Finds the units in the layers.
    ///
    /// # Errors
    /// If a unit is not the model's.
    pub fn new<'a>(space: &UnitSpace, observations: impl IntoIterator<Item = &'a Observation>) -> Result<Self> {
        let mut layers = vec![Vec::new(); space.layers().len()];
        let mut units = Vec::new();
        for (number, observation) in observations.into_iter().enumerate() {
            for observed in &observation.units {
                if observed.unit.index() >= space.len() {
                    return Err(ModelError::UnknownUnit { unit: observed.unit.0, units: space.len() });
                }
                let (layer, index) = space.locate(observed.unit);
                layers[layer].push((number, index, *observed));
            }
            units.push(observation.units.len());
        }
        Ok(Self { layers, units })
    }

    /// Whether nothing is observed.
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }
}

/// The rows of a batch that are observed.
#[derive(Default)]
pub(crate) struct Watching {
    /// Row, what is observed there, and the sum so far of each observation.
    rows: Vec<(usize, Arc<Watch>, Vec<f64>)>,
}

impl Watching {
    /// Adds a row, if anything is to be observed there.
    pub fn add(&mut self, row: usize, watch: &Arc<Watch>) {
        if !watch.is_empty() {
            self.rows.push((row, Arc::clone(watch), vec![0.0; watch.units.len()]));
        }
    }

    /// Looks at the units of layer `layer` in its `output` `[row, unit]`.
    pub fn look(&mut self, layer: usize, output: &Tensor) -> TensorResult<()> {
        let places =
            self.rows.iter().flat_map(|(row, watch, _)| watch.layers[layer].iter().map(|(_, index, _)| (*row, *index)));
        let places: Vec<_> = places.collect();
        if places.is_empty() {
            return Ok(());
        }
        let mut values = read(output, &places)?.into_iter();
        for (_, watch, sums) in &mut self.rows {
            for ((number, _, observed), value) in watch.layers[layer].iter().zip(&mut values) {
                sums[*number] += observed.measure(value);
            }
        }
        Ok(())
    }

    /// The strengths `[observation]` of each observed row.
    pub fn finish(self) -> impl Iterator<Item = (usize, Vec<f32>)> + use<> {
        self.rows.into_iter().map(|(row, watch, sums)| {
            let strengths = sums.iter().zip(&watch.units).map(|(sum, units)| (sum / *units as f64) as f32);
            (row, strengths.collect())
        })
    }
}
