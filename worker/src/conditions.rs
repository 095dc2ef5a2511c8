//! Resolved conditions and observations that requests brought, kept by name so that later ones need only name them.

use std::sync::{Arc, Mutex, PoisonError};

use lode_domain::{
    held::{Content, ContentHash, Given},
    intervention::Intervention,
    observation::Observation,
    recent::Recent,
};
use lode_model::{Conditions, Model, Plan, Watch};
use lode_proto::Fault;

use crate::fault::of_model;

/// Bytes of interventions, and again of observations, that are kept; the coordinator's ones of 50 units take about 2 KB.
const KEPT_BYTES: usize = 64 << 20;

/// What earlier requests brought. It is kept as the model needs it: units found in their layers.
pub(crate) struct Kept {
    model: Arc<Model>,
    plans: Mutex<Recent<ContentHash, Arc<Plan>>>,
    observations: Mutex<Recent<ContentHash, Arc<Observation>>>,
}

impl Kept {
    pub(crate) fn new(model: Arc<Model>) -> Self {
        let (plans, observations) = (Mutex::new(Recent::new(KEPT_BYTES)), Mutex::new(Recent::new(KEPT_BYTES)));
        Self { model, plans, observations }
    }

    /// What a request's interventions stand for, ready for the model.
    ///
    /// # Errors
    /// If one is named that is not here, or one is not the model's.
    pub(crate) fn conditions(&self, given: Vec<Given<Intervention>>) -> Result<Conditions, Fault> {
        let space = self.model.unit_space();
        let make = |intervention: Arc<Intervention>| {
            let plan = Arc::new(Plan::new(space, intervention).map_err(of_model)?);
            Ok((Arc::clone(&plan), plan.weight()))
        };
        let plans = given.into_iter().map(|one| find(&self.plans, one, make));
        Ok(Conditions::new(Arc::clone(space), plans.collect::<Result<_, Fault>>()?))
    }

    /// What a request's observations stand for, ready for the model.
    ///
    /// # Errors
    /// If one is named that is not here, or one is not the model's.
    pub(crate) fn watch(&self, given: Vec<Given<Observation>>) -> Result<Watch, Fault> {
        let weigh = |observation: Arc<Observation>| {
            let weight = 256 + 12 * observation.units.len();
            Ok((observation, weight))
        };
        let observations = given.into_iter().map(|one| find(&self.observations, one, weigh));
        let observations = observations.collect::<Result<Vec<_>, Fault>>()?;
        Watch::new(self.model.unit_space(), observations.iter().map(AsRef::as_ref)).map_err(of_model)
    }
}

/// Takes what is given whole, and keeps it; or what is kept under the name.
fn find<T: Content, U>(
    kept: &Mutex<Recent<ContentHash, Arc<U>>>,
    given: Given<T>,
    make: impl Fn(Arc<T>) -> Result<(Arc<U>, usize), Fault>,
) -> Result<Arc<U>, Fault> {
    let hash = given.hash();
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = kept.get(&hash) {
        return Ok(Arc::clone(found));
    }
    let Given::Whole(content) = given else {
        return Err(Fault::not_found(format!("{hash:?} is not kept here: send all of it")));
    };
    let (made, weight) = make(content)?;
    kept.put(hash, Arc::clone(&made), weight);
    Ok(made)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use lode_domain::{
        intervention::{ForcedUnit, Positions},
        observation::ObservedUnit,
        unit::UnitId,
    };
    use lode_model::{DeviceChoice, LoadOptions};
    use lode_proto::FaultKind;

    use super::*;

    #[test]
    fn what_was_brought_can_be_named() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/cases/gpt2/model");
        let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
        let kept = Kept::new(Arc::new(Model::load(&folder, &options).unwrap()));
        let intervention =
            |unit| Intervention::new(Positions::All, vec![ForcedUnit { unit: UnitId(unit), value: 1.0 }]);
        let observation = |unit| Observation { units: vec![ObservedUnit { unit: UnitId(unit), off: 0.0, span: 1.0 }] };
        let named = |hash| kept.conditions(vec![Given::Held(hash)]).map(drop).map_err(|fault| fault.kind);
        assert_eq!(named(intervention(3).hash()), Err(FaultKind::NotFound));
        kept.conditions(vec![Given::whole(intervention(3))]).unwrap();
        assert_eq!(named(intervention(3).hash()), Ok(()));
        assert_eq!(named(observation(3).hash()), Err(FaultKind::NotFound));
        kept.watch(vec![Given::whole(observation(3))]).unwrap();
        assert!(kept.watch(vec![Given::Held(observation(3).hash())]).is_ok());
        let beyond = kept.conditions(vec![Given::whole(intervention(99_999))]).unwrap_err();
        assert_eq!(beyond.kind, FaultKind::Invalid);
        assert_eq!(named(intervention(99_999).hash()), Err(FaultKind::NotFound), "what is refused is not kept");
    }
}
