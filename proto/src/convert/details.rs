//! What a closer look at a concept's leading units found.

use lode_domain::{
    closer::{ApInterval, Details, L1Fit},
    unit::UnitId,
};

use super::BadField;
use crate::wire;

/// As it stands in a message: nothing where nothing was looked for.
pub(super) fn to_wire(details: Details) -> Option<wire::Details> {
    let l1 = details.l1.as_ref().map(|fit| wire::L1Fit {
        screened: fit.screened,
        intercept: fit.intercept,
        units: fit.weights.iter().map(|(unit, _)| unit.0).collect(),
        weights: fit.weights.iter().map(|(_, weight)| *weight).collect(),
    });
    let each = |number: fn(&ApInterval) -> f32| details.intervals.iter().map(number).collect();
    (!details.is_empty()).then(|| wire::Details {
        interval_units: details.intervals.iter().map(|one| one.unit.0).collect(),
        interval_lows: each(|one| one.low),
        interval_highs: each(|one| one.high),
        l1,
    })
}

/// And back.
pub(super) fn from_wire(details: Option<wire::Details>) -> Result<Details, BadField> {
    let bad = |problem: &str| BadField::new("details", problem);
    let wire::Details { interval_units: units, interval_lows: lows, interval_highs: highs, l1 } =
        details.unwrap_or_default();
    if units.len() != lows.len() || units.len() != highs.len() || !rise(&units) {
        return Err(bad("has intervals whose units do not rise, or which have not two ends each"));
    }
    let numbers = units.into_iter().zip(lows).zip(highs);
    let intervals: Vec<_> = numbers.map(|((unit, low), high)| ApInterval { unit: UnitId(unit), low, high }).collect();
    let l1 = l1.map(|fit| {
        let wire::L1Fit { screened, intercept, units, weights } = fit;
        if units.len() != weights.len() || !rise(&units) {
            return Err(bad("has weights whose units do not rise, or are not as many"));
        }
        let weights = units.into_iter().map(UnitId).zip(weights).collect();
        Ok(L1Fit { screened, intercept, weights })
    });
    let details = Details { intervals, l1: l1.transpose()? };
    let ends = details.intervals.iter().flat_map(|one| [one.low, one.high]);
    let fits = details.l1.iter().flat_map(|fit| fit.weights.iter().map(|(_, weight)| *weight).chain([fit.intercept]));
    if ends.chain(fits).any(|number| !number.is_finite()) {
        return Err(bad("holds what is no finite number"));
    }
    Ok(details)
}

fn rise(units: &[u32]) -> bool {
    units.windows(2).all(|pair| pair[0] < pair[1])
}
