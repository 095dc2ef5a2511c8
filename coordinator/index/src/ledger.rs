//! How many changes were acknowledged, beside the database.
//!
//! sled 0.34 takes the first unreadable message of its log for the end of what a crash left, and drops all that follows without
//! a word. One flipped bit on the disk can undo acknowledged commits that way. So the database counts its changes, this file
//! keeps the count that was last acknowledged, and an opening that finds fewer says so.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
    sync::Mutex,
};

use crate::{
    IndexError,
    codec::{seal, unseal},
    open::refused,
};

/// The file's name in the index's folder.
pub(crate) const NAME: &str = "acknowledged";

pub(crate) struct Ledger {
    last: Mutex<(u64, File)>,
}

impl Ledger {
    /// Opens the ledger of a database that counts `found` changes.
    pub fn open(path: &Path, found: u64) -> Result<Self, IndexError> {
        let ledger = path.join(NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(ledger)
            .map_err(|error| refused(path, "opening the ledger", error))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| refused(path, "reading the ledger", error))?;
        // A ledger torn by a power cut knows nothing, and claims nothing.
        let known = unseal(NAME.as_bytes(), &bytes).ok().and_then(|payload| payload.try_into().ok());
        let acknowledged = known.map_or(0, u64::from_le_bytes);
        if found < acknowledged {
            return Err(IndexError::Lost { path: path.to_owned(), lost: acknowledged - found, acknowledged });
        }
        let ledger = Self { last: Mutex::new((0, file)) };
        ledger.acknowledge(path, found)?;
        Ok(ledger)
    }

    /// Notes that `count` changes are on disk. It need not reach the disk itself: a ledger that is behind claims less.
    pub fn acknowledge(&self, path: &Path, count: u64) -> Result<(), IndexError> {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if count < last.0 {
            return Ok(());
        }
        last.0 = count;
        let bytes = seal(NAME.as_bytes(), &count.to_le_bytes());
        let written = last.1.seek(SeekFrom::Start(0)).and_then(|_| last.1.write_all(&bytes));
        written.map_err(|error| refused(path, "writing the ledger", error))
    }
}
