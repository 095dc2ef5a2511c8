//! Who leads in a concept, noted while blocks of units come in any order.

use crate::{
    criterion::{Criterion, Measures},
    expertise::{Column, ExpertiseBlock},
    ranking::falling,
    unit::UnitId,
};

/// Units that the sparse regression is solved over.
const SCREENED: usize = 1000;

/// The first units of a concept by AP and by |Cohen's d|; as many as a closer look needs.
#[derive(Clone, Debug)]
pub struct Leaders {
    by_ap: First,
    by_distance: First,
}

impl Leaders {
    /// For what a job measures.
    pub fn new(measures: &Measures) -> Self {
        let screened = if measures.criteria.contains(Criterion::L1) { SCREENED } else { 0 };
        Self {
            by_ap: First::new(measures.intervals.map_or(0, |intervals| intervals.units as usize)),
            by_distance: First::new(screened),
        }
    }

    /// Notes a block of units.
    pub fn take(&mut self, block: &ExpertiseBlock) {
        let numbered = |values: &[f32]| (block.start..).map(UnitId).zip(values.to_vec());
        if self.by_ap.most > 0 {
            numbered(block.column(Column::Ap)).for_each(|(unit, ap)| self.by_ap.take(falling(ap, unit)));
        }
        if self.by_distance.most > 0 {
            let distances = numbered(block.column(Column::CohensD));
            distances.for_each(|(unit, d)| self.by_distance.take(falling(d.abs(), unit)));
        }
    }

    /// The first by AP, by rising unit.
    pub fn by_ap(&self) -> Vec<UnitId> {
        self.by_ap.units()
    }

    /// The first by |Cohen's d|, by rising unit.
    pub fn by_distance(&self) -> Vec<UnitId> {
        self.by_distance.units()
    }
}

/// The smallest of many numbers; never more than twice as many and some are held.
#[derive(Clone, Debug)]
struct First {
    most: usize,
    kept: Vec<u64>,
}

impl First {
    fn new(most: usize) -> Self {
        Self { most, kept: Vec::new() }
    }

    fn take(&mut self, number: u64) {
        self.kept.push(number);
        if self.kept.len() > 2 * self.most + 1024 {
            self.kept.select_nth_unstable(self.most);
            self.kept.truncate(self.most);
        }
    }

    /// The units of those numbers, rising.
    fn units(&self) -> Vec<UnitId> {
        let mut kept = self.kept.clone();
        kept.sort_unstable();
        kept.truncate(self.most);
        let mut units: Vec<UnitId> = kept.into_iter().map(|number| UnitId(number as u32)).collect();
        units.sort_unstable();
        units
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::criterion::Intervals;

    #[test]
    fn leaders_are_the_first_whatever_the_order_of_blocks() {
        let ap = |unit: u32| (unit.wrapping_mul(2_654_435_761) >> 20) as f32 / 4096.0;
        let block = |start: u32| {
            let column: Vec<f32> = (start..start + 500).map(ap).collect();
            let d = column.iter().map(|ap| 2.0 - 4.0 * ap).collect();
            ExpertiseBlock::from_columns(start, std::array::from_fn(|_| column.clone()))
                .and_then(|block| block.with(Column::CohensD, d))
                .unwrap()
        };
        let measures = Measures {
            criteria: [Criterion::L1].into_iter().collect(),
            intervals: Some(Intervals { units: 7, seed: 1 }),
            ..Measures::default()
        };
        let taken = |order: &mut dyn Iterator<Item = u32>| {
            let mut leaders = Leaders::new(&measures);
            order.for_each(|start| leaders.take(&block(start)));
            (leaders.by_ap(), leaders.by_distance())
        };
        let rising = taken(&mut (0..20).map(|number| number * 500));
        assert_eq!(rising, taken(&mut (0..20).rev().map(|number| number * 500)));
        let mut all: Vec<u32> = (0..10_000).collect();
        all.sort_by(|&a, &b| ap(b).total_cmp(&ap(a)).then(a.cmp(&b)));
        let mut first: Vec<UnitId> = all[..7].iter().map(|&unit| UnitId(unit)).collect();
        first.sort();
        assert_eq!(rising.0, first);
        assert_eq!(rising.1.len(), SCREENED);
    }
}
