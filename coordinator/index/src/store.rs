//! The open database: its parts, its durability, its slots, its claim to disk space.

use std::{
    collections::BTreeSet,
    fs::File,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use lode_domain::{
    concept::ConceptId,
    expertise::Column,
    id::ModelHash,
    record::{ConceptHeader, ConceptKey},
};
use serde::{Deserialize, Serialize};

use crate::{
    IndexError,
    codec::{Damage, unseal},
    derived::Derived,
    gate::Gate,
    key::{self, BlockKey},
    ledger::Ledger,
    listing::Listings,
    open::{self, refused},
    scratch::Scratch,
    shelf::{Shelf, failed},
};

/// Units in a block: 4 KiB a column. The crate's documentation says why.
pub(crate) const BLOCK_UNITS: u32 = 1024;

/// What a concept may take in the database for every byte of its values: sled appends, and collects later.
const SPACE_FACTOR: u64 = 5;

/// How many stagings move their concept into the database at a time. sled keeps in memory what it has not written, and
/// two keep two cores and a disk busy.
const MOVERS: usize = 2;

/// Bytes left free for the rest of the machine, and for sled's own tables.
const SPACE_MARGIN: u64 = 64 << 20;

/// Under what the database counts its changes.
const CHANGES: &[u8] = b"changes";

/// How far new slots keep away from blocks that cannot be looked at.
const SLOT_GAP: u64 = 1 << 32;

const MINE_AGAIN: &str = "mine that concept again";
const REGISTER_AGAIN: &str = "register the model again: start a worker with it";

/// What stands under a concept's key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The staging whose blocks hold the concept.
    pub slot: u64,
    /// Drawn for each staging. A slot's number may come back after a restart, the two together never do: what is derived from
    /// blocks names both. 0, from before there were stamps, stands for no stamp.
    #[serde(default)]
    pub stamp: u64,
    /// What users see.
    pub header: ConceptHeader,
}

pub(crate) struct Store {
    pub path: PathBuf,
    pub models: Shelf,
    pub names: Shelf,
    pub concepts: Shelf,
    pub blocks: Shelf,
    /// Copies that answer questions faster.
    pub derived: Derived,
    pub listings: Listings,
    /// What is staged.
    pub scratch: Arc<Scratch>,
    /// Those who move what is staged into the database.
    pub movers: Gate,
    database: sled::Db,
    /// sled's log by a handle of our own: sled hands its writes to the disk but never asks for the file's metadata, so a
    /// log that grew would be lost with the power.
    log: File,
    ledger: Ledger,
    next_slot: AtomicU64,
    /// Bytes that stagings and commits under way are still to write.
    claimed: AtomicU64,
}

impl Store {
    pub fn open(path: &Path, cache: u64) -> Result<Self, IndexError> {
        let database = open::open(path, cache)?;
        let shelf = |name, describe, remedy| {
            let tree = database.open_tree(name).map_err(|error| failed(path, "opening", error))?;
            Ok::<_, IndexError>(Shelf { name, describe, remedy, tree })
        };
        let store = Self {
            path: path.to_owned(),
            models: shelf("models", describe_model, REGISTER_AGAIN)?,
            names: shelf("names", describe_text, REGISTER_AGAIN)?,
            concepts: shelf("concepts", describe_concept, MINE_AGAIN)?,
            blocks: shelf("blocks", describe_block, MINE_AGAIN)?,
            log: File::open(path.join("db")).map_err(|error| refused(path, "opening the log", error))?,
            ledger: Ledger::open(path, changes(path, &database)?)?,
            derived: Derived::open(path)?,
            listings: Listings::default(),
            scratch: Scratch::open(path)?,
            movers: Gate::new(MOVERS),
            database,
            next_slot: AtomicU64::new(0),
            claimed: AtomicU64::new(0),
        };
        store.collect_garbage()?;
        store.flush()?;
        // The folder's own entries, once: the files in it never change their names.
        File::open(path).and_then(|folder| folder.sync_all()).map_err(|error| refused(path, "syncing", error))?;
        Ok(store)
    }

    /// Returns when everything written so far would survive a power cut.
    pub fn flush(&self) -> Result<(), IndexError> {
        self.database.flush().map_err(|error| failed(&self.path, "flushing", error))?;
        self.log.sync_all().map_err(|error| refused(&self.path, "syncing the log", error))
    }

    /// Flushes, and notes that what was written so far can be relied on.
    pub fn acknowledge(&self) -> Result<(), IndexError> {
        let count = |old: Option<&[u8]>| Some(as_count(old).wrapping_add(1).to_le_bytes().to_vec());
        let counted = self.database.update_and_fetch(CHANGES, count);
        let counted = counted.map_err(|error| failed(&self.path, "counting a change", error))?;
        self.flush()?;
        self.ledger.acknowledge(&self.path, as_count(counted.as_deref()))
    }

    pub fn size_on_disk(&self) -> Result<u64, IndexError> {
        let database = self.database.size_on_disk().map_err(|error| failed(&self.path, "measuring", error))?;
        Ok(database + self.derived.size_on_disk())
    }

    /// The entry of a concept, `None` if it is not indexed.
    pub fn entry(&self, key: &ConceptKey) -> Result<Option<Entry>, IndexError> {
        let bytes = key::concept(key);
        match self.concepts.get(&self.path, &bytes)? {
            None => Ok(None),
            Some(payload) => parse(&payload).map(Some).map_err(|damage| self.concepts.damaged(&bytes, &damage)),
        }
    }

    /// All entries of a model, ordered by concept, then recipe.
    pub fn entries(&self, model: ModelHash) -> impl Iterator<Item = Result<(ConceptKey, Entry), IndexError>> + '_ {
        self.concepts.scan(&self.path, &model.0).map(|item| {
            let (key, value) = item?;
            let read = || Ok((key::parse_concept(&key)?, parse(unseal(&key, &value)?)?));
            read().map_err(|damage: Damage| self.concepts.damaged(&key, &damage))
        })
    }

    /// A number that no blocks stand under.
    pub fn new_slot(&self) -> u64 {
        self.next_slot.fetch_add(1, Ordering::Relaxed)
    }

    /// Removes all blocks of a concept of `units` units that has `extra` columns.
    pub fn remove_blocks(&self, slot: u64, units: u32, extra: impl Iterator<Item = Column>) -> Result<(), IndexError> {
        for column in Column::BASE.into_iter().chain(extra) {
            for block in 0..units.div_ceil(BLOCK_UNITS) {
                self.blocks.remove(&self.path, &BlockKey { slot, column, block }.bytes())?;
            }
        }
        Ok(())
    }

    /// Sets disk space aside to stage a concept of `size` bytes, and says how much; give it back with [`Self::release`].
    ///
    /// # Errors
    /// If there is none, or none to commit the concept afterwards.
    pub fn claim_staging(&self, concept: &ConceptId, size: u64) -> Result<u64, IndexError> {
        self.claim(concept, size, size * SPACE_FACTOR)
    }

    /// The same for a concept's way into the database.
    pub fn claim_commit(&self, concept: &ConceptId, size: u64) -> Result<u64, IndexError> {
        self.claim(concept, size * SPACE_FACTOR, 0)
    }

    /// Sets `size` bytes aside if as many are free and `spare` more.
    fn claim(&self, concept: &ConceptId, size: u64, spare: u64) -> Result<u64, IndexError> {
        let available =
            fs4::available_space(&self.path).map_err(|error| refused(&self.path, "asking for free space", error))?;
        let claimed = self.claimed.fetch_add(size, Ordering::Relaxed);
        let (needed, free) = (size + spare + SPACE_MARGIN, available.saturating_sub(claimed));
        if needed <= free {
            return Ok(size);
        }
        self.release(size);
        Err(IndexError::NoSpace { path: self.path.clone(), concept: concept.clone(), needed, free })
    }

    /// Whether the disk has room for something that can be done without, beside all that stagings have a claim to.
    pub fn has_room(&self, size: u64) -> Result<bool, IndexError> {
        let available =
            fs4::available_space(&self.path).map_err(|error| refused(&self.path, "asking for free space", error))?;
        Ok(size + SPACE_MARGIN <= available.saturating_sub(self.claimed.load(Ordering::Relaxed)))
    }

    pub fn release(&self, size: u64) {
        self.claimed.fetch_sub(size, Ordering::Relaxed);
    }

    /// Removes the blocks of stagings that never became concepts, and of concepts that were replaced or removed, where the
    /// process ended before it could.
    pub fn collect_garbage(&self) -> Result<(), IndexError> {
        let mut live = BTreeSet::new();
        for item in self.concepts.scan(&self.path, &[]) {
            let (key, value) = item?;
            match unseal(&key, &value).and_then(parse::<Entry>) {
                Ok(entry) => drop(live.insert(entry.slot)),
                // Asking for that concept says so too, and mining it again mends it.
                Err(damage) => tracing::warn!(error = %self.concepts.damaged(&key, &damage), "damaged index entry"),
            }
        }
        let after_live = live.last().map_or(0, |last| last + 1);
        let next = match self.remove_dead_slots(&live) {
            Ok(after_all) => after_live.max(after_all),
            // One damaged page must not close the index: what it holds is named when it is asked for.
            Err(error @ IndexError::Corrupt { .. }) => {
                tracing::warn!(%error, "blocks that belong to no concept may be left");
                after_live + SLOT_GAP
            }
            Err(error) => return Err(error),
        };
        self.next_slot.store(next, Ordering::Relaxed);
        Ok(())
    }

    /// Removes the blocks of all slots but the `live` ones; returns a number above all slots.
    fn remove_dead_slots(&self, live: &BTreeSet<u64>) -> Result<u64, IndexError> {
        let (mut slot, mut slots, mut blocks) = (0, 0u64, 0u64);
        while let Some(found) = self.first_slot_from(slot)? {
            if !live.contains(&found) {
                slots += 1;
                for item in self.blocks.scan(&self.path, &found.to_be_bytes()) {
                    self.blocks.remove(&self.path, &item?.0)?;
                    blocks += 1;
                }
            }
            slot = found + 1;
        }
        if slots > 0 {
            tracing::info!(slots, blocks, "removed blocks that belong to no concept");
        }
        Ok(slot)
    }

    /// The first slot that has blocks, from `slot` on. It looks at one key of each slot, never at all.
    fn first_slot_from(&self, slot: u64) -> Result<Option<u64>, IndexError> {
        let from = (Bound::Included(slot.to_be_bytes().to_vec()), Bound::Unbounded);
        let first = self.blocks.tree.range::<Vec<u8>, _>(from).next().transpose();
        let first = first.map_err(|error| failed(&self.path, "looking for blocks", error))?;
        Ok(first.and_then(|(key, _)| BlockKey::slot_of(&key)))
    }
}

fn changes(path: &Path, database: &sled::Db) -> Result<u64, IndexError> {
    let stored = database.get(CHANGES).map_err(|error| failed(path, "counting changes", error))?;
    Ok(as_count(stored.as_deref()))
}

fn as_count(bytes: Option<&[u8]>) -> u64 {
    bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// JSON: additions to a header are read as their defaults from older entries.
pub(crate) fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Damage> {
    serde_json::from_slice(payload).map_err(|error| Damage::Content(error.to_string()))
}

fn describe_text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

fn describe_model(key: &[u8]) -> String {
    key.first_chunk().map_or_else(|| "a model".to_owned(), |hash| format!("model {}", ModelHash(*hash).short()))
}

fn describe_concept(key: &[u8]) -> String {
    key::parse_concept(key).map_or_else(|_| "a concept".to_owned(), |key| key.to_string())
}

fn describe_block(key: &[u8]) -> String {
    BlockKey::slot_of(key).map_or_else(|| "a block".to_owned(), |slot| format!("a block of slot {slot}"))
}
