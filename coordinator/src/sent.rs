//! What a worker was sent of resolved conditions, so that it need not be sent again.

use std::sync::{Arc, Mutex, PoisonError};

use lode_domain::{
    generation::ResolvedRequest,
    held::{Content, ContentHash, Given},
    recent::Recent,
};

/// How many names are remembered. The worker may have forgotten some, and says so.
const NAMES: usize = 8192;

/// Names of what one worker was sent.
#[derive(Clone)]
pub(crate) struct Sent(Arc<Mutex<Recent<ContentHash, ()>>>);

impl Default for Sent {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Recent::new(NAMES))))
    }
}

/// Whether a request names anything instead of bringing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// At least one part.
    Some,
    /// No part.
    None,
}

impl Sent {
    /// The request with names for what was sent before.
    pub(crate) fn shorten(&self, request: &ResolvedRequest) -> (ResolvedRequest, Named) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut short = request.clone();
        let mut named = Named::None;
        let mut know = |hash| {
            let known = sent.get(&hash).is_some();
            if known {
                named = Named::Some;
            }
            known
        };
        shorten(&mut short.interventions, &mut know);
        shorten(&mut short.observations, &mut know);
        (short, named)
    }

    /// Notes that all of the request was sent.
    pub(crate) fn learn(&self, request: &ResolvedRequest) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names(request).for_each(|hash| sent.put(hash, (), 1));
    }

    /// Notes that the worker does not hold all of the request.
    pub(crate) fn forget(&self, request: &ResolvedRequest) {
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for hash in names(request) {
            sent.remove(&hash);
        }
    }
}

fn shorten<T: Content>(given: &mut [Given<T>], know: &mut impl FnMut(ContentHash) -> bool) {
    for one in given {
        let hash = one.hash();
        if know(hash) {
            *one = Given::Held(hash);
        }
    }
}

fn names(request: &ResolvedRequest) -> impl Iterator<Item = ContentHash> + '_ {
    let interventions = request.interventions.iter().map(Given::hash);
    interventions.chain(request.observations.iter().map(Given::hash))
}

#[cfg(test)]
mod tests {
    use lode_domain::{
        id::ModelHash,
        intervention::{ForcedUnit, Intervention, Positions},
        sampling::Sampling,
        unit::UnitId,
    };

    use super::*;

    #[test]
    fn what_was_sent_is_named() {
        let intervention = |unit| {
            let units = vec![ForcedUnit { unit: UnitId(unit), value: 1.0 }];
            Given::whole(Intervention::new(Positions::All, units))
        };
        let request = |units: &[u32]| ResolvedRequest {
            model: ModelHash([0; 32]),
            prompt: "x".into(),
            interventions: units.iter().map(|&unit| intervention(unit)).collect(),
            observations: Vec::new(),
            sampling: Sampling::default(),
            samples: 1,
            guide: None,
        };
        let sent = Sent::default();
        assert_eq!(sent.shorten(&request(&[1])), (request(&[1]), Named::None));
        sent.learn(&request(&[1]));
        let (short, named) = sent.shorten(&request(&[2, 1]));
        assert_eq!(named, Named::Some);
        assert_eq!(short.interventions, [intervention(2), Given::Held(intervention(1).hash())]);
        sent.forget(&request(&[1]));
        assert_eq!(sent.shorten(&request(&[1])).1, Named::None);
    }
}
