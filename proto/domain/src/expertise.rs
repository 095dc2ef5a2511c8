//! Expertise: what a unit is worth for a concept, and the values it can be forced to.

use serde::{Deserialize, Serialize};

use crate::{
    intervention::ForcingValue,
    pooling::{Pooling, Tokens},
    words::words,
};

/// The five numbers kept for each unit and concept, in the order in which they are stored.
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
}

words!(
    Column,
    "ap, on_mean, on_p50, on_p90, off_mean",
    Ap = "ap",
    OnMean = "on_mean",
    OnP50 = "on_p50",
    OnP90 = "on_p90",
    OffMean = "off_mean"
);

impl Column {
    /// All columns, in storage order.
    pub const ALL: [Self; 5] = [Self::Ap, Self::OnMean, Self::OnP50, Self::OnP90, Self::OffMean];

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

impl UnitExpertise {
    /// The number in one column.
    pub fn get(&self, column: Column) -> f32 {
        match column {
            Column::Ap => self.ap,
            Column::OnMean => self.on_mean,
            Column::OnP50 => self.on_p50,
            Column::OnP90 => self.on_p90,
            Column::OffMean => self.off_mean,
        }
    }
}

/// Expertise of a run of consecutive units in one concept, `[unit]` per column.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ExpertiseBlock {
    /// Number of the first unit.
    pub start: u32,
    columns: [Vec<f32>; 5],
}

impl ExpertiseBlock {
    /// An empty block that begins at unit `start` and has room for `capacity` units.
    pub fn with_capacity(start: u32, capacity: usize) -> Self {
        Self { start, columns: std::array::from_fn(|_| Vec::with_capacity(capacity)) }
    }

    /// Puts columns (in [`Column::ALL`] order) together; `None` if their lengths differ.
    pub fn from_columns(start: u32, columns: [Vec<f32>; 5]) -> Option<Self> {
        let len = columns[0].len();
        columns.iter().all(|column| column.len() == len).then_some(Self { start, columns })
    }

    /// Appends the next unit.
    pub fn push(&mut self, unit: UnitExpertise) {
        for (column, values) in Column::ALL.iter().zip(&mut self.columns) {
            values.push(unit.get(*column));
        }
    }

    /// Appends the units of `next`, which follow this block's.
    pub fn append(&mut self, next: &Self) {
        debug_assert_eq!(next.start as usize, self.start as usize + self.len(), "blocks of consecutive units");
        self.columns.iter_mut().zip(&next.columns).for_each(|(column, more)| column.extend_from_slice(more));
    }

    /// How many units the block holds.
    pub fn len(&self) -> usize {
        self.columns[0].len()
    }

    /// Whether the block holds no unit.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One column, `[unit]`.
    pub fn column(&self, column: Column) -> &[f32] {
        &self.columns[column as usize]
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
