//! Interventions do(c,k): which units are forced to which value, at which token positions.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    concept::ConceptId,
    expertise::Recipe,
    unit::UnitId,
    words::{BadChoice, words},
};

/// What a unit is forced to: a statistic of its responses to the concept's positives, or a number.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
pub enum ForcingValue {
    /// E\[z | b = 1\], as the paper's formula says.
    #[default]
    Mean,
    /// The median, as the reference code ships.
    P50,
    /// The 90th percentile.
    P90,
    /// The same number for every unit; `zero` is spelled out on the command line and ablates.
    Constant(f32),
}

/// Which end of the ranking the k units come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Rank {
    /// Highest AP first: the experts.
    #[default]
    Top,
    /// Lowest AP first.
    Bottom,
    /// A seeded uniform draw: a control.
    Random,
}

/// The token positions at which units are forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Positions {
    /// Every position of prompt and continuation.
    #[default]
    All,
    /// The continuation's positions: those of tokens that were generated. The prompt is read unforced.
    Generated,
    /// Every position that a token is sampled from: the prompt's last and all generated ones.
    Last,
}

impl Positions {
    /// Whether position `position` is forced when the prompt has `prompt_len` tokens.
    pub fn contains(self, position: usize, prompt_len: usize) -> bool {
        match self {
            Self::All => true,
            Self::Generated => position >= prompt_len,
            Self::Last => position + 1 >= prompt_len,
        }
    }
}

impl FromStr for ForcingValue {
    type Err = BadChoice;

    fn from_str(text: &str) -> Result<Self, BadChoice> {
        Ok(match text {
            "mean" => Self::Mean,
            "p50" => Self::P50,
            "p90" => Self::P90,
            "zero" => Self::Constant(0.0),
            number => match number.parse::<f32>() {
                Ok(value) if value.is_finite() => Self::Constant(value),
                _ => {
                    return Err(BadChoice {
                        text: text.to_owned(),
                        choices: "mean, p50, p90, zero or a finite number",
                    });
                }
            },
        })
    }
}

impl fmt::Display for ForcingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mean => f.write_str("mean"),
            Self::P50 => f.write_str("p50"),
            Self::P90 => f.write_str("p90"),
            Self::Constant(value) => write!(f, "{value}"),
        }
    }
}

words!(Rank, "top, bottom, random", Top = "top", Bottom = "bottom", Random = "random");
words!(Positions, "all, generated, last", All = "all", Generated = "generated", Last = "last");

/// do(c,k) as a request names it, before the index has resolved it to units.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The concept c.
    pub concept: ConceptId,
    /// How its responses were taken.
    pub recipe: Recipe,
    /// How many units are forced.
    pub k: u32,
    /// Which end of the ranking they come from.
    pub rank: Rank,
    /// What they are forced to.
    pub value: ForcingValue,
    /// Where they are forced.
    pub positions: Positions,
}

/// A unit and the value it is forced to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForcedUnit {
    /// The unit.
    pub unit: UnitId,
    /// Its forced value, before any non-linearity.
    pub value: f32,
}

/// A resolved condition: data of one request, applied to that request's rows of a batch.
///
/// Where several interventions of a request force the same unit at the same position, the later one wins.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Intervention {
    /// Where the units are forced.
    pub positions: Positions,
    /// The units, each at most once, in unit order.
    pub units: Vec<ForcedUnit>,
}

impl Intervention {
    /// An intervention on `units`, put in unit order; of a unit that comes twice the later value counts.
    pub fn new(positions: Positions, mut units: Vec<ForcedUnit>) -> Self {
        // The sort is stable, so within a unit the later entry stands last; dedup keeps the first of each reversed run.
        units.sort_by_key(|forced| forced.unit);
        units.reverse();
        units.dedup_by_key(|forced| forced.unit);
        units.reverse();
        Self { positions, units }
    }
}

/// What was really forced while a sequence was generated, counted where the values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Coverage {
    /// Distinct units forced at least once.
    pub units: u32,
    /// Distinct layers with a forced unit.
    pub layers: u32,
    /// Token positions with a forced unit.
    pub positions: u32,
    /// Values written: the sum over positions of the units forced there.
    pub writes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_round_trip() {
        for text in ["mean", "p50", "p90", "0", "-1.5"] {
            assert_eq!(text.parse::<ForcingValue>().unwrap().to_string(), text);
        }
        for text in ["all", "generated", "last"] {
            assert_eq!(text.parse::<Positions>().unwrap().to_string(), text);
        }
        assert_eq!("zero".parse(), Ok(ForcingValue::Constant(0.0)));
        assert!("nan".parse::<ForcingValue>().is_err());
        assert!("middle".parse::<Rank>().unwrap_err().to_string().contains("top, bottom, random"));
    }

    #[test]
    fn positions_follow_the_prompt() {
        let forced = |positions: Positions| (0..5).filter(|&p| positions.contains(p, 3)).collect::<Vec<_>>();
        assert_eq!(forced(Positions::All), [0, 1, 2, 3, 4]);
        assert_eq!(forced(Positions::Generated), [3, 4]);
        assert_eq!(forced(Positions::Last), [2, 3, 4]);
    }

    #[test]
    fn a_unit_named_twice_keeps_the_later_value() {
        let forced = |unit, value| ForcedUnit { unit: UnitId(unit), value };
        let made = Intervention::new(Positions::All, vec![forced(5, 1.0), forced(2, 2.0), forced(5, 3.0)]);
        assert_eq!(made.units, [forced(2, 2.0), forced(5, 3.0)]);
    }
}
