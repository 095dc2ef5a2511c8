//! Expertise: what a unit is worth for a concept, and the values it can be forced to.

use serde::{Deserialize, Serialize};

use crate::{
    intervention::ForcingValue,
    pooling::{Pooling, Tokens},
    words::words,
};

/// The numbers kept for each unit and concept, in the order in which they are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Column {
    /// Average precision of the response as a score for b.
    Ap,
    /// Mean response to the positives.
    OnMean,
    /// Median response to the positives, numpy's linear interpolation.
    OnP50,
    /// 90th percentile of the responses to the positives, numpy's linear interpolation.
    OnP90,
    /// Mean response to the negatives.
    OffMean,
    /// Area under the ROC curve: the share of pairs of a positive and a negative in which the positive responds more, equal
    /// responses counting half (Hanley and McNeil 1982; scikit-learn's `roc_auc_score`).
    Auroc,
    /// Cohen's d: the difference of the classes' means over the pooled standard deviation, with n - 2 (Cohen 1988). 0 where
    /// the means are equal; the largest number of its sign where they are not and neither class varies.
    CohensD,
    /// Average precision on the sentences that were held out of all other columns.
    HeldOutAp,
}

words!(
    Column,
    "ap, on_mean, on_p50, on_p90, off_mean, auroc, cohens_d, held_out_ap",
    Ap = "ap",
    OnMean = "on_mean",
    OnP50 = "on_p50",
    OnP90 = "on_p90",
    OffMean = "off_mean",
    Auroc = "auroc",
    CohensD = "cohens_d",
    HeldOutAp = "held_out_ap"
);

impl Column {
    /// Those that every concept has, in storage order.
    pub const BASE: [Self; 5] = [Self::Ap, Self::OnMean, Self::OnP50, Self::OnP90, Self::OffMean];
    /// Those that a concept has where they were asked for, in storage order.
    pub const EXTRA: [Self; 3] = [Self::Auroc, Self::CohensD, Self::HeldOutAp];

    /// The column that holds a forcing value; `None` for values that need no column.
    pub fn of(value: ForcingValue) -> Option<Self> {
        match value {
            ForcingValue::Mean => Some(Self::OnMean),
            ForcingValue::P50 => Some(Self::OnP50),
            ForcingValue::P90 => Some(Self::OnP90),
            ForcingValue::Constant(_) | ForcingValue::Scale(_) => None,
        }
    }
}

/// One unit's expertise in one concept.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct UnitExpertise {
    /// See [`Column::Ap`].
    pub ap: f32,
    /// See [`Column::OnMean`].
    pub on_mean: f32,
    /// See [`Column::OnP50`].
    pub on_p50: f32,
    /// See [`Column::OnP90`].
    pub on_p90: f32,
    /// See [`Column::OffMean`].
    pub off_mean: f32,
}

/// What is kept of a unit beside [`UnitExpertise`], where it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Extra {
    /// See [`Column::Auroc`].
    pub auroc: Option<f32>,
    /// See [`Column::CohensD`].
    pub cohens_d: Option<f32>,
    /// See [`Column::HeldOutAp`].
    pub held_out_ap: Option<f32>,
    /// Between which values AP lies in 95 % of the draws; of leading units.
    pub ap_interval: Option<(f32, f32)>,
    /// See [`crate::closer::L1Fit`].
    pub l1: Option<f32>,
}

impl Extra {
    /// Sets the number of one column; those of [`Column::BASE`] are elsewhere.
    pub fn set(&mut self, column: Column, value: f32) {
        match column {
            Column::Auroc => self.auroc = Some(value),
            Column::CohensD => self.cohens_d = Some(value),
            Column::HeldOutAp => self.held_out_ap = Some(value),
            Column::Ap | Column::OnMean | Column::OnP50 | Column::OnP90 | Column::OffMean => {}
        }
    }
}

/// Expertise of a run of consecutive units in one concept, `[unit]` per column.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ExpertiseBlock {
    /// Number of the first unit.
    pub start: u32,
    columns: [Vec<f32>; 5],
    /// Columns of [`Column::EXTRA`], in that order.
    extra: Vec<(Column, Vec<f32>)>,
}

impl ExpertiseBlock {
    /// An empty block that begins at unit `start` and has room for `capacity` units.
    pub fn with_capacity(start: u32, capacity: usize) -> Self {
        Self { start, columns: std::array::from_fn(|_| Vec::with_capacity(capacity)), extra: Vec::new() }
    }

    /// The same with room for columns of [`Column::EXTRA`], which are in that order.
    pub fn with_room(start: u32, capacity: usize, extra: &[Column]) -> Self {
        let extra = extra.iter().map(|&column| (column, Vec::with_capacity(capacity))).collect();
        Self { extra, ..Self::with_capacity(start, capacity) }
    }

    /// Puts columns (in [`Column::BASE`] order) together; `None` if their lengths differ.
    pub fn from_columns(start: u32, columns: [Vec<f32>; 5]) -> Option<Self> {
        let len = columns[0].len();
        columns.iter().all(|column| column.len() == len).then_some(Self { start, columns, extra: Vec::new() })
    }

    /// The block with a column of [`Column::EXTRA`] beside the others, which must come in that order; `None` if it has
    /// another length.
    pub fn with(mut self, column: Column, values: Vec<f32>) -> Option<Self> {
        debug_assert!(self.extra.last().is_none_or(|(last, _)| *last < column), "columns come in order");
        (values.len() == self.len()).then(|| {
            self.extra.push((column, values));
            self
        })
    }

    /// Appends the next unit.
    pub fn push(&mut self, unit: UnitExpertise) {
        let UnitExpertise { ap, on_mean, on_p50, on_p90, off_mean } = unit;
        for (value, values) in [ap, on_mean, on_p50, on_p90, off_mean].into_iter().zip(&mut self.columns) {
            values.push(value);
        }
    }

    /// Appends what the unit pushed last has in the columns beside the base.
    pub fn push_extra(&mut self, value: impl Fn(Column) -> f32) {
        self.extra.iter_mut().for_each(|(column, values)| values.push(value(*column)));
    }

    /// Appends the units of `next`, which follow this block's.
    pub fn append(&mut self, next: &Self) {
        debug_assert_eq!(next.start as usize, self.start as usize + self.len(), "blocks of consecutive units");
        self.columns.iter_mut().zip(&next.columns).for_each(|(column, more)| column.extend_from_slice(more));
        debug_assert!(self.extra_columns().eq(next.extra_columns()), "blocks of the same columns");
        self.extra.iter_mut().zip(&next.extra).for_each(|((_, column), (_, more))| column.extend_from_slice(more));
    }

    /// How many units the block holds.
    pub fn len(&self) -> usize {
        self.columns[0].len()
    }

    /// Whether the block holds no unit.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One column, `[unit]`; empty if it is not kept.
    pub fn column(&self, column: Column) -> &[f32] {
        match self.columns.get(column as usize) {
            Some(values) => values,
            None => self.extra.iter().find(|(kept, _)| *kept == column).map_or(&[], |(_, values)| values),
        }
    }

    /// The columns that it has beside [`Column::BASE`].
    pub fn extra_columns(&self) -> impl Iterator<Item = Column> + '_ {
        self.extra.iter().map(|(column, _)| *column)
    }

    /// What is kept of the unit at place `place` beside its expertise.
    pub fn extra(&self, place: usize) -> Extra {
        let mut extra = Extra::default();
        self.extra.iter().for_each(|(column, values)| extra.set(*column, values[place]));
        extra
    }

    /// The unit at place `place` of the block.
    pub fn unit(&self, place: usize) -> UnitExpertise {
        let [ap, on_mean, on_p50, on_p90, off_mean] = std::array::from_fn(|column| self.columns[column][place]);
        UnitExpertise { ap, on_mean, on_p50, on_p90, off_mean }
    }
}

/// How responses were taken; expertise of one concept under two recipes stands side by side in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Recipe {
    /// The reduction over tokens.
    pub pooling: Pooling,
    /// Which positions run and count.
    pub tokens: Tokens,
}

impl std::fmt::Display for Recipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.pooling, self.tokens)
    }
}
