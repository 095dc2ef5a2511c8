//! How strongly a method is applied: k of do(c,k), lambda of FUDGE, percent of steering.

use std::{fmt, str::FromStr};

use lode_eval::parity::{Next, bisect};
use serde::{Serialize, Serializer};

use crate::output::Cell;

/// Parts of one.
const PARTS: u64 = 1000;
/// The largest: a hundred times what any model has units, and far from where an f64 loses thousandths.
const MOST: u64 = 1_000_000_000;
/// Decimals that are kept.
const DECIMALS: usize = 3;

/// A strength from 0, the model as it is, with up to three decimals: exact, so that it can be a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Strength {
    thousandths: u64,
}

/// A strength that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no strength: give a number from 0 to {MOST} with at most {DECIMALS} decimals, as 0.25")]
pub(super) struct BadStrength {
    text: String,
}

impl Strength {
    /// The model as it is.
    pub(super) const NONE: Self = Self { thousandths: 0 };

    /// So many thousandths.
    pub(super) const fn of_thousandths(thousandths: u64) -> Self {
        Self { thousandths }
    }

    /// Whether nothing is done.
    pub(super) fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// As a number of units, of a strength that is whole.
    pub(super) fn units(self) -> u32 {
        debug_assert!(self.thousandths.is_multiple_of(PARTS), "{self} units");
        (self.thousandths / PARTS) as u32
    }

    /// As a number.
    pub(super) fn value(self) -> f64 {
        self.thousandths as f64 / PARTS as f64
    }

    /// The least of `known`, ascending, at `value` or above it.
    pub(super) fn above(value: f64, known: impl IntoIterator<Item = Self>) -> Option<Self> {
        known.into_iter().find(|strength| strength.value() >= value)
    }

    /// Bisection in steps up to `largest`, as [`bisect`]: the strength to measure next, given the differences that were measured,
    /// by ascending strength. Nothing where the search is over.
    pub(super) fn search(measured: &[(Self, f64)], largest: Self, step: Self) -> Option<Self> {
        let width = step.thousandths.max(1);
        let steps = |strength: Self| strength.thousandths.div_ceil(width) as u32;
        let measured: Vec<(u32, f64)> = measured.iter().map(|&(strength, delta)| (steps(strength), delta)).collect();
        match bisect(&measured, steps(largest), 1) {
            // The last step may be a part of one.
            Next::Measure(number) => Some(Self { thousandths: u64::from(number) * width }.min(largest)),
            Next::Found(..) | Next::Never => None,
        }
    }
}

impl From<u32> for Strength {
    fn from(units: u32) -> Self {
        Self { thousandths: u64::from(units) * PARTS }
    }
}

impl FromStr for Strength {
    type Err = BadStrength;

    fn from_str(text: &str) -> Result<Self, BadStrength> {
        let bad = || BadStrength { text: text.to_owned() };
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !are_digits(whole) || !are_digits(decimals) || decimals.len() > DECIMALS {
            return Err(bad());
        }
        let whole: u64 = whole.parse().map_err(|_| bad())?;
        let part: u64 = format!("{decimals:0<DECIMALS$}").parse().map_err(|_| bad())?;
        if whole > MOST {
            return Err(bad());
        }
        Ok(Self { thousandths: whole * PARTS + part })
    }
}

/// No more decimals than it has.
impl fmt::Display for Strength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.thousandths / PARTS, self.thousandths % PARTS);
        if part == 0 {
            return f.pad(&whole.to_string());
        }
        f.pad(format!("{whole}.{part:0DECIMALS$}").trim_end_matches('0'))
    }
}

/// A whole one is an integer, as it was when all had to be.
impl Serialize for Strength {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.thousandths % PARTS {
            0 => serializer.serialize_u64(self.thousandths / PARTS),
            _ => serializer.serialize_f64(self.value()),
        }
    }
}

impl From<Strength> for Cell {
    fn from(strength: Strength) -> Self {
        match strength.thousandths % PARTS {
            0 => Self::Count(strength.thousandths / PARTS),
            _ => Self::Double(strength.value()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strength(text: &str) -> Strength {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_typed_is_what_is_shown_and_kept() {
        for (text, json) in [("0", "0"), ("12", "12"), ("0.25", "0.25"), ("3.125", "3.125"), ("691200", "691200")] {
            assert_eq!(
                (strength(text).to_string(), serde_json::to_string(&strength(text)).unwrap()),
                (text.into(), json.into())
            );
        }
        assert_eq!((strength("1.50").to_string(), strength("2.0")), ("1.5".to_owned(), Strength::from(2)));
        assert!(strength("0.5") < strength("1") && strength("0.5").value() == 0.5);
        for text in
            ["", ".", ".5", "1.", "-1", "+1", "1e3", "nan", "0.1234", "1,5", "1000000001", "99999999999999999999"]
        {
            let refused = text.parse::<Strength>().unwrap_err().to_string();
            assert!(refused.contains(&format!("`{text}`")) && refused.contains("0.25"), "{refused}");
        }
    }

    #[test]
    fn a_cell_has_the_decimals_that_there_are() {
        assert_eq!((Cell::from(strength("8")), Cell::from(strength("0.25"))), (Cell::Count(8), Cell::Double(0.25)));
    }

    #[test]
    fn a_search_ends_within_a_step_of_the_change() {
        let (largest, step) = (strength("12"), strength("0.01"));
        for change in ["0.004", "0.01", "0.237", "1", "11.999", "12"] {
            let mut measured: Vec<(Strength, f64)> = Vec::new();
            while let Some(next) = Strength::search(&measured, largest, step) {
                assert!(next <= largest && measured.iter().all(|(known, _)| *known != next), "{next}");
                measured.push((next, if next < strength(change) { -1.0 } else { 1.0 }));
                measured.sort_by_key(|(strength, _)| *strength);
            }
            let above = measured.iter().find(|(_, delta)| *delta > 0.0).unwrap().0;
            assert!(above >= strength(change) && above.value() - strength(change).value() <= 0.01, "{above} {change}");
            assert!(measured.len() <= 24, "{} for {change}", measured.len());
        }
        // A grid that ends between two steps.
        let measured = [(Strength::NONE, 1.0)];
        assert_eq!(Strength::search(&measured, strength("0.004"), step), Some(strength("0.004")));
        assert_eq!(Strength::search(&[measured[0], (strength("0.004"), 0.5)], strength("0.004"), step), None);
    }

    #[test]
    fn the_next_that_was_measured_is_found() {
        let known = ["0", "0.25", "0.5"].map(strength);
        assert_eq!(Strength::above(0.2, known), Some(known[1]));
        assert_eq!((Strength::above(0.25, known), Strength::above(0.6, known)), (Some(known[1]), None));
    }
}
