//! Criteria: by what a unit is judged to be an expert of a concept, and which of them are kept.

use serde::{Deserialize, Serialize};

use crate::{expertise::Column, holdout::Holdout, score::Depth, words::words};

/// How a unit's responses are turned into one number that ranks it for a concept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// Average precision, see [`Column::Ap`]; always kept.
    #[default]
    Ap,
    /// Area under the ROC curve, see [`Column::Auroc`].
    Auroc,
    /// Standardised difference of means, see [`Column::CohensD`].
    CohensD,
    /// Weight in a sparse logistic regression, see [`crate::closer::L1Fit`]. It is solved over the units that stand out most by
    /// Cohen's d, which is kept with it.
    L1,
}

words!(Criterion, "ap, auroc, cohens-d, l1", Ap = "ap", Auroc = "auroc", CohensD = "cohens-d", L1 = "l1");

impl Criterion {
    /// All criteria.
    pub const ALL: [Self; 4] = [Self::Ap, Self::Auroc, Self::CohensD, Self::L1];

    /// The column that holds its scores; none for weights, of which nearly all are 0.
    pub fn column(self) -> Option<Column> {
        match self {
            Self::Ap => Some(Column::Ap),
            Self::Auroc => Some(Column::Auroc),
            Self::CohensD => Some(Column::CohensD),
            Self::L1 => None,
        }
    }
}

/// A set of criteria; AP is always in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Criterion>", into = "Vec<Criterion>")]
pub struct Criteria(u8);

impl Criteria {
    /// Whether a criterion is in the set.
    pub fn contains(self, criterion: Criterion) -> bool {
        self.0 & Self::bit(criterion) != 0
    }

    /// Those in the set, AP first.
    pub fn iter(self) -> impl Iterator<Item = Criterion> {
        Criterion::ALL.into_iter().filter(move |&criterion| self.contains(criterion))
    }

    fn bit(criterion: Criterion) -> u8 {
        1 << criterion as u8
    }
}

impl Default for Criteria {
    fn default() -> Self {
        Self(Self::bit(Criterion::Ap))
    }
}

impl FromIterator<Criterion> for Criteria {
    fn from_iter<I: IntoIterator<Item = Criterion>>(criteria: I) -> Self {
        let with = |bits, criterion| bits | Self::bit(criterion);
        let asked = criteria.into_iter().fold(Self::default().0, with);
        Self(if Self(asked).contains(Criterion::L1) { with(asked, Criterion::CohensD) } else { asked })
    }
}

impl From<Vec<Criterion>> for Criteria {
    fn from(criteria: Vec<Criterion>) -> Self {
        criteria.into_iter().collect()
    }
}

impl From<Criteria> for Vec<Criterion> {
    fn from(criteria: Criteria) -> Self {
        criteria.iter().collect()
    }
}

impl std::fmt::Display for Criteria {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<String> = self.iter().map(|criterion| criterion.to_string()).collect();
        f.write_str(&words.join(","))
    }
}

/// What is measured of every unit beside AP and the values that it can be forced to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Measures {
    /// By what units can be ranked.
    pub criteria: Criteria,
    /// What is held out of the sentences: all scores are of the others, but for [`Column::HeldOutAp`].
    pub holdout: Option<Holdout>,
    /// Whether and how bootstrap intervals on AP are found.
    pub intervals: Option<Intervals>,
}

/// Bootstrap intervals on AP, of the units that have the highest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Intervals {
    /// Of how many units.
    pub units: u32,
    /// Seed of the draws.
    pub seed: u64,
}

impl Measures {
    /// Whether nothing is measured beside AP.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// How much must be scored of a unit.
    pub fn depth(&self) -> Depth {
        if self.criteria == Criteria::default() { Depth::Ap } else { Depth::Spread }
    }

    /// The columns that are kept beside [`Column::BASE`], in storage order.
    pub fn columns(&self) -> impl Iterator<Item = Column> + use<> {
        let Self { criteria, holdout, .. } = *self;
        Column::EXTRA.into_iter().filter(move |&column| match column {
            Column::HeldOutAp => holdout.is_some(),
            scores => criteria.iter().any(|one| one.column() == Some(scores)),
        })
    }

    /// Whether leading units are looked at more closely when all are scored.
    pub fn looks_closer(&self) -> bool {
        self.intervals.is_some() || self.criteria.contains(Criterion::L1)
    }

    /// Bytes that are kept of a unit in one concept.
    pub fn unit_bytes(&self) -> usize {
        size_of::<f32>() * (Column::BASE.len() + self.columns().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ap_is_in_every_set() {
        let set: Criteria = [Criterion::CohensD].into_iter().collect();
        assert_eq!(set.to_string(), "ap,cohens-d");
        assert!(set.contains(Criterion::Ap) && !set.contains(Criterion::Auroc));
        assert_eq!(Criteria::from(Vec::new()), Criteria::default());
        assert_eq!(Criteria::from(vec![Criterion::L1]).to_string(), "ap,cohens-d,l1", "it is screened by Cohen's d");
    }

    #[test]
    fn what_is_measured_has_columns() {
        assert_eq!((Measures::default().columns().count(), Measures::default().unit_bytes()), (0, 20));
        let all =
            Measures { criteria: Criterion::ALL.into_iter().collect(), holdout: Holdout::new(200), intervals: None };
        assert_eq!(all.columns().collect::<Vec<_>>(), Column::EXTRA);
        assert_eq!(all.unit_bytes(), 32);
        let held = Measures { holdout: Holdout::new(200), ..Measures::default() };
        assert_eq!(held.columns().collect::<Vec<_>>(), [Column::HeldOutAp]);
    }
}
