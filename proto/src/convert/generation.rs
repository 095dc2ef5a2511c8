//! Generation: requests, their resolved form, and events.

use lode_domain::{
    generation::{FinishReason, Finished, GenerateEvent, GenerateRequest, ResolvedRequest},
    intervention::{Condition, ForcedUnit, ForcingValue, Intervention, Rank},
    unit::UnitId,
};

use super::{BadField, all, each, parsed, required, same_enum, words};
use crate::wire::{self, forcing_value::Value, generate_event::Event};

same_enum!(Rank, Rank, "rank", Top, Bottom, Random);
same_enum!(FinishReason, FinishReason, "reason", Length, EndOfText, NotFinite);

impl From<ForcingValue> for wire::ForcingValue {
    fn from(value: ForcingValue) -> Self {
        let value = match value {
            ForcingValue::Mean => Value::Statistic(wire::Statistic::Mean.into()),
            ForcingValue::P50 => Value::Statistic(wire::Statistic::P50.into()),
            ForcingValue::P90 => Value::Statistic(wire::Statistic::P90.into()),
            ForcingValue::Constant(number) => Value::Constant(number),
        };
        Self { value: Some(value) }
    }
}

impl TryFrom<wire::ForcingValue> for ForcingValue {
    type Error = BadField;

    fn try_from(value: wire::ForcingValue) -> Result<Self, BadField> {
        match required(value.value, "value")? {
            Value::Constant(number) if number.is_finite() => Ok(Self::Constant(number)),
            Value::Constant(number) => Err(BadField::new("value", format!("is {number}, not a finite number"))),
            Value::Statistic(statistic) => match wire::Statistic::try_from(statistic) {
                Ok(wire::Statistic::Mean) => Ok(Self::Mean),
                Ok(wire::Statistic::P50) => Ok(Self::P50),
                Ok(wire::Statistic::P90) => Ok(Self::P90),
                _ => Err(BadField::new("value", "is no known statistic")),
            },
        }
    }
}

impl From<Condition> for wire::Condition {
    fn from(condition: Condition) -> Self {
        Self {
            concept: Some(condition.concept.into()),
            recipe: Some(condition.recipe.into()),
            k: condition.k,
            rank: wire::Rank::from(condition.rank).into(),
            value: Some(condition.value.into()),
            positions: wire::Positions::from(condition.positions).into(),
        }
    }
}

impl TryFrom<wire::Condition> for Condition {
    type Error = BadField;

    fn try_from(condition: wire::Condition) -> Result<Self, BadField> {
        Ok(Self {
            rank: condition.rank().try_into()?,
            positions: condition.positions().try_into()?,
            concept: words::concept(condition.concept)?,
            recipe: words::recipe(condition.recipe)?,
            k: condition.k,
            value: required(condition.value, "value")?.try_into()?,
        })
    }
}

impl From<GenerateRequest> for wire::GenerateRequest {
    fn from(request: GenerateRequest) -> Self {
        Self {
            model: request.model.to_string(),
            prompt: request.prompt,
            conditions: each(request.conditions),
            sampling: Some(request.sampling.into()),
            samples: request.samples,
        }
    }
}

impl TryFrom<wire::GenerateRequest> for GenerateRequest {
    type Error = BadField;

    fn try_from(request: wire::GenerateRequest) -> Result<Self, BadField> {
        Ok(Self {
            model: parsed(&request.model, "model")?,
            prompt: request.prompt,
            conditions: all(request.conditions)?,
            sampling: required(request.sampling, "sampling")?.try_into()?,
            samples: at_least_one(request.samples)?,
        })
    }
}

fn at_least_one(samples: u32) -> Result<u32, BadField> {
    if samples == 0 { Err(BadField::new("samples", "is 0: ask for at least one")) } else { Ok(samples) }
}

impl From<Intervention> for wire::Intervention {
    fn from(intervention: Intervention) -> Self {
        Self {
            positions: wire::Positions::from(intervention.positions).into(),
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
        let positions = intervention.positions().try_into()?;
        let pairs = intervention.units.into_iter().zip(intervention.values);
        let forced = pairs.map(|(unit, value)| ForcedUnit { unit: UnitId(unit), value }).collect();
        Ok(Self::new(positions, forced))
    }
}

impl From<ResolvedRequest> for wire::WorkerGenerateRequest {
    fn from(request: ResolvedRequest) -> Self {
        Self {
            model_hash: request.model.0.to_vec(),
            prompt: request.prompt,
            interventions: each(request.interventions),
            sampling: Some(request.sampling.into()),
            samples: request.samples,
        }
    }
}

impl TryFrom<wire::WorkerGenerateRequest> for ResolvedRequest {
    type Error = BadField;

    fn try_from(request: wire::WorkerGenerateRequest) -> Result<Self, BadField> {
        Ok(Self {
            model: words::model_hash(&request.model_hash)?,
            prompt: request.prompt,
            interventions: all(request.interventions)?,
            sampling: required(request.sampling, "sampling")?.try_into()?,
            samples: at_least_one(request.samples)?,
        })
    }
}

impl From<GenerateEvent> for wire::GenerateEvent {
    fn from(event: GenerateEvent) -> Self {
        let event = match event {
            GenerateEvent::Token { sample, token, text } => {
                Event::Token(wire::generate_event::Token { sample, token, text })
            }
            GenerateEvent::Finished { sample, finished } => Event::Finished(wire::generate_event::Finished {
                sample,
                reason: wire::FinishReason::from(finished.reason).into(),
                prompt_tokens: finished.prompt_tokens,
                generated_tokens: finished.generated_tokens,
                coverage: Some(finished.coverage.into()),
            }),
        };
        Self { event: Some(event) }
    }
}

impl TryFrom<wire::GenerateEvent> for GenerateEvent {
    type Error = BadField;

    fn try_from(event: wire::GenerateEvent) -> Result<Self, BadField> {
        Ok(match required(event.event, "event")? {
            Event::Token(token) => Self::Token { sample: token.sample, token: token.token, text: token.text },
            Event::Finished(finished) => Self::Finished {
                sample: finished.sample,
                finished: Finished {
                    reason: finished.reason().try_into()?,
                    prompt_tokens: finished.prompt_tokens,
                    generated_tokens: finished.generated_tokens,
                    coverage: required(finished.coverage, "coverage")?.into(),
                },
            },
        })
    }
}
