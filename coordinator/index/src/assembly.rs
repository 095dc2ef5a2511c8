//! From ranges as they come to blocks as they are stored.

use std::collections::BTreeMap;

use lode_domain::expertise::{Column, ExpertiseBlock};

/// A range that cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Refusal {
    /// Beyond the last unit.
    Range { start: u64, end: u64 },
    /// The unit is there already.
    Twice(u32),
    /// Not a finite number.
    Value { unit: u32, column: Column, value: f32 },
}

/// A whole block of expertise: its number, and `[unit]` per column.
pub(crate) type Whole = (u32, [Vec<f32>; 5]);

/// Collects ranges in any order into blocks of `block_units` units (the last may be shorter).
///
/// Only blocks that are begun and not whole are held: at most two for every gap between the ranges taken so far, and never
/// more than the concept, 20 bytes a unit (and one bit a unit for what has come).
pub(crate) struct Assembly {
    units: u32,
    block_units: u32,
    seen: Vec<u64>,
    missing: u32,
    begun: BTreeMap<u32, Begun>,
}

struct Begun {
    columns: [Vec<f32>; 5],
    missing: u32,
}

impl Assembly {
    pub fn new(units: u32, block_units: u32) -> Self {
        let seen = vec![0; (units as usize).div_ceil(64)];
        Self { units, block_units, seen, missing: units, begun: BTreeMap::new() }
    }

    /// Takes a range and returns the blocks that it made whole. A range that is refused changes nothing.
    pub fn take(&mut self, range: &ExpertiseBlock) -> Result<Vec<Whole>, Refusal> {
        self.check(range)?;
        let end = range.start + range.len() as u32;
        let mut whole = Vec::new();
        let mut at = range.start;
        while at < end {
            let number = at / self.block_units;
            let block_start = number * self.block_units;
            let block_len = self.block_units.min(self.units - block_start);
            let until = end.min(block_start + block_len);
            let begun = self.begun.entry(number).or_insert_with(|| Begun {
                columns: std::array::from_fn(|_| vec![0.0; block_len as usize]),
                missing: block_len,
            });
            for column in Column::ALL {
                let from = &range.column(column)[(at - range.start) as usize..(until - range.start) as usize];
                begun.columns[column as usize][(at - block_start) as usize..(until - block_start) as usize]
                    .copy_from_slice(from);
            }
            begun.missing -= until - at;
            if begun.missing == 0 {
                whole.extend(self.begun.remove(&number).map(|begun| (number, begun.columns)));
            }
            at = until;
        }
        for unit in range.start..end {
            self.seen[unit as usize / 64] |= 1 << (unit % 64);
        }
        self.missing -= end - range.start;
        Ok(whole)
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
        for column in Column::ALL {
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
        fn any_partition_in_any_order_gives_the_same_blocks(
            units in 1u32..300,
            block_units in 1u32..40,
            cuts in prop::collection::vec(0u32..300, 0..12),
            order in prop::collection::vec(any::<u64>(), 14),
        ) {
            let mut bounds: Vec<u32> = cuts.into_iter().filter(|&cut| cut < units).chain([0, units]).collect();
            bounds.sort_unstable();
            bounds.dedup();
            let mut ranges: Vec<_> = bounds.windows(2).map(|w| (w[0], w[1])).collect();
            ranges.sort_by_key(|&(start, _)| order[start as usize % order.len()]);

            let mut assembly = Assembly::new(units, block_units);
            let mut blocks = Vec::new();
            for (start, end) in ranges {
                prop_assert!(assembly.missing().is_some());
                blocks.extend(assembly.take(&range(start, end)).unwrap());
                prop_assert_eq!(assembly.take(&range(start, end)), Err(Refusal::Twice(start)));
            }
            prop_assert_eq!(assembly.missing(), None);
            prop_assert!(assembly.begun.is_empty());
            blocks.sort_by_key(|block| block.0);
            for column in Column::ALL {
                let joined: Vec<f32> = blocks.iter().flat_map(|block| block.1[column as usize].clone()).collect();
                let all = range(0, units);
                prop_assert_eq!(&joined[..], all.column(column));
            }
            prop_assert_eq!(blocks.len() as u32, units.div_ceil(block_units));
        }
    }

    #[test]
    fn refused_ranges_change_nothing() {
        let mut assembly = Assembly::new(10, 4);
        assembly.take(&range(2, 5)).unwrap();
        assert_eq!(assembly.take(&range(4, 7)), Err(Refusal::Twice(4)));
        assert_eq!(assembly.take(&range(8, 11)), Err(Refusal::Range { start: 8, end: 11 }));
        let bad =
            ExpertiseBlock::from_columns(5, [vec![0.5], vec![1.0], vec![f32::INFINITY], vec![1.0], vec![1.0]]).unwrap();
        assert_eq!(assembly.take(&bad), Err(Refusal::Value { unit: 5, column: Column::OnP50, value: f32::INFINITY }));
        assert_eq!(assembly.missing(), Some((7, 0)));
        assert_eq!(assembly.take(&range(5, 10)).unwrap().len(), 2);
    }

    #[test]
    fn ranges_in_order_hold_one_block_at_most() {
        let mut assembly = Assembly::new(1000, 64);
        for start in (0..1000).step_by(10) {
            assembly.take(&range(start, start + 10)).unwrap();
            assert!(assembly.begun.len() <= 1);
        }
    }
}
