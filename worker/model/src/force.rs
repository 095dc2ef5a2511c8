//! Interventions as a hook: forced values written over the outputs of a batch, and counted as they are written.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use candle_core::{Result as TensorResult, Tensor};
use lode_domain::{
    held::Content as _,
    intervention::{Action, Coverage, ForcedUnit, Intervention, Positions},
    unit::{UnitId, UnitSpace},
};

use crate::{
    ModelError,
    error::Result,
    kernels::write::{RowWrites, write},
};

/// Numbers of units by layer: each with its index within the layer, ascending.
#[derive(Debug, Default, PartialEq)]
struct ByLayer {
    /// `starts[i]` is the place of layer `i`'s first entry; one more holds their number.
    starts: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl ByLayer {
    /// Of units in unit order.
    fn new(space: &UnitSpace, units: impl Iterator<Item = ForcedUnit>) -> Self {
        let layers = space.layers().len();
        let (mut starts, mut entries) = (vec![0], Vec::new());
        for forced in units {
            while forced.unit.index() >= space.range(starts.len() - 1).end {
                starts.push(entries.len());
            }
            let first = space.range(starts.len() - 1).start;
            entries.push(((forced.unit.index() - first) as u32, forced.value));
        }
        starts.resize(layers + 1, entries.len());
        Self { starts, entries }
    }

    fn layer(&self, layer: usize) -> &[(u32, f32)] {
        &self.entries[self.starts[layer]..self.starts[layer + 1]]
    }
}

/// What is forced at one position, each unit once.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Forces {
    set: ByLayer,
    scale: ByLayer,
    add: ByLayer,
}

impl Forces {
    fn new(space: &UnitSpace, units: &[(Action, ForcedUnit)]) -> Self {
        let of = |wanted: Action| {
            let units = units.iter().filter(move |(action, _)| *action == wanted);
            ByLayer::new(space, units.map(|(_, forced)| *forced))
        };
        Self { set: of(Action::Set), scale: of(Action::Scale), add: of(Action::Add) }
    }

    fn len(&self) -> usize {
        [&self.set, &self.scale, &self.add].map(|part| part.entries.len()).iter().sum()
    }

    /// What is written into row `row` of the output of layer `layer`.
    pub fn writes(&self, row: usize, layer: usize) -> RowWrites<'_> {
        RowWrites { row, set: self.set.layer(layer), scale: self.scale.layer(layer), add: self.add.layer(layer) }
    }

    /// Every unit as (layer, index).
    fn units(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let layers = 0..self.set.starts.len().saturating_sub(1);
        layers.flat_map(|layer| {
            let RowWrites { set, scale, add, .. } = self.writes(0, layer);
            set.iter().chain(scale).chain(add).map(move |(index, _)| (layer, *index))
        })
    }
}

/// An intervention made ready for one model; any number of requests share it.
#[derive(Debug)]
pub struct Plan {
    intervention: Arc<Intervention>,
    /// Of what it does wherever it holds.
    mark: blake3::Hash,
    forces: Arc<Forces>,
}

impl Plan {
    /// Finds the units in the layers.
    ///
    /// # Errors
    /// If a unit is not the model's, or a value not finite.
    pub fn new(space: &UnitSpace, intervention: Arc<Intervention>) -> Result<Self> {
        for forced in &intervention.units {
            if forced.unit.index() >= space.len() {
                return Err(ModelError::UnknownUnit { unit: forced.unit.0, units: space.len() });
            }
            if !forced.value.is_finite() {
                return Err(ModelError::ForcedNotFinite { unit: space.name(forced.unit), value: forced.value });
            }
        }
        // Unit order is what `Intervention::new` makes; its fields are public.
        let units: BTreeMap<UnitId, f32> =
            intervention.units.iter().map(|forced| (forced.unit, forced.value)).collect();
        let units = units.into_iter().map(|(unit, value)| (intervention.action, ForcedUnit { unit, value }));
        let forces = Arc::new(Forces::new(space, &units.collect::<Vec<_>>()));
        let everywhere = Intervention { positions: Positions::All, ..Intervention::clone(&intervention) };
        let mark = blake3::hash(&everywhere.hash().0);
        Ok(Self { intervention, mark, forces })
    }

    /// Bytes that it holds, about.
    pub fn weight(&self) -> usize {
        256 + 16 * self.forces.len() + 16 * self.forces.set.starts.len()
    }
}

/// What is forced at a position under several interventions, by which of them hold there.
type Merged = Vec<(Vec<bool>, Arc<Forces>)>;

/// All interventions of one request; its samples share them.
#[derive(Debug)]
pub struct Conditions {
    space: Arc<UnitSpace>,
    plans: Vec<Arc<Plan>>,
    /// Grows with the kinds of positions that were met, which are few.
    merged: Mutex<Merged>,
}

impl Conditions {
    /// Of two plans on one unit and position the later wins.
    pub fn new(space: Arc<UnitSpace>, plans: Vec<Arc<Plan>>) -> Self {
        Self { space, plans, merged: Mutex::default() }
    }

    /// The same from the interventions.
    ///
    /// # Errors
    /// If a unit is not the model's, or a value not finite.
    pub fn of(space: &Arc<UnitSpace>, interventions: &[Intervention]) -> Result<Self> {
        let plan = |one: &Intervention| Plan::new(space, Arc::new(one.clone())).map(Arc::new);
        let plans = interventions.iter().map(plan).collect::<Result<_>>()?;
        Ok(Self::new(Arc::clone(space), plans))
    }

    /// What is forced at `position`, if anything.
    fn at(&self, position: usize, prompt_len: usize) -> Option<Arc<Forces>> {
        let holds = |plan: &Arc<Plan>| plan.intervention.positions.contains(position, prompt_len);
        let forces = match &self.plans[..] {
            [] => return None,
            [only] => Arc::clone(&Some(only).filter(|only| holds(only))?.forces),
            plans => self.merge(plans.iter().map(holds).collect()),
        };
        (forces.len() > 0).then_some(forces)
    }

    /// Adds to `hasher` what is forced at `position`.
    pub(crate) fn mark(&self, position: usize, prompt_len: usize, hasher: &mut blake3::Hasher) {
        for plan in self.plans.iter().filter(|plan| plan.intervention.positions.contains(position, prompt_len)) {
            hasher.update(&[1]).update(plan.mark.as_bytes());
        }
        hasher.update(&[0]);
    }

    fn merge(&self, holds: Vec<bool>) -> Arc<Forces> {
        let mut merged = self.merged.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, forces)) = merged.iter().find(|(key, _)| *key == holds) {
            return Arc::clone(forces);
        }
        let active = self.plans.iter().zip(&holds).filter(|(_, holds)| **holds).map(|(plan, _)| &plan.intervention);
        let last: BTreeMap<UnitId, (Action, ForcedUnit)> =
            active.flat_map(|one| one.units.iter().map(|forced| (forced.unit, (one.action, *forced)))).collect();
        let forces = Arc::new(Forces::new(&self.space, &last.into_values().collect::<Vec<_>>()));
        merged.push((holds, Arc::clone(&forces)));
        forces
    }
}

/// The conditions of one sequence, and how far they have been carried out.
pub(crate) struct Forcing {
    conditions: Arc<Conditions>,
    prompt_len: usize,
    /// What was forced, and at how many positions.
    done: Vec<(Arc<Forces>, u32)>,
}

impl Forcing {
    /// For a sequence whose prompt has `prompt_len` tokens.
    pub fn new(conditions: Arc<Conditions>, prompt_len: usize) -> Self {
        Self { conditions, prompt_len, done: Vec::new() }
    }

    /// What is forced at `position`, which counts as done.
    pub fn at(&mut self, position: usize) -> Option<Arc<Forces>> {
        let forces = self.conditions.at(position, self.prompt_len)?;
        match self.done.iter_mut().find(|(done, _)| Arc::ptr_eq(done, &forces)) {
            Some((_, positions)) => *positions += 1,
            None => self.done.push((Arc::clone(&forces), 1)),
        }
        Some(forces)
    }

    /// Counts what was forced at `positions` for this sequence by another that ran them.
    pub fn pass(&mut self, positions: std::ops::Range<usize>) {
        if !self.conditions.plans.is_empty() {
            positions.for_each(|position| drop(self.at(position)));
        }
    }

    /// What has been forced so far.
    pub fn coverage(&self) -> Coverage {
        let units: BTreeSet<(usize, u32)> = self.done.iter().flat_map(|(forces, _)| forces.units()).collect();
        let layers: BTreeSet<usize> = units.iter().map(|(layer, _)| *layer).collect();
        Coverage {
            units: units.len() as u32,
            layers: layers.len() as u32,
            positions: self.done.iter().map(|(_, positions)| positions).sum(),
            writes: self.done.iter().map(|(forces, positions)| forces.len() as u64 * u64::from(*positions)).sum(),
        }
    }
}

/// The interventions of all sequences of a batch.
///
/// Cost grows with the number of values written, not with the number of sequences or conditions.
#[derive(Default)]
pub(crate) struct Force {
    /// Rows with something to force.
    rows: Vec<(usize, Arc<Forces>)>,
}

impl Force {
    /// Adds the rows from `first_row` on, at positions `past` to `past + rows`, of the sequence of `forcing`.
    pub fn add(&mut self, forcing: &mut Forcing, first_row: usize, past: usize, rows: usize) {
        if forcing.conditions.plans.is_empty() {
            return;
        }
        self.rows.extend((0..rows).filter_map(|row| Some((first_row + row, forcing.at(past + row)?))));
    }

    /// Forces the units of layer `layer` in its `output` `[row, unit]`, in place.
    pub fn carry_out(&self, layer: usize, output: &Tensor) -> TensorResult<()> {
        let rows = self.rows.iter().map(|(row, forces)| forces.writes(*row, layer));
        let rows: Vec<_> = rows.filter(|writes| !writes.is_empty()).collect();
        if rows.is_empty() { Ok(()) } else { write(output, &rows) }
    }
}

#[cfg(test)]
mod tests {
    use lode_domain::{
        intervention::Positions,
        unit::{Layer, LayerName},
    };

    use super::*;

    fn space() -> Arc<UnitSpace> {
        let layer = |(number, units)| Layer { name: LayerName::new(format!("h.{number}.mlp")), units };
        Arc::new(UnitSpace::new([3, 2, 4, 1].into_iter().enumerate().map(layer).collect()).unwrap())
    }

    fn unit(unit: u32, value: f32) -> ForcedUnit {
        ForcedUnit { unit: UnitId(unit), value }
    }

    #[test]
    fn units_are_found_in_their_layers() {
        let units = vec![unit(0, 1.0), unit(2, 2.0), unit(8, 3.0)];
        let plan = Plan::new(&space(), Arc::new(Intervention::new(Positions::All, units))).unwrap();
        let layers: Vec<_> = (0..4).map(|layer| plan.forces.writes(0, layer).set).collect();
        assert_eq!(layers, [&[(0, 1.0), (2, 2.0)][..], &[], &[(3, 3.0)], &[]]);
        let last = Arc::new(Intervention::with(Action::Scale, Positions::All, vec![unit(9, 0.5)]));
        let last = Plan::new(&space(), last).unwrap();
        assert_eq!((last.forces.writes(0, 3).set, last.forces.writes(0, 3).scale), (&[][..], &[(0, 0.5)][..]));
        let moved = Arc::new(Intervention::with(Action::Add, Positions::All, vec![unit(4, 0.25)]));
        assert_eq!(Plan::new(&space(), moved).unwrap().forces.writes(0, 1).add, [(1, 0.25)]);
        let beyond = Arc::new(Intervention::new(Positions::All, vec![unit(10, 0.5)]));
        assert!(matches!(Plan::new(&space(), beyond), Err(ModelError::UnknownUnit { unit: 10, units: 10 })));
    }

    #[test]
    fn the_last_condition_that_holds_wins() {
        let set = Intervention::new(Positions::All, vec![unit(0, 1.0), unit(4, 1.0)]);
        let scale = Intervention::with(Action::Scale, Positions::Generated, vec![unit(4, 2.0), unit(5, 2.0)]);
        let conditions = Arc::new(Conditions::of(&space(), &[set, scale]).unwrap());
        let mut forcing = Forcing::new(Arc::clone(&conditions), 2);
        let prompt = forcing.at(1).unwrap();
        assert_eq!((prompt.writes(0, 1).set, prompt.writes(0, 1).scale), (&[(1, 1.0)][..], &[][..]));
        let generated = forcing.at(2).unwrap();
        assert_eq!((generated.writes(0, 1).set, generated.writes(0, 1).scale), (&[][..], &[(1, 2.0)][..]));
        forcing.at(3).unwrap();
        assert_eq!(forcing.coverage(), Coverage { units: 3, layers: 3, positions: 3, writes: 2 + 3 + 3 });
        assert_eq!(Forcing::new(conditions, 2).coverage(), Coverage::default());
    }

    #[test]
    fn a_condition_without_units_forces_nothing() {
        let none = Intervention::new(Positions::All, vec![]);
        let mut forcing = Forcing::new(Arc::new(Conditions::of(&space(), &[none]).unwrap()), 2);
        assert!(forcing.at(0).is_none());
        assert_eq!(forcing.coverage(), Coverage::default());
    }
}
