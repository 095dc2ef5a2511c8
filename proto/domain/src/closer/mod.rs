//! A closer look at the units that did best in a concept: what needs all their responses at once, and is too dear for all units.
//!
//! Scoring goes block by block and keeps no responses; [`Leaders`] notes on the way who leads. Of those the responses are taken out
//! once more, and [`look`] finds bootstrap intervals on the AP of the first (`interval.rs`) and the sparse logistic regression of
//! the concept on those that stand out most (`l1.rs`). All of it depends on responses, labels and the concept's sentences in their
//! order as texts, so that it is the same bits whatever the shards.

mod interval;
mod l1;
mod leaders;

use serde::{Deserialize, Serialize};

pub use self::{
    interval::Resamples,
    l1::{L1Fit, fit},
    leaders::Leaders,
};
use crate::{
    criterion::{Criterion, Measures},
    expertise::Extra,
    holdout::Classes,
    unit::UnitId,
};

/// What a closer look at a concept's leading units found.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// By rising unit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<ApInterval>,
    /// The sparse logistic regression, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l1: Option<L1Fit>,
}

/// Between which values a unit's AP lies in 95 % of the draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApInterval {
    /// The unit.
    pub unit: UnitId,
    /// The 2.5th percentile.
    pub low: f32,
    /// The 97.5th.
    pub high: f32,
}

impl Details {
    /// Whether nothing was found, for nothing was asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds what is known of a unit.
    pub fn tell(&self, unit: UnitId, extra: &mut Extra) {
        if let Ok(place) = self.intervals.binary_search_by_key(&unit, |one| one.unit) {
            extra.ap_interval = Some((self.intervals[place].low, self.intervals[place].high));
        }
        extra.l1 = self.l1.as_ref().map(|fit| fit.weight(unit));
    }
}

/// Looks at a concept's leading units: `row(unit, into)` puts a unit's responses, by the numbers that `classes` has, into `into`.
///
/// # Errors
/// If a row cannot be had.
pub fn look<E>(
    measures: &Measures,
    classes: &Classes,
    leaders: &Leaders,
    mut row: impl FnMut(UnitId, &mut Vec<f32>) -> Result<(), E>,
) -> Result<Details, E> {
    let mut details = Details::default();
    let mut whole = Vec::new();
    let of =
        |numbers: &[u32], whole: &[f32]| numbers.iter().map(|&number| whole[number as usize]).collect::<Vec<f32>>();
    if let Some(intervals) = measures.intervals {
        let resamples = Resamples::new(classes.positive.len(), classes.negative.len(), intervals.seed);
        for unit in leaders.by_ap() {
            row(unit, &mut whole)?;
            let (on, off) = (of(&classes.positive, &whole), of(&classes.negative, &whole));
            let (low, high) = resamples.interval(on, off);
            details.intervals.push(ApInterval { unit, low: low as f32, high: high as f32 });
        }
    }
    if measures.criteria.contains(Criterion::L1) {
        let units = leaders.by_distance();
        let mut columns = Vec::with_capacity(units.len());
        for &unit in &units {
            row(unit, &mut whole)?;
            columns.push([of(&classes.positive, &whole), of(&classes.negative, &whole)].concat());
        }
        details.l1 = Some(L1Fit::of(&units, &columns, classes.positive.len()));
    }
    Ok(details)
}
