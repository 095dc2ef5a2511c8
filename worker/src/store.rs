//! Pooled responses of a shard, `[sentence, unit]`, within a memory budget: what does not fit goes to a file.
//!
//! Units are cut into blocks, and the store is laid out `[block][sentence][unit of the block]`: sentences arrive row by
//! row, scoring reads block by block, and either way the bytes lie together. A block is as large as a core's cache, for it is
//! turned around and scored by one. The first blocks are kept in memory, as many as the budget holds; the rest goes to an unnamed
//! temporary file, which the system removes whatever happens.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Bytes that one block of all sentences should take: it and its transpose fit the cache of a core.
const BLOCK_BYTES: usize = 512 << 10;
/// Units in a block at least, so that reads and writes of the file stay long; blocks are multiples of it.
const LEAST_UNITS: usize = 16;
/// Units in a block at most.
const MOST_UNITS: usize = 4096;
/// Sentences that are transposed at a time: their responses to a unit fill a cache line.
const STRIP: usize = 16;

/// Responses that cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("{doing} responses beyond the memory budget in {}: {source}; make room there, or raise --memory-budget", dir.display())]
pub(crate) struct SpillError {
    doing: &'static str,
    dir: PathBuf,
    source: io::Error,
}

/// See the module.
pub(crate) struct ResponseStore {
    units: usize,
    /// Sentences there will be, and are.
    capacity: usize,
    sentences: usize,
    block_units: usize,
    /// The blocks in memory, each `[sentence, unit of the block]`.
    kept: Vec<Vec<f32>>,
    /// The file of the other blocks.
    spill: Option<File>,
    dir: PathBuf,
}

impl ResponseStore {
    /// A store for `capacity` sentences of `units` units that keeps at most `budget` bytes in memory.
    pub(crate) fn new(units: usize, capacity: usize, budget: u64, dir: &Path) -> Result<Self, SpillError> {
        let row_bytes = 4 * capacity.max(1);
        let strips = (BLOCK_BYTES / row_bytes / LEAST_UNITS).clamp(1, MOST_UNITS / LEAST_UNITS);
        let block_units = (strips * LEAST_UNITS).min(units.next_multiple_of(LEAST_UNITS).max(LEAST_UNITS));
        let blocks = units.div_ceil(block_units);
        let fitting = usize::try_from(budget / (block_units * row_bytes) as u64).unwrap_or(usize::MAX);
        let kept = blocks.min(fitting);
        let dir = dir.to_owned();
        let spill = match kept < blocks {
            false => None,
            true => Some(tempfile::tempfile_in(&dir).map_err(|source| SpillError {
                doing: "opening a file for",
                dir: dir.clone(),
                source,
            })?),
        };
        Ok(Self { units, capacity, sentences: 0, block_units, kept: vec![Vec::new(); kept], spill, dir })
    }

    /// How many blocks the units are cut into.
    pub(crate) fn blocks(&self) -> usize {
        self.units.div_ceil(self.block_units)
    }

    /// The units of a block.
    pub(crate) fn units(&self, block: usize) -> Range<usize> {
        let start = block * self.block_units;
        start..(start + self.block_units).min(self.units)
    }

    /// The block that a unit is in.
    pub(crate) fn block_of(&self, unit: usize) -> usize {
        unit / self.block_units
    }

    /// Bytes that went to the file.
    pub(crate) fn spilled_bytes(&self) -> u64 {
        (self.kept.len()..self.blocks()).map(|block| (self.units(block).len() * self.sentences * 4) as u64).sum()
    }

    /// Bytes that it will hold in memory.
    pub(crate) fn memory_bytes(&self) -> u64 {
        (0..self.kept.len()).map(|block| (self.units(block).len() * self.capacity * 4) as u64).sum()
    }

    /// Appends sentences; `rows` are `[unit]` each.
    pub(crate) fn append(&mut self, rows: &[&[f32]]) -> Result<(), SpillError> {
        debug_assert!(self.sentences + rows.len() <= self.capacity && rows.iter().all(|row| row.len() == self.units));
        let mut bytes = Vec::new();
        for block in 0..self.blocks() {
            let units = self.units(block);
            if let Some(kept) = self.kept.get_mut(block) {
                // All of its room at once: it never moves.
                kept.reserve_exact(self.capacity * units.len() - kept.len());
                rows.iter().for_each(|row| kept.extend_from_slice(&row[units.clone()]));
                continue;
            }
            bytes.clear();
            for row in rows {
                row[units.clone()].iter().for_each(|response| bytes.extend_from_slice(&response.to_le_bytes()));
            }
            let at = self.offset(block) + (self.sentences * units.len() * 4) as u64;
            if let Some(file) = &self.spill {
                file.write_all_at(&bytes, at).map_err(|source| self.failed("writing", source))?;
            }
        }
        self.sentences += rows.len();
        Ok(())
    }

    /// One block by unit, `[unit of the block, sentence]`, into `by_unit`.
    pub(crate) fn by_unit(&self, block: usize, by_unit: &mut Vec<f32>) -> Result<(), SpillError> {
        let units = self.units(block).len();
        by_unit.resize(units * self.sentences, 0.0);
        match (self.kept.get(block), &self.spill) {
            (Some(kept), _) => transpose(kept, units, self.sentences, by_unit),
            (None, Some(file)) => {
                let mut bytes = vec![0; units * self.sentences * 4];
                file.read_exact_at(&mut bytes, self.offset(block)).map_err(|source| self.failed("reading", source))?;
                let (chunks, _) = bytes.as_chunks::<4>();
                let read: Vec<f32> = chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
                transpose(&read, units, self.sentences, by_unit);
            }
            // Every block is in one of them.
            (None, None) => {}
        }
        Ok(())
    }

    /// Where a block begins in the file: blocks stand one after the other, each with room for all sentences.
    fn offset(&self, block: usize) -> u64 {
        ((block - self.kept.len()) * self.block_units * self.capacity * 4) as u64
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> SpillError {
        SpillError { doing, dir: self.dir.clone(), source }
    }
}

/// `[sentence, unit]` to `[unit, sentence]`, strip by strip of sentences, so that neither side leaves the cache.
fn transpose(by_sentence: &[f32], units: usize, sentences: usize, by_unit: &mut [f32]) {
    for (strip, rows) in by_sentence.chunks(STRIP * units).enumerate() {
        let (from, wide) = (strip * STRIP, rows.len() / units);
        for (unit, row) in by_unit.chunks_exact_mut(sentences).enumerate() {
            for (response, sentence) in row[from..from + wide].iter_mut().zip(rows.chunks_exact(units)) {
                *response = sentence[unit];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A response that says whose it is.
    fn response(sentence: usize, unit: usize) -> f32 {
        (sentence * 10_000 + unit) as f32 + 0.25
    }

    fn filled(units: usize, sentences: usize, budget: u64) -> ResponseStore {
        let mut store = ResponseStore::new(units, sentences, budget, &std::env::temp_dir()).unwrap();
        let rows: Vec<Vec<f32>> = (0..sentences).map(|s| (0..units).map(|u| response(s, u)).collect()).collect();
        for batch in rows.chunks(3) {
            store.append(&batch.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        }
        store
    }

    #[test]
    fn every_budget_gives_back_the_same_responses() {
        // 40,000 sentences make a block as small as it gets, so that 100 units are several blocks.
        let (units, sentences) = (100, 40_000);
        for budget in [0, 9 << 20, u64::MAX] {
            let store = filled(units, sentences, budget);
            assert!(store.blocks() > 1);
            assert_eq!(store.spill.is_some(), budget != u64::MAX);
            let mut found = Vec::new();
            for block in 0..store.blocks() {
                store.by_unit(block, &mut found).unwrap();
                assert_eq!(found.len(), store.units(block).len() * sentences);
                for (place, unit) in store.units(block).enumerate() {
                    for sentence in (0..sentences).step_by(997) {
                        assert_eq!(found[place * sentences + sentence], response(sentence, unit));
                    }
                }
            }
        }
    }

    #[test]
    fn blocks_cover_all_units_once() {
        for (units, sentences) in [(1, 1), (15, 0), (16, 3), (82_944, 1_700), (700_000, 3), (100, 1_000_000)] {
            let store = ResponseStore::new(units, sentences, u64::MAX, &std::env::temp_dir()).unwrap();
            let covered: Vec<usize> = (0..store.blocks()).flat_map(|block| store.units(block)).collect();
            assert_eq!(covered, (0..units).collect::<Vec<_>>());
            assert_eq!(store.memory_bytes(), (4 * units * sentences) as u64);
        }
    }

    #[test]
    fn transposing_loses_nothing_at_the_edges() {
        for (units, sentences) in [(1, 1), (3, 16), (16, 17), (5, 31), (40, 33)] {
            let by_sentence: Vec<f32> = (0..sentences).flat_map(|s| (0..units).map(move |u| response(s, u))).collect();
            let mut by_unit = vec![0.0; by_sentence.len()];
            transpose(&by_sentence, units, sentences, &mut by_unit);
            let expected: Vec<f32> = (0..units).flat_map(|u| (0..sentences).map(move |s| response(s, u))).collect();
            assert_eq!(by_unit, expected);
        }
    }

    #[test]
    fn memory_stays_within_the_budget() {
        let budget = 9 << 20;
        let store = filled(100, 40_000, budget);
        let kept: usize = store.kept.iter().map(|block| block.len() * 4).sum();
        assert!(kept > 0 && kept as u64 <= budget, "{kept}");
        // Nor was more reserved than is used.
        assert_eq!(store.kept.iter().map(|block| block.capacity() * 4).sum::<usize>(), kept);
        assert_eq!(store.memory_bytes(), kept as u64);
        assert_eq!(store.spilled_bytes() + kept as u64, 100 * 40_000 * 4);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let error = ResponseStore::new(100, 40_000, 0, Path::new("/nonexistent")).err().unwrap().to_string();
        assert!(error.contains("in /nonexistent") && error.contains("--memory-budget"), "{error}");
    }
}
