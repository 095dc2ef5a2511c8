//! Conditions and observed concepts to units and values: asked of the index once, then remembered until the concept is mined
//! again.

use std::sync::{Arc, Mutex, PoisonError};

use lode_domain::{
    concept::ConceptId,
    criterion::Criterion,
    expertise::{Column, Recipe},
    generation::{GenerateRequest, ResolvedRequest},
    held::Given,
    id::ModelHash,
    intervention::{
        Action, BadCondition, Component, Condition, ForcedUnit, ForcingValue, Intervention, Positions, Rank, Target,
        UnitRef,
    },
    observation::{Observation, Observe},
    ranking::{chosen_enough, force, ranked},
    recent::Recent,
    record::{ConceptKey, ModelRecord},
    unit::{UnitId, UnitSpace},
};
use lode_index::{Edition, Index, IndexError};
use lode_proto::Fault;

use crate::fault::of_index;

/// Bytes of resolved interventions, and again of observations, that are remembered.
const REMEMBERED_BYTES: usize = 64 << 20;
/// How often columns are read anew that a commit changed amid the reading.
const READINGS: usize = 5;

/// All that k units of a concept follow from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Experts {
    model: ModelHash,
    concept: ConceptId,
    recipe: Recipe,
    edition: Edition,
    criterion: Criterion,
    k: u32,
}

/// All that an intervention on them follows from, with the value as it is spelled, and of the seed what matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Forced {
    experts: Experts,
    rank: Rank,
    seed: u64,
    value: String,
    positions: Positions,
}

/// What was resolved last.
pub(crate) struct Resolver {
    interventions: Mutex<Recent<Forced, Arc<Intervention>>>,
    observations: Mutex<Recent<Experts, Arc<Observation>>>,
}

impl Resolver {
    pub(crate) fn new() -> Self {
        Self {
            interventions: Mutex::new(Recent::new(REMEMBERED_BYTES)),
            observations: Mutex::new(Recent::new(REMEMBERED_BYTES)),
        }
    }

    /// The same request with units for concepts. It reads the index: call it where that may block.
    ///
    /// # Errors
    /// If the model, a concept or a unit is unknown, or a k does not fit.
    pub(crate) fn resolve(&self, index: &Index, request: GenerateRequest) -> Result<ResolvedRequest, Fault> {
        let model = index.model_named(&request.model).map_err(of_index)?;
        let observed = request.observe.iter().map(|observe| self.observation(index, model.hash, observe));
        Ok(ResolvedRequest {
            model: model.hash,
            interventions: self.interventions(index, &model, (&request.conditions, request.sampling.seed))?,
            observations: observed.map(|one| one.map(Given::Whole)).collect::<Result<_, _>>()?,
            prompt: request.prompt,
            sampling: request.sampling,
            samples: request.samples,
            guide: request.guide,
        })
    }

    /// What conditions stand for, random ranks drawn by the seed beside them.
    ///
    /// # Errors
    /// If a concept or a unit is unknown, or a k does not fit.
    pub(crate) fn interventions(
        &self,
        index: &Index,
        model: &ModelRecord,
        (conditions, seed): (&[Condition], u64),
    ) -> Result<Vec<Given<Intervention>>, Fault> {
        let one = |condition: &Condition| match &condition.target {
            Target::Units(units) => listed(model, units, condition).map(Given::whole),
            Target::Direction(components) => added(model, components, condition).map(Given::whole),
            Target::Experts { concept, recipe, k, rank, criterion } => {
                let key = ConceptKey { model: model.hash, concept: concept.clone(), recipe: *recipe };
                self.forced(index, &key, (condition, (*criterion, *k, *rank, seed))).map(Given::Whole)
            }
        };
        conditions.iter().map(one).collect()
    }

    fn forced(
        &self,
        index: &Index,
        key: &ConceptKey,
        (condition, (criterion, k, rank, seed)): (&Condition, (Criterion, u32, Rank, u64)),
    ) -> Result<Arc<Intervention>, Fault> {
        let forced = |edition| Forced {
            experts: experts(key, edition, (criterion, k)),
            rank,
            // A seed of the rank's own is part of the rank.
            seed: if rank == (Rank::Random { seed: None }) { seed } else { 0 },
            value: condition.value.to_string(),
            positions: condition.positions,
        };
        let make = || {
            let scores = index.scores(key, criterion).map_err(of_index)?;
            let column = Column::of(condition.value).map(|column| index.column(key, column)).transpose();
            chosen_enough(criterion, &scores, (k, rank)).map_err(Fault::invalid)?;
            let units = ranked(&scores, k, rank, seed).map_err(Fault::invalid)?;
            let made = force(units, condition.value, condition.positions, column.map_err(of_index)?.as_deref());
            let weight = 512 + 8 * made.units.len();
            Ok((made, weight))
        };
        recall(&self.interventions, || index.edition(key), (forced, make))
    }

    fn observation(&self, index: &Index, model: ModelHash, observe: &Observe) -> Result<Arc<Observation>, Fault> {
        let key = ConceptKey { model, concept: observe.concept.clone(), recipe: observe.recipe };
        let make = || {
            let column = |column| index.column(&key, column).map_err(of_index);
            let units = ranked(&column(Column::Ap)?, observe.k, Rank::Top, 0).map_err(Fault::invalid)?;
            let made = Observation::new(&units, &column(Column::OnMean)?, &column(Column::OffMean)?)
                .map_err(|nothing| Fault::invalid(format!("concept `{}`: {nothing}", observe.concept)))?;
            let weight = 512 + 12 * made.units.len();
            Ok((made, weight))
        };
        recall(
            &self.observations,
            || index.edition(&key),
            (|edition| experts(&key, edition, (Criterion::Ap, observe.k)), make),
        )
    }
}

fn experts(key: &ConceptKey, edition: Edition, (criterion, k): (Criterion, u32)) -> Experts {
    Experts { model: key.model, concept: key.concept.clone(), recipe: key.recipe, edition, criterion, k }
}

/// What is remembered for the edition that stands in the index; else it is made from that very edition.
fn recall<K: Clone + Eq + std::hash::Hash, T>(
    memory: &Mutex<Recent<K, Arc<T>>>,
    edition: impl Fn() -> Result<Edition, IndexError>,
    (key, make): (impl Fn(Edition) -> K, impl Fn() -> Result<(T, usize), Fault>),
) -> Result<Arc<T>, Fault> {
    let memory = || memory.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..READINGS {
        let before = edition().map_err(of_index)?;
        if let Some(known) = memory().get(&key(before)) {
            return Ok(Arc::clone(known));
        }
        let made = make();
        // A commit between two columns would mix two editions.
        if edition().map_err(of_index)? != before {
            continue;
        }
        let (made, weight) = made?;
        let made = Arc::new(made);
        memory().put(key(before), Arc::clone(&made), weight);
        return Ok(made);
    }
    Err(Fault::unavailable("the concept is being mined again and again: try later"))
}

/// An intervention on units that the request lists.
fn listed(model: &ModelRecord, units: &[UnitRef], condition: &Condition) -> Result<Intervention, Fault> {
    let space = model.unit_space().map_err(Fault::internal)?;
    let units = units.iter().map(|unit| find(&space, unit)).collect::<Result<_, _>>()?;
    Ok(force(units, condition.value, condition.positions, None))
}

/// What a direction comes to at its strength.
fn added(model: &ModelRecord, components: &[Component], condition: &Condition) -> Result<Intervention, Fault> {
    let ForcingValue::Scale(strength) = condition.value else {
        return Err(Fault::invalid(BadCondition::NoStrength { value: condition.value }));
    };
    let space = model.unit_space().map_err(Fault::internal)?;
    let moved = |component: &Component| {
        Ok(ForcedUnit { unit: find(&space, &component.unit)?, value: strength * component.amount })
    };
    let units = components.iter().map(moved).collect::<Result<_, Fault>>()?;
    Ok(Intervention::with(Action::Add, condition.positions, units))
}

fn find(space: &UnitSpace, unit: &UnitRef) -> Result<UnitId, Fault> {
    match unit {
        UnitRef::Name(name) => space.find(name).map_err(Fault::not_found),
        UnitRef::Number(unit) if unit.index() < space.len() => Ok(*unit),
        UnitRef::Number(unit) => {
            let (unit, last) = (unit.0, space.len() - 1);
            Err(Fault::not_found(format!("the model has no unit {unit}: its units are 0 to {last}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use lode_domain::{
        expertise::{ExpertiseBlock, UnitExpertise},
        record::ConceptHeader,
        sampling::Sampling,
        unit::{Layer, LayerName},
    };

    use super::*;

    const UNITS: u32 = 8;

    fn model() -> ModelRecord {
        let layer = Layer { name: LayerName::new("h.0.mlp"), units: UNITS };
        let name = "m".parse().unwrap();
        ModelRecord { name, hash: ModelHash([1; 32]), family: "gpt2".into(), context_len: 8, layers: vec![layer] }
    }

    /// An index in which the unit `best` is the concept's first expert.
    fn mine(index: &Index, best: u32) {
        let key = ConceptKey { model: model().hash, concept: "a/b".parse().unwrap(), recipe: Recipe::default() };
        let mut block = ExpertiseBlock::default();
        for unit in 0..UNITS {
            let ap = if unit == best { 1.0 } else { 0.5 - unit as f32 / 100.0 };
            block.push(UnitExpertise { ap, on_mean: unit as f32, off_mean: -1.0, ..UnitExpertise::default() });
        }
        let mut staging = index.stage(&key).unwrap();
        staging.write(&block).unwrap();
        staging.commit(&ConceptHeader { units: UNITS, ..ConceptHeader::default() }).unwrap();
    }

    fn request(target: Target) -> GenerateRequest {
        let value =
            if matches!(target, Target::Experts { .. }) { ForcingValue::Mean } else { ForcingValue::Scale(0.5) };
        GenerateRequest {
            model: model().name,
            prompt: String::new(),
            conditions: vec![Condition { target, value, positions: Positions::All }],
            observe: vec![Observe { concept: "a/b".parse().unwrap(), recipe: Recipe::default(), k: 2 }],
            sampling: Sampling::default(),
            samples: 1,
            guide: None,
        }
    }

    fn experts(k: u32, rank: Rank) -> Target {
        Target::Experts {
            concept: "a/b".parse().unwrap(),
            recipe: Recipe::default(),
            k,
            rank,
            criterion: Criterion::Ap,
        }
    }

    fn whole<T>(given: &Given<T>) -> Arc<T> {
        let Given::Whole(content) = given else { panic!("it is not whole") };
        Arc::clone(content)
    }

    #[test]
    fn a_condition_is_resolved_once_an_edition() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(folder.path()).unwrap();
        index.put_model(&model()).unwrap();
        mine(&index, 5);
        let resolver = Resolver::new();
        let resolve = |target| {
            let resolved = resolver.resolve(&index, request(target)).unwrap();
            (whole(&resolved.interventions[0]), whole(&resolved.observations[0]))
        };
        let units = |intervention: &Intervention| -> Vec<(u32, f32)> {
            intervention.units.iter().map(|forced| (forced.unit.0, forced.value)).collect()
        };
        let (first, observed) = resolve(experts(2, Rank::Top));
        assert_eq!(units(&first), [(0, 0.0), (5, 5.0)]);
        assert_eq!(
            observed.units.iter().map(|unit| (unit.unit.0, unit.span)).collect::<Vec<_>>(),
            [(0, 1.0), (5, 6.0)]
        );
        let (again, observed_again) = resolve(experts(2, Rank::Top));
        assert!(Arc::ptr_eq(&first, &again) && Arc::ptr_eq(&observed, &observed_again), "it is remembered");
        assert_eq!(units(&resolve(experts(2, Rank::Next)).0), [(1, 1.0), (2, 2.0)]);
        mine(&index, 7);
        let (anew, observed_anew) = resolve(experts(2, Rank::Top));
        assert_eq!(units(&anew), [(0, 0.0), (7, 7.0)], "the concept was mined again");
        assert_eq!(observed_anew.units[1].unit, UnitId(7));
        let listed = Target::Units(vec![UnitRef::Name("h.0.mlp[3]".parse().unwrap()), UnitRef::Number(UnitId(1))]);
        assert_eq!(units(&resolve(listed).0), [(1, 0.5), (3, 0.5)]);
        let component = |unit, amount| Component { unit: UnitRef::Number(UnitId(unit)), amount };
        let moved = resolve(Target::Direction(vec![component(6, 3.0), component(2, -1.0)])).0;
        assert_eq!((moved.action, units(&moved)), (Action::Add, vec![(2, -0.5), (6, 1.5)]), "at half its strength");
    }

    #[test]
    fn what_cannot_be_resolved_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(folder.path()).unwrap();
        index.put_model(&model()).unwrap();
        mine(&index, 5);
        let refused = |target| Resolver::new().resolve(&index, request(target)).unwrap_err().message;
        assert!(refused(experts(9, Rank::Top)).contains("8 units"));
        assert!(refused(experts(5, Rank::Next)).contains("at most 4"));
        assert!(refused(Target::Units(vec![UnitRef::Number(UnitId(8))])).contains("0 to 7"));
        assert!(refused(Target::Units(vec![UnitRef::Name("h.1.mlp[0]".parse().unwrap())])).contains("h.1.mlp"));
    }
}
