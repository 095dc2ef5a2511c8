//! A concept on its way into the index.

use std::sync::Arc;

use lode_domain::{
    criterion::Measures,
    expertise::{Column, ExpertiseBlock},
    record::{ConceptHeader, ConceptKey},
};

use crate::{
    IndexError,
    codec::{Damage, floats_to_bytes, unseal},
    coverage::{Coverage, Refusal},
    key::{self, BlockKey},
    scratch::Piece,
    store::{BLOCK_UNITS, Entry, Store, parse},
};

/// Blocks of each column that are moved into the database at a time: 1.25 MiB.
const MOVED_BLOCKS: u32 = 64;

/// One concept's expertise while it comes in; nobody sees it before [`Self::commit`].
///
/// Ranges may come in any order and need not be aligned to anything; each unit comes exactly once. What comes goes to a file beside
/// the database at once, and into the database with the commit, which a few stagings do at a time while the others wait: a
/// staging costs a bit a unit of memory, however many there are.
///
/// Dropped without a commit, it leaves nothing; what a commit that failed leaves is removed by the next
/// [`Index::open`](crate::Index::open) at the latest.
pub struct Staging {
    store: Arc<Store>,
    key: ConceptKey,
    units: u32,
    measures: Measures,
    /// `[column][unit]`.
    piece: Piece,
    /// Bytes of disk that are still to be written.
    claim: u64,
    coverage: Coverage,
    is_broken: bool,
}

impl Staging {
    pub(crate) fn new(
        store: Arc<Store>,
        key: ConceptKey,
        (units, measures): (u32, Measures),
    ) -> Result<Self, IndexError> {
        let size = u64::from(units) * measures.unit_bytes() as u64;
        let claim = store.claim_staging(&key.concept, size)?;
        let piece = store.scratch.piece(size);
        let coverage = Coverage::new(units, measures.columns());
        Ok(Self { store, key, units, measures, piece, claim, coverage, is_broken: false })
    }

    /// Takes the expertise of a range of units.
    ///
    /// # Errors
    /// If the range goes beyond the model's units, holds a unit that came before or a value that is not finite, or has not
    /// the columns that were announced: then nothing of it was taken. If the disk fails: then the staging is of no more use.
    pub fn write(&mut self, block: &ExpertiseBlock) -> Result<(), IndexError> {
        self.check_usable()?;
        self.coverage.take(block).map_err(|refusal| self.refused(refusal))?;
        for column in self.columns() {
            let written = self.piece.write(self.place(column, block.start), &floats_to_bytes(block.column(column)));
            if let Err(error) = written {
                self.is_broken = true;
                return Err(error);
            }
        }
        let written = (block.len() as u64 * self.measures.unit_bytes() as u64).min(self.claim);
        self.store.release(written);
        self.claim -= written;
        Ok(())
    }

    /// Makes the concept visible, in the place of what was indexed under its key. It is on disk when this returns.
    ///
    /// # Errors
    /// If units are missing, the disk has no room for the concept in the database, or the store fails. A commit that failed while
    /// it flushed may still have happened; the concept is whole then.
    pub fn commit(self, header: &ConceptHeader) -> Result<(), IndexError> {
        self.check_usable()?;
        if let Some((missing, first)) = self.coverage.missing() {
            let (concept, units) = (self.key.concept.clone(), self.units);
            return Err(IndexError::Incomplete { concept, missing, units, first });
        }
        let _inside = self.store.movers.enter();
        let size = u64::from(self.units) * self.measures.unit_bytes() as u64;
        let claim = self.store.claim_commit(&self.key.concept, size)?;
        let committed = self.move_into_database(header);
        self.store.release(claim);
        committed
    }

    fn move_into_database(&self, header: &ConceptHeader) -> Result<(), IndexError> {
        let slot = self.store.new_slot();
        let entry = Entry {
            slot,
            stamp: rand::random::<u64>().max(1),
            header: ConceptHeader { units: self.units, measures: self.measures, ..header.clone() },
        };
        let key = key::concept(&self.key);
        let payload = serde_json::to_vec(&entry)
            .map_err(|error| self.store.concepts.damaged(&key, &Damage::Content(error.to_string())))?;
        if let Err(error) = self.put_blocks(slot).and_then(|()| self.store.flush()) {
            if let Err(error) = self.store.remove_blocks(slot, self.units, self.measures.columns()) {
                tracing::warn!(concept = %self.key, %error, "blocks of a commit that failed stay until the index is opened again");
            }
            return Err(error);
        }
        // From here on the entry may be in the index: the blocks are its own.
        let replaced = self.store.concepts.put(&self.store.path, &key, &payload);
        self.store.listings.changed();
        let replaced = replaced?;
        self.store.acknowledge()?;

        self.store.derived.tell(|signal| signal.work = true);

        // The concept is safe; what it replaced is garbage, and a failure to remove garbage is no failure of the commit.
        let replaced = replaced.and_then(|value| unseal(&key, &value).and_then(parse::<Entry>).ok());
        if let Some(old) = replaced
            && let Err(error) = self.store.remove_blocks(old.slot, old.header.units, old.header.measures.columns())
        {
            tracing::warn!(concept = %self.key, %error, "what was replaced is still on disk until the index is opened again");
        }
        Ok(())
    }

    /// Copies all that was staged into the database, under `slot`.
    pub(crate) fn put_blocks(&self, slot: u64) -> Result<(), IndexError> {
        let stride = BLOCK_UNITS * MOVED_BLOCKS;
        for start in (0..self.units).step_by(stride as usize) {
            let units = stride.min(self.units - start) as usize;
            let read = |column: Column| self.piece.read(self.place(column, start), 4 * units);
            let columns: Vec<_> = self.columns().map(|column| (column, read(column))).collect();
            for (column, bytes) in columns {
                for (block, payload) in (start / BLOCK_UNITS..).zip(bytes?.chunks(4 * BLOCK_UNITS as usize)) {
                    let key = BlockKey { slot, column, block }.bytes();
                    self.store.blocks.put(&self.store.path, &key, payload)?;
                }
            }
        }
        Ok(())
    }

    /// What is staged of each unit, in order.
    fn columns(&self) -> impl Iterator<Item = Column> + use<> {
        Column::BASE.into_iter().chain(self.measures.columns())
    }

    /// Where a unit's value in a column stands in the piece.
    fn place(&self, column: Column, unit: u32) -> u64 {
        let number = self.columns().take_while(|&before| before != column).count() as u64;
        4 * (number * u64::from(self.units) + u64::from(unit))
    }

    fn check_usable(&self) -> Result<(), IndexError> {
        if self.is_broken {
            return Err(IndexError::Broken { concept: self.key.concept.clone() });
        }
        Ok(())
    }

    fn refused(&self, refusal: Refusal) -> IndexError {
        let concept = self.key.concept.clone();
        match refusal {
            Refusal::Range { start, end } => IndexError::OutOfRange { concept, start, end, units: self.units },
            Refusal::Columns { column } => IndexError::OtherColumns { concept, column },
            Refusal::Twice(unit) => IndexError::Twice { concept, unit },
            Refusal::Value { unit, column, value } => IndexError::BadValue { concept, unit, column, value },
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        self.store.release(self.claim);
    }
}
