//! Interventions do(c,k): which units are forced to which value, at which token positions.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    concept::ConceptId,
    criterion::Criterion,
    expertise::Recipe,
    held::{Content, ContentHash, ContentHasher},
    unit::{BadUnitName, UnitId, UnitName},
    words::BadChoice,
};

/// What a unit is forced to: a statistic of its responses to the concept's positives, a number, or its own activation scaled.
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
    /// The unit's own activation times this: 0 ablates, 1 changes nothing, 2 doubles.
    Scale(f32),
}

/// Which part of the ranking the k units come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Rank {
    /// Highest score first: the experts.
    #[default]
    Top,
    /// Lowest score first.
    Bottom,
    /// A uniform draw: a control.
    Random {
        /// What it is drawn by; the request's seed if it has none of its own.
        seed: Option<u64>,
    },
    /// The k experts after the first k, ranks k + 1 to 2k: a control that is nearly as good.
    Next,
}

/// The token positions at which units are forced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Positions {
    /// Every position of prompt and continuation.
    #[default]
    All,
    /// The continuation's positions: those of tokens that were generated. The prompt is read unforced.
    Generated,
    /// Every position that a token is sampled from: the prompt's last and all generated ones.
    Last,
    /// The positions from the first to before the second, counted from the prompt's first token on through the
    /// continuation; `3..8`, or `3..` without an end.
    Window {
        /// The first position.
        from: u32,
        /// The position after the last; above `from`.
        to: u32,
    },
}

impl Positions {
    /// Whether position `position` is forced when the prompt has `prompt_len` tokens.
    pub fn contains(self, position: usize, prompt_len: usize) -> bool {
        match self {
            Self::All => true,
            Self::Generated => position >= prompt_len,
            Self::Last => position + 1 >= prompt_len,
            Self::Window { from, to } => (from as usize..to as usize).contains(&position),
        }
    }
}

impl FromStr for Positions {
    type Err = BadChoice;

    fn from_str(text: &str) -> Result<Self, BadChoice> {
        let bad = || BadChoice {
            text: text.to_owned(),
            choices: "all, generated, last or a window FROM..TO with FROM below TO, as 3..8 or 3..",
        };
        match text {
            "all" => Ok(Self::All),
            "generated" => Ok(Self::Generated),
            "last" => Ok(Self::Last),
            window => {
                let (from, to) = window.split_once("..").ok_or_else(bad)?;
                let from = from.parse().map_err(|_| bad())?;
                let to = if to.is_empty() { u32::MAX } else { to.parse().map_err(|_| bad())? };
                if from < to { Ok(Self::Window { from, to }) } else { Err(bad()) }
            }
        }
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Generated => f.write_str("generated"),
            Self::Last => f.write_str("last"),
            Self::Window { from, to: u32::MAX } => write!(f, "{from}.."),
            Self::Window { from, to } => write!(f, "{from}..{to}"),
        }
    }
}

impl FromStr for ForcingValue {
    type Err = BadChoice;

    fn from_str(text: &str) -> Result<Self, BadChoice> {
        let bad =
            || BadChoice { text: text.to_owned(), choices: "mean, p50, p90, zero, a finite number or scale:FACTOR" };
        let finite = |number: &str| number.parse().ok().filter(|value: &f32| value.is_finite()).ok_or_else(bad);
        match text {
            "mean" => Ok(Self::Mean),
            "p50" => Ok(Self::P50),
            "p90" => Ok(Self::P90),
            "zero" => Ok(Self::Constant(0.0)),
            other => match other.strip_prefix("scale:") {
                Some(factor) => finite(factor).map(Self::Scale),
                None => finite(other).map(Self::Constant),
            },
        }
    }
}

impl fmt::Display for ForcingValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mean => f.write_str("mean"),
            Self::P50 => f.write_str("p50"),
            Self::P90 => f.write_str("p90"),
            Self::Constant(value) => write!(f, "{value}"),
            Self::Scale(factor) => write!(f, "scale:{factor}"),
        }
    }
}

impl FromStr for Rank {
    type Err = BadChoice;

    fn from_str(text: &str) -> Result<Self, BadChoice> {
        let bad = || BadChoice { text: text.to_owned(), choices: "top, bottom, next, random or random:SEED" };
        match text {
            "top" => Ok(Self::Top),
            "bottom" => Ok(Self::Bottom),
            "next" => Ok(Self::Next),
            "random" => Ok(Self::Random { seed: None }),
            other => {
                let seed = other.strip_prefix("random:").and_then(|seed| seed.parse().ok()).ok_or_else(bad)?;
                Ok(Self::Random { seed: Some(seed) })
            }
        }
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => f.write_str("top"),
            Self::Bottom => f.write_str("bottom"),
            Self::Next => f.write_str("next"),
            Self::Random { seed: None } => f.write_str("random"),
            Self::Random { seed: Some(seed) } => write!(f, "random:{seed}"),
        }
    }
}

/// A unit as a request names it: `transformer.h.3.mlp.c_fc[1187]`, or its number among all units of the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UnitRef {
    /// By name.
    Name(UnitName),
    /// By number.
    Number(UnitId),
}

impl FromStr for UnitRef {
    type Err = BadUnitName;

    fn from_str(text: &str) -> Result<Self, BadUnitName> {
        match text.parse() {
            Ok(number) => Ok(Self::Number(UnitId(number))),
            Err(_) => text.parse().map(Self::Name),
        }
    }
}

impl fmt::Display for UnitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Number(unit) => unit.0.fmt(f),
        }
    }
}

/// One component of a direction: a unit, and how far it goes there.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// The unit.
    pub unit: UnitRef,
    /// What is added to it at strength 1.
    pub amount: f32,
}

/// The units that a condition is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// do(c,k): k units by their expertise in a concept.
    Experts {
        /// The concept c.
        concept: ConceptId,
        /// How its responses were taken.
        recipe: Recipe,
        /// How many units are forced.
        k: u32,
        /// Which part of the ranking they come from.
        rank: Rank,
        /// By what they are ranked.
        criterion: Criterion,
    },
    /// These; at least one.
    Units(Vec<UnitRef>),
    /// To each of these its amount is added, times the factor of the value, which must be a [`ForcingValue::Scale`]. Over all units of
    /// the layer that writes last to the residual stream of a block, that moves the stream itself. At least one.
    Direction(Vec<Component>),
}

/// A condition as a request names it, before the index has resolved it to units.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// What is forced.
    pub target: Target,
    /// What it is forced to.
    pub value: ForcingValue,
    /// Where it is forced.
    pub positions: Positions,
}

/// A condition that means nothing.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum BadCondition {
    /// An empty list.
    #[error("a condition on a list of units names none: name at least one")]
    NoUnits,
    /// A statistic needs a concept that it is of.
    #[error("a listed unit cannot be forced to `{value}`, which is a concept's: give a number, zero or scale:FACTOR")]
    NoStatistic {
        /// As asked for.
        value: ForcingValue,
    },
    /// A direction needs a strength.
    #[error("a direction cannot be added at strength `{value}`: give scale:FACTOR")]
    NoStrength {
        /// As asked for.
        value: ForcingValue,
    },
    /// Nothing lies between.
    #[error("the window of positions {from}..{to} is empty: its end must be above its beginning")]
    EmptyWindow {
        /// The first position.
        from: u32,
        /// The position after the last.
        to: u32,
    },
    /// No number.
    #[error("units cannot be forced to {value}: it must be finite")]
    NotFinite {
        /// As asked for.
        value: f32,
    },
}

impl Condition {
    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// If it forces nothing, or to nothing.
    pub fn check(&self) -> Result<(), BadCondition> {
        match &self.target {
            Target::Units(units) if units.is_empty() => return Err(BadCondition::NoUnits),
            Target::Direction(components) if components.is_empty() => return Err(BadCondition::NoUnits),
            Target::Direction(components) => {
                if !matches!(self.value, ForcingValue::Scale(_)) {
                    return Err(BadCondition::NoStrength { value: self.value });
                }
                if let Some(bad) = components.iter().find(|component| !component.amount.is_finite()) {
                    return Err(BadCondition::NotFinite { value: bad.amount });
                }
            }
            Target::Units(_) if !matches!(self.value, ForcingValue::Constant(_) | ForcingValue::Scale(_)) => {
                return Err(BadCondition::NoStatistic { value: self.value });
            }
            _ => {}
        }
        match self.value {
            ForcingValue::Constant(value) | ForcingValue::Scale(value) if !value.is_finite() => {
                return Err(BadCondition::NotFinite { value });
            }
            _ => {}
        }
        match self.positions {
            Positions::Window { from, to } if from >= to => Err(BadCondition::EmptyWindow { from, to }),
            _ => Ok(()),
        }
    }
}

/// What an intervention does with the number of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Action {
    /// Replaces it by the unit's value.
    #[default]
    Set,
    /// Multiplies it by the unit's value.
    Scale,
    /// Adds the unit's value to it.
    Add,
}

/// A unit and the value it is forced to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForcedUnit {
    /// The unit.
    pub unit: UnitId,
    /// Its forced value, before any non-linearity; its factor where the action is [`Action::Scale`], what is added to it where it is
    /// [`Action::Add`].
    pub value: f32,
}

/// A resolved condition: data of one request, applied to that request's rows of a batch.
///
/// Where several interventions of a request force the same unit at the same position, the later one wins; a later
/// [`Action::Scale`] scales the unit's own activation, and a later [`Action::Add`] adds to that.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Intervention {
    /// Where the units are forced.
    pub positions: Positions,
    /// What is done with them.
    pub action: Action,
    /// The units, each at most once, in unit order.
    pub units: Vec<ForcedUnit>,
}

impl Intervention {
    /// An intervention that sets `units`, put in unit order; of a unit that comes twice the later value counts.
    pub fn new(positions: Positions, units: Vec<ForcedUnit>) -> Self {
        Self::with(Action::Set, positions, units)
    }

    /// The same with any action.
    pub fn with(action: Action, positions: Positions, mut units: Vec<ForcedUnit>) -> Self {
        // The sort is stable, so within a unit the later entry stands last; dedup keeps the first of each reversed run.
        units.sort_by_key(|forced| forced.unit);
        units.reverse();
        units.dedup_by_key(|forced| forced.unit);
        units.reverse();
        Self { positions, action, units }
    }
}

impl Content for Intervention {
    fn hash(&self) -> ContentHash {
        let mut hasher = ContentHasher::new("intervention");
        hasher.text(&self.positions.to_string());
        hasher.text(match self.action {
            Action::Set => "set",
            Action::Scale => "scale",
            Action::Add => "add",
        });
        for forced in &self.units {
            hasher.number(forced.unit.0).number(forced.value.to_bits());
        }
        hasher.finish()
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
        for text in ["mean", "p50", "p90", "0", "-1.5", "scale:0.5"] {
            assert_eq!(text.parse::<ForcingValue>().unwrap().to_string(), text);
        }
        for text in ["all", "generated", "last", "3..8", "0.."] {
            assert_eq!(text.parse::<Positions>().unwrap().to_string(), text);
        }
        assert_eq!("zero".parse(), Ok(ForcingValue::Constant(0.0)));
        for text in ["nan", "scale:", "scale:inf", "scale"] {
            assert!(text.parse::<ForcingValue>().is_err(), "{text}");
        }
        for text in ["..3", "3..3", "8..3", "a..b", "3"] {
            assert!(text.parse::<Positions>().unwrap_err().to_string().contains("FROM..TO"), "{text}");
        }
        for text in ["h.0.mlp[3]", "17"] {
            assert_eq!(text.parse::<UnitRef>().unwrap().to_string(), text);
        }
        assert!("middle".parse::<Rank>().unwrap_err().to_string().contains("top, bottom, next, random or random:SEED"));
        for word in ["top", "bottom", "next", "random", "random:0", "random:18446744073709551615"] {
            assert_eq!(word.parse::<Rank>().unwrap().to_string(), word);
        }
        for word in ["random:", "random:-1", "random:1.5", "top:1"] {
            assert!(word.parse::<Rank>().is_err(), "{word}");
        }
    }

    #[test]
    fn positions_follow_the_prompt() {
        let forced = |positions: Positions| (0..5).filter(|&p| positions.contains(p, 3)).collect::<Vec<_>>();
        assert_eq!(forced(Positions::All), [0, 1, 2, 3, 4]);
        assert_eq!(forced(Positions::Generated), [3, 4]);
        assert_eq!(forced(Positions::Last), [2, 3, 4]);
        assert_eq!(forced(Positions::Window { from: 1, to: 4 }), [1, 2, 3]);
    }

    #[test]
    fn conditions_that_mean_nothing_are_refused() {
        let units = |units, value| Condition { target: Target::Units(units), value, positions: Positions::All };
        let one = vec![UnitRef::Number(UnitId(3))];
        assert_eq!(units(one.clone(), ForcingValue::Scale(2.0)).check(), Ok(()));
        assert_eq!(units(vec![], ForcingValue::Scale(2.0)).check(), Err(BadCondition::NoUnits));
        let value = ForcingValue::P50;
        assert_eq!(units(one.clone(), value).check(), Err(BadCondition::NoStatistic { value }));
        assert!(units(one.clone(), ForcingValue::Scale(f32::NAN)).check().is_err());
        let direction = |amount, value| {
            let component = Component { unit: UnitRef::Number(UnitId(3)), amount };
            Condition { target: Target::Direction(vec![component]), value, positions: Positions::All }.check()
        };
        assert_eq!(direction(-0.5, ForcingValue::Scale(2.0)), Ok(()));
        assert_eq!(direction(0.5, value), Err(BadCondition::NoStrength { value }));
        assert!(direction(f32::INFINITY, ForcingValue::Scale(2.0)).is_err());
        let positions = Positions::Window { from: 4, to: 4 };
        let empty = Condition { positions, ..units(one, ForcingValue::Constant(0.0)) };
        assert_eq!(empty.check(), Err(BadCondition::EmptyWindow { from: 4, to: 4 }));
    }

    #[test]
    fn all_of_an_intervention_is_in_its_hash() {
        let forced = |unit, value| ForcedUnit { unit: UnitId(unit), value };
        let one = Intervention::new(Positions::All, vec![forced(1, 0.5), forced(2, 1.5)]);
        assert_eq!(one.hash(), one.clone().hash());
        let others = [
            Intervention { positions: Positions::Last, ..one.clone() },
            Intervention { positions: Positions::Window { from: 0, to: 1 }, ..one.clone() },
            Intervention { action: Action::Scale, ..one.clone() },
            Intervention { action: Action::Add, ..one.clone() },
            Intervention { units: vec![forced(1, 0.5)], ..one.clone() },
            Intervention { units: vec![forced(1, 0.5), forced(2, -1.5)], ..one.clone() },
            Intervention { units: vec![forced(1, 0.5), forced(3, 1.5)], ..one.clone() },
        ];
        assert!(others.iter().all(|other| other.hash() != one.hash()));
    }

    #[test]
    fn a_unit_named_twice_keeps_the_later_value() {
        let forced = |unit, value| ForcedUnit { unit: UnitId(unit), value };
        let made = Intervention::new(Positions::All, vec![forced(5, 1.0), forced(2, 2.0), forced(5, 3.0)]);
        assert_eq!(made.units, [forced(2, 2.0), forced(5, 3.0)]);
    }
}
