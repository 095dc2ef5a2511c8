//! Keys and values of earlier tokens: one arena per block, a region of rows per sequence.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};

use crate::rows::Keys;

/// Keys and values of all sequences of an engine.
#[derive(Default)]
pub(crate) struct Cache {
    /// Per block keys and values, each `[slot, key head * dim]`; made when the block first runs.
    blocks: Vec<Option<[Tensor; 2]>>,
    /// Rows that each arena has, or will have when it is made.
    slots: usize,
    /// First slot to length of every region in use.
    regions: BTreeMap<usize, usize>,
}

impl Cache {
    /// For a decoder of `blocks` blocks.
    pub fn new(blocks: usize) -> Self {
        Self { blocks: vec![None; blocks], ..Self::default() }
    }

    /// Reserves `len` slots and gives the first; grows the arenas if no gap is wide enough.
    pub fn reserve(&mut self, len: usize) -> Result<usize> {
        let mut start = 0;
        for (&first, &taken) in &self.regions {
            if first - start >= len {
                break;
            }
            start = first + taken;
        }
        if start + len > self.slots {
            self.grow((start + len).max(2 * self.slots))?;
        }
        self.regions.insert(start, len);
        Ok(start)
    }

    /// Gives the region that begins at `start` back.
    pub fn release(&mut self, start: usize) {
        self.regions.remove(&start);
        if self.regions.is_empty() {
            // An idle engine holds no memory.
            self.blocks.fill(None);
            self.slots = 0;
        }
    }

    fn grow(&mut self, slots: usize) -> Result<()> {
        self.slots = slots;
        for [k, v] in self.blocks.iter_mut().flatten() {
            for arena in [k, v] {
                let larger = Tensor::zeros((slots, arena.dim(1)?), arena.dtype(), arena.device())?;
                larger.slice_set(arena, 0, 0)?;
                *arena = larger;
            }
        }
        Ok(())
    }
}

/// Rows of a batch that are kept: `rows` from `first_row` on go to the slots from `slot` on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    /// First row of the batch.
    pub first_row: usize,
    /// How many rows.
    pub rows: usize,
    /// Where they go.
    pub slot: usize,
}

/// The cache as a forward pass sees it.
pub(crate) struct CachedKeys<'a> {
    /// Where keys and values are.
    pub cache: &'a mut Cache,
    /// What this batch adds.
    pub kept: Vec<Kept>,
}

impl Keys for CachedKeys<'_> {
    fn extend(&mut self, block: usize, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
        let slots = self.cache.slots;
        let arena = |new: &Tensor| Tensor::zeros((slots, new.dim(1)?), new.dtype(), new.device());
        let arenas = match &mut self.cache.blocks[block] {
            Some(arenas) => arenas,
            empty => empty.insert([arena(&k)?, arena(&v)?]),
        };
        for (arena, new) in arenas.iter().zip([&k, &v]) {
            for kept in &self.kept {
                arena.slice_set(&new.narrow(0, kept.first_row, kept.rows)?.contiguous()?, 0, kept.slot)?;
            }
        }
        let [k, v] = arenas;
        Ok((k.clone(), v.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_never_overlap_and_gaps_are_used_again() {
        let mut cache = Cache::new(1);
        assert_eq!([cache.reserve(10).unwrap(), cache.reserve(5).unwrap(), cache.reserve(7).unwrap()], [0, 10, 15]);
        cache.release(10);
        assert_eq!(cache.reserve(6).unwrap(), 22, "six do not fit a gap of five");
        assert_eq!(cache.reserve(2).unwrap(), 10);
        assert_eq!(cache.reserve(3).unwrap(), 12);
        for start in [0, 12, 10, 15, 22] {
            cache.release(start);
        }
        assert_eq!(cache.slots, 0);
    }
}
