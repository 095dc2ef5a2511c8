//! A concept on its way into the index.

use std::sync::Arc;

use lode_domain::{
    expertise::{Column, ExpertiseBlock},
    record::{ConceptHeader, ConceptKey},
};

use crate::{
    IndexError,
    assembly::{Assembly, Refusal},
    codec::{Damage, floats_to_bytes, unseal},
    key::{self, BlockKey},
    store::{BLOCK_UNITS, Entry, Store, parse},
};

/// One concept's expertise while it comes in; nobody sees it before [`Self::commit`].
///
/// Ranges may come in any order and need not be aligned to anything; each unit comes exactly once. What is whole goes to disk at
/// once; held in memory is what stands in blocks that are not whole, at most two blocks (40 KiB) for every gap between the
/// ranges so far, and never more than the concept itself, 20 bytes a unit.
///
/// Dropped without a commit, it removes what it wrote; where it cannot, the next [`Index::open`](crate::Index::open) does.
pub struct Staging {
    store: Arc<Store>,
    key: ConceptKey,
    units: u32,
    slot: u64,
    claim: u64,
    assembly: Assembly,
    state: State,
}

/// What dropping has to clean up.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Open,
    Broken,
    /// The entry may be in the index: the blocks are its own.
    Committed,
}

impl Staging {
    pub(crate) fn new(store: Arc<Store>, key: ConceptKey, units: u32) -> Result<Self, IndexError> {
        let claim = store.claim(&key.concept, units)?;
        let slot = store.new_slot();
        Ok(Self { assembly: Assembly::new(units, BLOCK_UNITS), state: State::Open, store, key, units, slot, claim })
    }

    /// Takes the expertise of a range of units.
    ///
    /// # Errors
    /// If the range goes beyond the model's units, holds a unit that came before or a value that is not finite: then
    /// nothing of it was taken. If the store fails: then the staging is of no more use.
    pub fn write(&mut self, block: &ExpertiseBlock) -> Result<(), IndexError> {
        self.check_open()?;
        let whole = self.assembly.take(block).map_err(|refusal| self.refused(refusal))?;
        for (number, columns) in whole {
            for column in Column::ALL {
                let key = BlockKey { slot: self.slot, column, block: number }.bytes();
                let payload = floats_to_bytes(&columns[column as usize]);
                if let Err(error) = self.store.blocks.put(&self.store.path, &key, &payload) {
                    self.state = State::Broken;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Makes the concept visible, in the place of what was indexed under its key. It is on disk when this returns.
    ///
    /// # Errors
    /// If units are missing, or the store fails. A commit that failed while it flushed may still have happened; the concept is
    /// whole then.
    pub fn commit(mut self, header: &ConceptHeader) -> Result<(), IndexError> {
        self.check_open()?;
        if let Some((missing, first)) = self.assembly.missing() {
            let (concept, units) = (self.key.concept.clone(), self.units);
            return Err(IndexError::Incomplete { concept, missing, units, first });
        }
        let entry = Entry {
            slot: self.slot,
            stamp: rand::random::<u64>().max(1),
            header: ConceptHeader { units: self.units, ..header.clone() },
        };
        let key = key::concept(&self.key);
        let payload = serde_json::to_vec(&entry)
            .map_err(|error| self.store.concepts.damaged(&key, &Damage::Content(error.to_string())))?;

        self.store.flush()?;
        self.state = State::Committed;
        let replaced = self.store.concepts.put(&self.store.path, &key, &payload);
        self.store.listings.changed();
        let replaced = replaced?;
        self.store.acknowledge()?;

        self.store.derived.tell(|signal| signal.work = true);

        // The concept is safe; what it replaced is garbage, and a failure to remove garbage is no failure of the commit.
        let replaced = replaced.and_then(|value| unseal(&key, &value).and_then(parse::<Entry>).ok());
        if let Some(old) = replaced
            && let Err(error) = self.store.remove_blocks(old.slot, old.header.units)
        {
            tracing::warn!(concept = %self.key, %error, "what was replaced is still on disk until the index is opened again");
        }
        Ok(())
    }

    fn check_open(&self) -> Result<(), IndexError> {
        if self.state == State::Open {
            return Ok(());
        }
        Err(IndexError::Broken { concept: self.key.concept.clone() })
    }

    fn refused(&self, refusal: Refusal) -> IndexError {
        let concept = self.key.concept.clone();
        match refusal {
            Refusal::Range { start, end } => IndexError::OutOfRange { concept, start, end, units: self.units },
            Refusal::Twice(unit) => IndexError::Twice { concept, unit },
            Refusal::Value { unit, column, value } => IndexError::BadValue { concept, unit, column, value },
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.state != State::Committed
            && let Err(error) = self.store.remove_blocks(self.slot, self.units)
        {
            tracing::warn!(concept = %self.key, %error, "an abandoned staging is still on disk until the index is opened again");
        }
        self.store.release(self.claim);
    }
}
