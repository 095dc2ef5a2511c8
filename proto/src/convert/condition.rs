//! Conditions and concepts to observe, as clients name them and as workers are given them.

use std::sync::Arc;

use lode_domain::{
    held::{ContentHash, Given},
    intervention::{Action, Component, Condition, ForcedUnit, ForcingValue, Intervention, Rank, Target},
    observation::{Observation, Observe, ObservedUnit},
    unit::UnitId,
};

use super::{BadField, parsed, required, same_enum, words};
use crate::wire::{self, condition::Target as WireTarget, forcing_value::Value};

same_enum!(Action, Action, "action", Set, Scale, Add);

impl From<ForcingValue> for wire::ForcingValue {
    fn from(value: ForcingValue) -> Self {
        let value = match value {
            ForcingValue::Mean => Value::Statistic(wire::Statistic::Mean.into()),
            ForcingValue::P50 => Value::Statistic(wire::Statistic::P50.into()),
            ForcingValue::P90 => Value::Statistic(wire::Statistic::P90.into()),
            ForcingValue::Constant(number) => Value::Constant(number),
            ForcingValue::Scale(factor) => Value::Scale(factor),
        };
        Self { value: Some(value) }
    }
}

impl TryFrom<wire::ForcingValue> for ForcingValue {
    type Error = BadField;

    fn try_from(value: wire::ForcingValue) -> Result<Self, BadField> {
        match required(value.value, "value")? {
            Value::Constant(number) => Ok(Self::Constant(number)),
            Value::Scale(factor) => Ok(Self::Scale(factor)),
            Value::Statistic(statistic) => match wire::Statistic::try_from(statistic) {
                Ok(wire::Statistic::Mean) => Ok(Self::Mean),
                Ok(wire::Statistic::P50) => Ok(Self::P50),
                Ok(wire::Statistic::P90) => Ok(Self::P90),
                _ => Err(BadField::new("value", "is no known statistic")),
            },
        }
    }
}

impl From<Target> for WireTarget {
    fn from(target: Target) -> Self {
        match target {
            Target::Experts { concept, recipe, k, rank, criterion } => Self::Experts(wire::ExpertUnits {
                concept: Some(concept.into()),
                recipe: Some(recipe.into()),
                k,
                rank: rank_to_wire(rank).into(),
                rank_seed: if let Rank::Random { seed } = rank { seed } else { None },
                criterion: wire::Criterion::from(criterion).into(),
            }),
            Target::Units(units) => {
                Self::Listed(wire::ListedUnits { units: units.iter().map(ToString::to_string).collect() })
            }
            Target::Direction(components) => Self::Direction(wire::Direction {
                units: components.iter().map(|component| component.unit.to_string()).collect(),
                amounts: components.iter().map(|component| component.amount).collect(),
            }),
        }
    }
}

impl TryFrom<WireTarget> for Target {
    type Error = BadField;

    fn try_from(target: WireTarget) -> Result<Self, BadField> {
        match target {
            WireTarget::Experts(experts) => Ok(Self::Experts {
                rank: rank(&experts)?,
                criterion: words::criterion(experts.criterion)?,
                concept: words::concept(experts.concept)?,
                recipe: words::recipe(experts.recipe)?,
                k: experts.k,
            }),
            WireTarget::Listed(listed) => {
                Ok(Self::Units(listed.units.iter().map(|unit| parsed(unit, "units")).collect::<Result<_, _>>()?))
            }
            WireTarget::Direction(wire::Direction { units, amounts }) => {
                if units.len() != amounts.len() {
                    let (units, amounts) = (units.len(), amounts.len());
                    return Err(BadField::new("direction", format!("has {units} units and {amounts} amounts")));
                }
                let component =
                    |(unit, amount): (&String, f32)| Ok(Component { unit: parsed(unit, "direction")?, amount });
                units.iter().zip(amounts).map(component).collect::<Result<_, _>>().map(Self::Direction)
            }
        }
    }
}

fn rank_to_wire(rank: Rank) -> wire::Rank {
    match rank {
        Rank::Top => wire::Rank::Top,
        Rank::Bottom => wire::Rank::Bottom,
        Rank::Random { .. } => wire::Rank::Random,
        Rank::Next => wire::Rank::Next,
    }
}

fn rank(experts: &wire::ExpertUnits) -> Result<Rank, BadField> {
    match wire::Rank::try_from(experts.rank) {
        Ok(wire::Rank::Top) => Ok(Rank::Top),
        Ok(wire::Rank::Bottom) => Ok(Rank::Bottom),
        Ok(wire::Rank::Random) => Ok(Rank::Random { seed: experts.rank_seed }),
        Ok(wire::Rank::Next) => Ok(Rank::Next),
        Ok(wire::Rank::Unspecified) | Err(_) => Err(BadField::new("rank", "is not specified, or of a newer version")),
    }
}

impl From<Condition> for wire::Condition {
    fn from(condition: Condition) -> Self {
        let (positions, window) = words::positions_to_wire(condition.positions);
        Self {
            target: Some(condition.target.into()),
            value: Some(condition.value.into()),
            positions: positions.into(),
            window,
        }
    }
}

impl TryFrom<wire::Condition> for Condition {
    type Error = BadField;

    fn try_from(condition: wire::Condition) -> Result<Self, BadField> {
        let condition = Self {
            positions: words::positions(condition.positions(), condition.window)?,
            target: required(condition.target, "target")?.try_into()?,
            value: required(condition.value, "value")?.try_into()?,
        };
        condition.check().map_err(|error| BadField::new("conditions", error))?;
        Ok(condition)
    }
}

impl From<Observe> for wire::Observe {
    fn from(observe: Observe) -> Self {
        Self { concept: Some(observe.concept.into()), recipe: Some(observe.recipe.into()), k: observe.k }
    }
}

impl TryFrom<wire::Observe> for Observe {
    type Error = BadField;

    fn try_from(observe: wire::Observe) -> Result<Self, BadField> {
        let (concept, recipe) = (words::concept(observe.concept)?, words::recipe(observe.recipe)?);
        Ok(Self { concept, recipe, k: observe.k })
    }
}

impl From<&Intervention> for wire::Intervention {
    fn from(intervention: &Intervention) -> Self {
        let (positions, window) = words::positions_to_wire(intervention.positions);
        Self {
            positions: positions.into(),
            window,
            action: wire::Action::from(intervention.action).into(),
            units: intervention.units.iter().map(|forced| forced.unit.0).collect(),
            values: intervention.units.iter().map(|forced| forced.value).collect(),
        }
    }
}

impl TryFrom<wire::Intervention> for Intervention {
    type Error = BadField;

    fn try_from(intervention: wire::Intervention) -> Result<Self, BadField> {
        let (units, values) = (intervention.units.len(), intervention.values.len());
        if units != values {
            return Err(BadField::new("interventions", format!("has {units} units and {values} values")));
        }
        if let Some(value) = intervention.values.iter().find(|value| !value.is_finite()) {
            return Err(BadField::new("interventions", format!("forces a unit to {value}")));
        }
        let positions = words::positions(intervention.positions(), intervention.window)?;
        let action = intervention.action().try_into()?;
        let pairs = intervention.units.into_iter().zip(intervention.values);
        let forced = pairs.map(|(unit, value)| ForcedUnit { unit: UnitId(unit), value }).collect();
        Ok(Self::with(action, positions, forced))
    }
}

impl From<&Observation> for wire::Observation {
    fn from(observation: &Observation) -> Self {
        let each = |number: fn(&ObservedUnit) -> f32| observation.units.iter().map(number).collect();
        Self {
            units: observation.units.iter().map(|observed| observed.unit.0).collect(),
            offs: each(|observed| observed.off),
            spans: each(|observed| observed.span),
        }
    }
}

impl TryFrom<wire::Observation> for Observation {
    type Error = BadField;

    fn try_from(observation: wire::Observation) -> Result<Self, BadField> {
        let bad = |problem: String| BadField::new("observations", problem);
        let wire::Observation { units, offs, spans } = observation;
        if units.is_empty() || units.len() != offs.len() || units.len() != spans.len() {
            let (units, offs, spans) = (units.len(), offs.len(), spans.len());
            return Err(bad(format!("has {units} units, {offs} offs and {spans} spans")));
        }
        let numbers = units.into_iter().zip(offs).zip(spans);
        let observed = numbers.map(|((unit, off), span)| ObservedUnit { unit: UnitId(unit), off, span });
        let units: Vec<_> = observed.collect();
        match units.iter().find(|unit| !(unit.off.is_finite() && unit.span.is_finite() && unit.span != 0.0)) {
            Some(unit) => Err(bad(format!("measures a unit by {} and {}", unit.off, unit.span))),
            None => Ok(Self { units }),
        }
    }
}

/// Gives the two messages for `Given` values the same conversions.
macro_rules! given {
    ($content:ty, $message:ident, $oneof:ident, $field:literal) => {
        impl From<Given<$content>> for wire::$message {
            fn from(given: Given<$content>) -> Self {
                use wire::$oneof::Given as Wire;
                let given = match given {
                    Given::Whole(content) => Wire::Whole((&*content).into()),
                    Given::Held(hash) => Wire::Held(hash.0.to_vec()),
                };
                Self { given: Some(given) }
            }
        }

        impl TryFrom<wire::$message> for Given<$content> {
            type Error = BadField;

            fn try_from(given: wire::$message) -> Result<Self, BadField> {
                use wire::$oneof::Given as Wire;
                match required(given.given, $field)? {
                    Wire::Whole(content) => Ok(Self::Whole(Arc::new(content.try_into()?))),
                    Wire::Held(hash) => {
                        let len = hash.len();
                        let hash = hash
                            .try_into()
                            .map_err(|_| BadField::new($field, format!("has a name of {len} bytes, not 16")))?;
                        Ok(Self::Held(ContentHash(hash)))
                    }
                }
            }
        }
    };
}

given!(Intervention, GivenIntervention, given_intervention, "interventions");
given!(Observation, GivenObservation, given_observation, "observations");
