//! Observation: how strongly a concept's experts respond while text is generated.

use crate::{
    concept::ConceptId,
    expertise::Recipe,
    held::{Content, ContentHash, ContentHasher},
    unit::UnitId,
};

/// A concept to observe, as a request names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observe {
    /// The concept.
    pub concept: ConceptId,
    /// How its responses were taken.
    pub recipe: Recipe,
    /// How many of its experts are looked at.
    pub k: u32,
}

/// An observed unit, and what its activation is measured by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObservedUnit {
    /// The unit.
    pub unit: UnitId,
    /// Its mean response to the concept's negatives: counts as 0.
    pub off: f32,
    /// How far the mean response to the positives, which counts as 1, lies from that; not 0.
    pub span: f32,
}

impl ObservedUnit {
    /// The unit's part in the concept's strength when its activation is `z`.
    pub fn measure(&self, z: f32) -> f64 {
        (f64::from(z) - f64::from(self.off)) / f64::from(self.span)
    }
}

/// A resolved [`Observe`]: units and their measures.
///
/// A concept's strength at a token position is the mean over its units of (z - off) / span, with z the unit's activation as
/// the model went on with it, forced or not: 0 like the negatives on average, 1 like the positives. It can be any number.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Observation {
    /// At least one, in unit order.
    pub units: Vec<ObservedUnit>,
}

/// A concept of which nothing can be observed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "no unit responds to the concept's positives otherwise than to its negatives on average: there is nothing to observe"
)]
pub struct NothingToObserve;

impl Observation {
    /// Of the k best experts, with mean responses `[unit]` to positives and negatives. Those that respond alike to both on
    /// average say nothing and are left out.
    ///
    /// # Errors
    /// If none is left.
    pub fn new(experts: &[UnitId], on_mean: &[f32], off_mean: &[f32]) -> Result<Self, NothingToObserve> {
        let observed = experts.iter().map(|&unit| {
            let off = off_mean[unit.index()];
            ObservedUnit { unit, off, span: on_mean[unit.index()] - off }
        });
        let mut units: Vec<_> = observed.filter(|observed| observed.span != 0.0).collect();
        units.sort_by_key(|observed| observed.unit);
        if units.is_empty() { Err(NothingToObserve) } else { Ok(Self { units }) }
    }

    /// The concept's strength, given what each unit's activation is.
    pub fn strength(&self, activation: impl Fn(UnitId) -> f32) -> f32 {
        let one = |observed: &ObservedUnit| observed.measure(activation(observed.unit));
        (self.units.iter().map(one).sum::<f64>() / self.units.len() as f64) as f32
    }
}

impl Content for Observation {
    fn hash(&self) -> ContentHash {
        let mut hasher = ContentHasher::new("observation");
        for observed in &self.units {
            hasher.number(observed.unit.0).number(observed.off.to_bits()).number(observed.span.to_bits());
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_are_zero_and_positives_one() {
        let (on, off) = ([1.0, 5.0, 3.0], [0.0, 1.0, 3.0]);
        let experts = [UnitId(1), UnitId(2), UnitId(0)];
        let observation = Observation::new(&experts, &on, &off).unwrap();
        assert_eq!(observation.units.len(), 2, "the last responds alike to both");
        assert_eq!(observation.strength(|unit| off[unit.index()]), 0.0);
        assert_eq!(observation.strength(|unit| on[unit.index()]), 1.0);
        assert_eq!(observation.strength(|unit| [2.0, 1.0, 9.0][unit.index()]), 1.0);
        assert_eq!(Observation::new(&[UnitId(2)], &on, &off), Err(NothingToObserve));
    }

    #[test]
    fn all_of_an_observation_is_in_its_hash() {
        let unit = ObservedUnit { unit: UnitId(1), off: 0.5, span: 1.0 };
        let hash = |unit| Observation { units: vec![unit] }.hash();
        assert_eq!(hash(unit), hash(unit));
        for other in [
            ObservedUnit { unit: UnitId(2), ..unit },
            ObservedUnit { off: 0.25, ..unit },
            ObservedUnit { span: 2.0, ..unit },
        ] {
            assert_ne!(hash(unit), hash(other));
        }
    }
}
