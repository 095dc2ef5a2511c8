//! Which units of a concept have come.

use lode_domain::expertise::{Column, ExpertiseBlock};

/// A range that cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// Beyond the last unit.
    Range { start: u64, end: u64 },
    /// The unit is there already.
    Twice(u32),
    /// Without a column that was announced, or with one that was not.
    Columns { column: Column },
    /// Not a finite number.
    Value { unit: u32, column: Column, value: f32 },
}

/// The units of one concept, a bit for each that has come.
pub(crate) struct Coverage {
    units: u32,
    /// What comes beside the columns that every concept has, in order.
    extra: Vec<Column>,
    seen: Vec<u64>,
    missing: u32,
}

impl Coverage {
    pub fn new(units: u32, extra: impl Iterator<Item = Column>) -> Self {
        Self { units, extra: extra.collect(), seen: vec![0; (units as usize).div_ceil(64)], missing: units }
    }

    /// Notes a range, in any order. One that is refused changes nothing.
    pub fn take(&mut self, range: &ExpertiseBlock) -> Result<(), Refusal> {
        self.check(range)?;
        for unit in range.start..range.start + range.len() as u32 {
            self.seen[unit as usize / 64] |= 1 << (unit % 64);
        }
        self.missing -= range.len() as u32;
        Ok(())
    }

    /// How many units are missing, and the first of them; `None` if the concept is whole.
    pub fn missing(&self) -> Option<(u32, u32)> {
        (self.missing > 0).then(|| (self.missing, (0..self.units).find(|&unit| !self.has(unit)).unwrap_or(0)))
    }

    fn has(&self, unit: u32) -> bool {
        self.seen[unit as usize / 64] >> (unit % 64) & 1 == 1
    }

    fn check(&self, range: &ExpertiseBlock) -> Result<(), Refusal> {
        let (start, end) = (u64::from(range.start), u64::from(range.start) + range.len() as u64);
        if end > u64::from(self.units) {
            return Err(Refusal::Range { start, end });
        }
        if let Some(unit) = (range.start..end as u32).find(|&unit| self.has(unit)) {
            return Err(Refusal::Twice(unit));
        }
        let (expected, came) = (&self.extra, range.extra_columns().collect::<Vec<_>>());
        let differs = |(one, other): (&Vec<Column>, &Vec<Column>)| one.iter().find(|c| !other.contains(c)).copied();
        if let Some(column) = differs((expected, &came)).or_else(|| differs((&came, expected))) {
            return Err(Refusal::Columns { column });
        }
        for column in Column::BASE.into_iter().chain(came) {
            let values = range.column(column);
            if let Some(place) = values.iter().position(|value| !value.is_finite()) {
                return Err(Refusal::Value { unit: range.start + place as u32, column, value: values[place] });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: u32, end: u32) -> ExpertiseBlock {
        let columns =
            std::array::from_fn(|column| (start..end).map(|unit| (unit * 5) as f32 + column as f32).collect());
        ExpertiseBlock::from_columns(start, columns).unwrap()
    }

    proptest! {
        #[test]
        fn any_partition_in_any_order_is_whole_at_its_end(
            units in 1u32..300,
            cuts in prop::collection::vec(0u32..300, 0..12),
            order in prop::collection::vec(any::<u64>(), 14),
        ) {
            let mut bounds: Vec<u32> = cuts.into_iter().filter(|&cut| cut < units).chain([0, units]).collect();
            bounds.sort_unstable();
            bounds.dedup();
            let mut ranges: Vec<_> = bounds.windows(2).map(|w| (w[0], w[1])).collect();
            ranges.sort_by_key(|&(start, _)| order[start as usize % order.len()]);

            let mut coverage = Coverage::new(units, std::iter::empty());
            let mut left = units;
            for (start, end) in ranges {
                prop_assert_eq!(coverage.missing().map(|(missing, _)| missing), Some(left));
                coverage.take(&range(start, end)).unwrap();
                left -= end - start;
                prop_assert_eq!(coverage.take(&range(start, end)), Err(Refusal::Twice(start)));
            }
            prop_assert_eq!(coverage.missing(), None);
        }
    }

    #[test]
    fn refused_ranges_change_nothing() {
        let mut coverage = Coverage::new(10, std::iter::empty());
        coverage.take(&range(2, 5)).unwrap();
        assert_eq!(coverage.take(&range(4, 7)), Err(Refusal::Twice(4)));
        assert_eq!(coverage.take(&range(8, 11)), Err(Refusal::Range { start: 8, end: 11 }));
        let bad =
            ExpertiseBlock::from_columns(5, [vec![0.5], vec![1.0], vec![f32::INFINITY], vec![1.0], vec![1.0]]).unwrap();
        assert_eq!(coverage.take(&bad), Err(Refusal::Value { unit: 5, column: Column::OnP50, value: f32::INFINITY }));
        let column = Column::Auroc;
        let more = range(5, 6).with(column, vec![0.5]).unwrap();
        assert_eq!(coverage.take(&more), Err(Refusal::Columns { column }));
        assert_eq!(Coverage::new(10, [column].into_iter()).take(&range(5, 6)), Err(Refusal::Columns { column }));
        assert_eq!(Coverage::new(10, [column].into_iter()).take(&more), Ok(()));
        assert_eq!(coverage.missing(), Some((7, 0)));
        coverage.take(&range(5, 10)).unwrap();
        assert_eq!(coverage.missing(), Some((2, 0)));
    }
}
