//! Pooled responses of a shard, `[sentence, unit]`, within a memory budget: what does not fit goes to a file.
//!
//! Units are cut into blocks, and the store is laid out `[block][sentence][unit of the block]`: sentences arrive row by
//! row, scoring reads block by block, and either way the bytes lie together. The first blocks are kept in memory, as many as
//! the budget holds; the rest goes to an unnamed temporary file, which the system removes whatever happens.

use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// Bytes that one block of all sentences should take, so that a block being scored is small beside the budget.
const BLOCK_BYTES: usize = 8 << 20;
/// Units in a block at least, so that reads from the file stay long.
const LEAST_UNITS: usize = 16;
/// Units in a block at most: a block's expertise in a concept, 20 bytes a unit, must fit a message with ease.
const MOST_UNITS: usize = 32_768;

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
        let block_units = (BLOCK_BYTES / row_bytes).clamp(LEAST_UNITS, units.clamp(LEAST_UNITS, MOST_UNITS));
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

    /// Bytes that went to the file.
    pub(crate) fn spilled_bytes(&self) -> u64 {
        (self.kept.len()..self.blocks()).map(|block| (self.units(block).len() * self.sentences * 4) as u64).sum()
    }

    /// Appends sentences; `rows` are `[unit]` each.
    pub(crate) fn append(&mut self, rows: &[&[f32]]) -> Result<(), SpillError> {
        debug_assert!(self.sentences + rows.len() <= self.capacity && rows.iter().all(|row| row.len() == self.units));
        for block in 0..self.blocks() {
            let units = self.units(block);
            if let Some(kept) = self.kept.get_mut(block) {
                rows.iter().for_each(|row| kept.extend_from_slice(&row[units.clone()]));
                continue;
            }
            let bytes: Vec<u8> =
                rows.iter().flat_map(|row| &row[units.clone()]).flat_map(|response| response.to_le_bytes()).collect();
            let at = self.offset(block) + (self.sentences * units.len() * 4) as u64;
            if let Some(file) = &self.spill {
                file.write_all_at(&bytes, at).map_err(|source| self.failed("writing", source))?;
            }
        }
        self.sentences += rows.len();
        Ok(())
    }

    /// One block by unit: `[unit of the block, sentence]`.
    pub(crate) fn by_unit(&self, block: usize) -> Result<Vec<f32>, SpillError> {
        let units = self.units(block).len();
        let read;
        let by_sentence: &[f32] = match (self.kept.get(block), &self.spill) {
            (Some(kept), _) => kept,
            (None, Some(file)) => {
                let mut bytes = vec![0; units * self.sentences * 4];
                file.read_exact_at(&mut bytes, self.offset(block)).map_err(|source| self.failed("reading", source))?;
                let (chunks, _) = bytes.as_chunks::<4>();
                read = chunks.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect::<Vec<f32>>();
                &read
            }
            (None, None) => &[],
        };
        let mut by_unit = vec![0.0; by_sentence.len()];
        for (sentence, row) in by_sentence.chunks_exact(units).enumerate() {
            for (unit, &response) in row.iter().enumerate() {
                by_unit[unit * self.sentences + sentence] = response;
            }
        }
        Ok(by_unit)
    }

    /// Where a block begins in the file: blocks stand one after the other, each with room for all sentences.
    fn offset(&self, block: usize) -> u64 {
        ((block - self.kept.len()) * self.block_units * self.capacity * 4) as u64
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> SpillError {
        SpillError { doing, dir: self.dir.clone(), source }
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
            for block in 0..store.blocks() {
                let found = store.by_unit(block).unwrap();
                for (place, unit) in store.units(block).enumerate() {
                    for sentence in (0..sentences).step_by(997) {
                        assert_eq!(found[place * sentences + sentence], response(sentence, unit));
                    }
                }
            }
        }
    }

    #[test]
    fn few_sentences_of_a_large_model_make_blocks_that_fit_a_message() {
        let store = ResponseStore::new(700_000, 3, u64::MAX, &std::env::temp_dir()).unwrap();
        assert!((0..store.blocks()).all(|block| store.units(block).len() * 20 < 1 << 20));
        assert_eq!((0..store.blocks()).map(|block| store.units(block).len()).sum::<usize>(), 700_000);
    }

    #[test]
    fn memory_stays_within_the_budget() {
        let budget = 9 << 20;
        let store = filled(100, 40_000, budget);
        let kept: usize = store.kept.iter().map(|block| block.len() * 4).sum();
        assert!(kept > 0 && kept as u64 <= budget, "{kept}");
        assert_eq!(store.spilled_bytes() + kept as u64, 100 * 40_000 * 4);
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let error = ResponseStore::new(100, 40_000, 0, Path::new("/nonexistent")).err().unwrap().to_string();
        assert!(error.contains("in /nonexistent") && error.contains("--memory-budget"), "{error}");
    }
}
