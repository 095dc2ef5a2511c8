//! Which texts a sweep needs.

use std::fmt;

use lode_domain::intervention::{Condition, ForcingValue, Rank, Target};

use crate::cmd::eval::{method::Method, strength::Strength};

/// What is forced: the concept's experts, or something else to compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Control {
    /// Nothing: k = 0.
    Nothing,
    /// do(c,k) itself.
    Do,
    /// k random units, to their values for the concept.
    Random,
    /// The k units that follow the first k in rank.
    Next,
    /// The k experts, to zero.
    Zero,
    /// The next concept's experts.
    Other,
    /// Nothing: another method, whose strength stands in place of k.
    Method(Method),
}

impl Control {
    /// The condition that it makes of do(c,k).
    pub(super) fn changed(self, mut condition: Condition) -> Condition {
        if let Target::Experts { rank, .. } = &mut condition.target {
            match self {
                Self::Random => *rank = Rank::Random { seed: None },
                Self::Next => *rank = Rank::Next,
                Self::Nothing | Self::Do | Self::Zero | Self::Other | Self::Method(_) => {}
            }
        }
        if self == Self::Zero {
            condition.value = ForcingValue::Constant(0.0);
        }
        condition
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Do => "do",
            Self::Random => "random",
            Self::Next => "next",
            Self::Zero => "zero",
            Self::Other => "other",
            Self::Method(method) => method.name(),
        }
    }

    /// For people.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Do => "do(c,k)",
            Self::Random => "random",
            Self::Next => "next k",
            Self::Zero => "zero",
            Self::Other => "other do",
            Self::Method(method) => method.title(),
        }
    }
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Texts under one condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    /// Number of the concept; of texts with nothing forced 0, they are everybody's.
    pub(super) concept: usize,
    pub(super) control: Control,
    pub(super) k: Strength,
}

/// A line of the table: whose words are looked for in which texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) concept: usize,
    pub(super) control: Control,
    pub(super) k: Strength,
    /// Number of the cell with the texts.
    pub(super) cell: usize,
}

/// What is written, and what is shown of it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) ks: Vec<Strength>,
    pub(super) cells: Vec<Cell>,
    pub(super) places: Vec<Place>,
    /// What was asked for and cannot be had.
    pub(super) left_out: Vec<String>,
}

impl Plan {
    /// For `concepts` concepts; `ks` ascend from 0.
    pub(super) fn new(ks: &[Strength], concepts: usize, controls: &[Control], units: u32) -> Self {
        let half = Strength::from(units / 2);
        let mut plan = Self { ks: ks.to_vec(), cells: Vec::new(), places: Vec::new(), left_out: Vec::new() };
        plan.cells.push(Cell { concept: 0, control: Control::Nothing, k: Strength::NONE });
        let forced = || ks.iter().copied().filter(|k| !k.is_none());
        let written = [Control::Do].into_iter().chain(controls.iter().copied().filter(|&one| one != Control::Other));
        for concept in 0..concepts {
            for control in written.clone() {
                let fits = move |k: &Strength| control != Control::Next || *k <= half;
                plan.cells.extend(forced().filter(fits).map(|k| Cell { concept, control, k }));
            }
        }
        if controls.contains(&Control::Next)
            && let Some(k) = forced().find(|&k| k > half)
        {
            plan.left_out.push(format!("no next units from k = {k} on: the model has {units} units"));
        }
        if controls.contains(&Control::Other) && concepts < 2 {
            plan.left_out.push("no texts of another concept: there is only one".to_owned());
        }
        for concept in 0..concepts {
            plan.places.push(Place { concept, control: Control::Nothing, k: Strength::NONE, cell: 0 });
            for control in [Control::Do].into_iter().chain(controls.iter().copied()) {
                // Another concept's texts are there already.
                let (owner, source) = match control {
                    Control::Other => ((concept + 1) % concepts, Control::Do),
                    own => (concept, own),
                };
                if control == Control::Other && concepts < 2 {
                    continue;
                }
                for k in forced() {
                    let wanted = Cell { concept: owner, control: source, k };
                    if let Some(cell) = plan.cells.iter().position(|cell| *cell == wanted) {
                        plan.places.push(Place { concept, control, k, cell });
                    }
                }
            }
        }
        plan
    }

    /// The same texts by another method over its strengths.
    pub(super) fn add(&mut self, method: Method, strengths: &[Strength], concepts: usize) {
        let control = Control::Method(method);
        for concept in 0..concepts {
            for &k in strengths.iter().filter(|strength| !strength.is_none()) {
                self.places.push(Place { concept, control, k, cell: self.cells.len() });
                self.cells.push(Cell { concept, control, k });
            }
        }
        self.places.sort_by_key(|place| place.concept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strengths(all: &[u32]) -> Vec<Strength> {
        all.iter().map(|&k| k.into()).collect()
    }

    const ALL: [Control; 4] = [Control::Random, Control::Next, Control::Zero, Control::Other];

    #[test]
    fn every_text_is_written_once_and_shown_wherever_it_serves() {
        let plan = Plan::new(&strengths(&[0, 1, 10]), 3, &ALL, 100);
        // Nothing forced, and for each concept do and three controls at two k.
        assert_eq!(plan.cells.len(), 1 + 3 * 4 * 2);
        assert_eq!(plan.places.len(), 3 * (1 + 5 * 2));
        let other = plan.places.iter().find(|place| place.control == Control::Other && place.concept == 2).unwrap();
        assert_eq!(plan.cells[other.cell], Cell { concept: 0, control: Control::Do, k: 1.into() });
        assert!(plan.left_out.is_empty());
    }

    #[test]
    fn methods_come_after_what_is_forced() {
        let mut plan = Plan::new(&strengths(&[0, 10]), 2, &[], 100);
        plan.add(Method::Fudge, &[Strength::NONE, Strength::of_thousandths(250), 4.into()], 2);
        let found: Vec<_> =
            plan.places.iter().map(|place| (place.concept, place.control.name(), place.k.to_string())).collect();
        let of = |concept| {
            [("nothing", "0"), ("do", "10"), ("fudge", "0.25"), ("fudge", "4")]
                .map(|(name, strength)| (concept, name, strength.to_owned()))
        };
        assert_eq!(found, [of(0), of(1)].concat());
        let last = plan.places[7];
        assert_eq!(plan.cells[last.cell], Cell { concept: 1, control: Control::Method(Method::Fudge), k: 4.into() });
    }

    #[test]
    fn what_cannot_be_is_said() {
        let plan = Plan::new(&strengths(&[0, 60]), 1, &ALL, 100);
        assert_eq!(plan.cells.len(), 1 + 3);
        assert_eq!(plan.left_out.len(), 2, "{:?}", plan.left_out);
    }
}
