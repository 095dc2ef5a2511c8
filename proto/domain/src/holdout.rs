//! Sentences held out: units are ranked on the others, and how well they do on those that chose nobody is reported beside.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::words::BadChoice;

/// The share of each class that is held out, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Holdout(u16);

impl Holdout {
    /// A share in thousandths, above 0 and below 1,000.
    pub fn new(thousandths: u16) -> Option<Self> {
        (1..1000).contains(&thousandths).then_some(Self(thousandths))
    }

    /// In thousandths.
    pub fn thousandths(self) -> u16 {
        self.0
    }

    /// How many of so many distinct sentences are held out: the share, rounded, but one at least and never all.
    fn of(self, distinct: usize) -> usize {
        let share = (distinct as u64 * u64::from(self.0) + 500) / 1000;
        (share as usize).clamp(1, distinct.saturating_sub(1))
    }
}

impl FromStr for Holdout {
    type Err = BadChoice;

    fn from_str(text: &str) -> Result<Self, BadChoice> {
        let share = text.parse().ok().filter(|share: &f64| (0.0..1.0).contains(share));
        let thousandths = share.and_then(|share| Self::new((share * 1000.0).round() as u16));
        thousandths.ok_or_else(|| BadChoice { text: text.to_owned(), choices: "the shares from 0.001 to 0.999" })
    }
}

impl fmt::Display for Holdout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(self.0) / 1000.0)
    }
}

/// A concept's labels: what units are scored on, and what is held out. Numbers of sentences, as often as each counts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Classes {
    /// Positives to score on.
    pub positive: Vec<u32>,
    /// Negatives to score on.
    pub negative: Vec<u32>,
    /// Positives held out.
    pub held_positive: Vec<u32>,
    /// Negatives held out.
    pub held_negative: Vec<u32>,
}

impl Classes {
    /// All of a concept, nothing held out.
    pub fn whole(positive: Vec<u32>, negative: Vec<u32>) -> Self {
        Self { positive, negative, ..Self::default() }
    }

    /// Holds a share of each class out: those distinct sentences whose text, `text(number)`, has the smallest BLAKE3. So the
    /// split depends on the class's texts alone, not on their order; copies of a sentence stay together; and a class of one
    /// distinct sentence gives none.
    pub fn split<'t>(self, holdout: Option<Holdout>, text: impl Fn(u32) -> &'t str) -> Self {
        let Some(holdout) = holdout else { return self };
        let divide = |class: Vec<u32>| -> (Vec<u32>, Vec<u32>) {
            let mut distinct = class.clone();
            distinct.dedup();
            let mut hashed: Vec<([u8; 32], u32)> = distinct
                .into_iter()
                .map(|number| (*blake3::hash(text(number).as_bytes()).as_bytes(), number))
                .collect();
            hashed.sort_unstable();
            hashed.truncate(if hashed.len() < 2 { 0 } else { holdout.of(hashed.len()) });
            let mut held: Vec<u32> = hashed.into_iter().map(|(_, number)| number).collect();
            held.sort_unstable();
            class.into_iter().partition(|number| held.binary_search(number).is_err())
        };
        let ((positive, held_positive), (negative, held_negative)) = (divide(self.positive), divide(self.negative));
        Self { positive, negative, held_positive, held_negative }
    }

    /// The same sentences by other numbers.
    pub fn renumbered(&self, number: impl Fn(u32) -> u32) -> Self {
        let class = |numbers: &[u32]| numbers.iter().map(|&old| number(old)).collect();
        Self {
            positive: class(&self.positive),
            negative: class(&self.negative),
            held_positive: class(&self.held_positive),
            held_negative: class(&self.held_negative),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shares_are_read_and_written() {
        for text in ["0.2", "0.001", "0.999", "0.5"] {
            assert_eq!(text.parse::<Holdout>().unwrap().to_string(), text);
        }
        for text in ["0", "1", "-0.1", "0.0001", "0.9999", "x", "NaN", "20"] {
            assert!(text.parse::<Holdout>().unwrap_err().to_string().contains("0.001 to 0.999"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_split_is_a_partition_by_text(
            mut positive in prop::collection::vec(0u32..40, 1..60),
            mut negative in prop::collection::vec(40u32..80, 1..60),
            thousandths in 1u16..1000,
        ) {
            positive.sort_unstable();
            negative.sort_unstable();
            let texts: Vec<String> = (0..80).map(|number| format!("sentence {number}")).collect();
            let whole = Classes::whole(positive.clone(), negative.clone());
            let classes = whole.split(Holdout::new(thousandths), |number| &texts[number as usize]);
            for (class, kept, held) in [
                (&positive, &classes.positive, &classes.held_positive),
                (&negative, &classes.negative, &classes.held_negative),
            ] {
                let mut both = [&kept[..], held].concat();
                both.sort_unstable();
                prop_assert_eq!(&both, class);
                prop_assert!(held.iter().all(|number| !kept.contains(number)), "copies stay together");
                let distinct = |numbers: &[u32]| { let mut n = numbers.to_vec(); n.dedup(); n.len() };
                let expected = if distinct(class) < 2 { 0 } else { Holdout(thousandths).of(distinct(class)) };
                prop_assert_eq!(distinct(held), expected);
                prop_assert!(!kept.is_empty());
            }
            // The numbers themselves do not matter: turned about, the same texts are held out.
            let turned = |numbers: &[u32]| numbers.iter().rev().map(|number| 79 - number).collect::<Vec<_>>();
            let other = Classes::whole(turned(&positive), turned(&negative));
            let other = other.split(Holdout::new(thousandths), |number| &texts[79 - number as usize]);
            prop_assert_eq!(turned(&other.held_positive), classes.held_positive);
            prop_assert_eq!(turned(&other.held_negative), classes.held_negative);
        }
    }
}
