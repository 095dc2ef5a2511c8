//! Interventions as a hook: forced values written over the outputs of a batch, and counted as they are written.

use std::{collections::BTreeMap, sync::Arc};

use candle_core::{Result as TensorResult, Tensor};
use lode_domain::{
    intervention::{Coverage, Intervention},
    unit::UnitSpace,
};

use crate::{ModelError, error::Result, hook::Hook};

/// What is forced at one position: per layer, `(index within the layer, value)`, each unit once.
type Forced = Vec<Vec<(u32, f32)>>;

/// The interventions of one sequence, and how far they have been carried out.
pub(crate) struct Forcing {
    space: Arc<UnitSpace>,
    interventions: Arc<[Intervention]>,
    prompt_len: usize,
    /// Merged interventions, by which of them hold at a position. There are few such sets: at most one more than
    /// there are kinds of positions.
    merged: Vec<(Vec<bool>, Arc<Forced>)>,
    /// One bit per unit that was forced.
    units: Vec<u64>,
    positions: u32,
    writes: u64,
}

impl Forcing {
    /// For a sequence whose prompt has `prompt_len` tokens.
    pub fn new(space: &Arc<UnitSpace>, interventions: Arc<[Intervention]>, prompt_len: usize) -> Result<Self> {
        for forced in interventions.iter().flat_map(|intervention| &intervention.units) {
            if forced.unit.index() >= space.len() {
                return Err(ModelError::UnknownUnit { unit: forced.unit.0, units: space.len() });
            }
            if !forced.value.is_finite() {
                return Err(ModelError::ForcedNotFinite { unit: space.name(forced.unit), value: forced.value });
            }
        }
        let units = vec![0; space.len().div_ceil(64)];
        let space = Arc::clone(space);
        Ok(Self { space, interventions, prompt_len, merged: Vec::new(), units, positions: 0, writes: 0 })
    }

    /// What is forced at `position`; of interventions on one unit the later wins.
    fn at(&mut self, position: usize) -> Arc<Forced> {
        let holds: Vec<bool> =
            self.interventions.iter().map(|one| one.positions.contains(position, self.prompt_len)).collect();
        if let Some((_, forced)) = self.merged.iter().find(|(key, _)| *key == holds) {
            return Arc::clone(forced);
        }
        let active = self.interventions.iter().zip(&holds).filter(|(_, holds)| **holds);
        let values: BTreeMap<u32, f32> =
            active.flat_map(|(one, _)| one.units.iter().map(|forced| (forced.unit.0, forced.value))).collect();
        let mut forced: Forced = vec![Vec::new(); self.space.layers().len()];
        for (unit, value) in values {
            let (layer, index) = self.space.locate(lode_domain::unit::UnitId(unit));
            forced[layer].push((index, value));
        }
        let forced = Arc::new(forced);
        self.merged.push((holds, Arc::clone(&forced)));
        forced
    }

    fn count(&mut self, layer: usize, values: &[(u32, f32)]) {
        let start = self.space.range(layer).start;
        for (index, _) in values {
            let unit = start + *index as usize;
            self.units[unit / 64] |= 1 << (unit % 64);
        }
        self.writes += values.len() as u64;
    }

    /// What has been forced so far.
    pub fn coverage(&self) -> Coverage {
        let forced = |unit: usize| self.units[unit / 64] >> (unit % 64) & 1 == 1;
        let layers = (0..self.space.layers().len()).filter(|&layer| self.space.range(layer).any(forced)).count();
        Coverage {
            units: self.units.iter().map(|word| word.count_ones()).sum(),
            layers: layers as u32,
            positions: self.positions,
            writes: self.writes,
        }
    }
}

/// The hook that forces: carries out the interventions of all sequences of a batch at once.
///
/// Cost grows with the number of values written, not with the number of sequences or conditions.
pub(crate) struct Force<'a> {
    forcings: Vec<&'a mut Forcing>,
    /// Rows with something to force: row, place in `forcings`, what.
    rows: Vec<(usize, usize, Arc<Forced>)>,
}

impl<'a> Force<'a> {
    /// For no rows yet.
    pub fn new() -> Self {
        Self { forcings: Vec::new(), rows: Vec::new() }
    }

    /// Adds the rows from `first_row` on, at positions `past` to `past + rows`, of the sequence of `forcing`.
    pub fn add(&mut self, forcing: &'a mut Forcing, first_row: usize, past: usize, rows: usize) {
        if forcing.interventions.is_empty() {
            return;
        }
        for row in 0..rows {
            let forced = forcing.at(past + row);
            if forced.iter().any(|layer| !layer.is_empty()) {
                forcing.positions += 1;
                self.rows.push((first_row + row, self.forcings.len(), forced));
            }
        }
        self.forcings.push(forcing);
    }
}

impl Hook for Force<'_> {
    fn after(&mut self, layer: usize, output: Tensor) -> TensorResult<Tensor> {
        let width = output.dim(1)?;
        let (mut places, mut values) = (Vec::new(), Vec::new());
        for (row, sequence, forced) in &self.rows {
            let forced = &forced[layer];
            places.extend(forced.iter().map(|(index, _)| (row * width) as u32 + index));
            values.extend(forced.iter().map(|(_, value)| *value));
            self.forcings[*sequence].count(layer, forced);
        }
        if !places.is_empty() {
            let (places, values) = (Tensor::new(places, output.device())?, Tensor::new(values, output.device())?);
            // The flat view shares the output's storage.
            output.flatten_all()?.scatter_set(&places, &values, 0)?;
        }
        Ok(output)
    }
}
