//! One sled tree, its values sealed, its failures told in our words.

use std::path::Path;

use crate::{
    IndexError,
    codec::{Damage, seal, unseal},
    error::means_full,
};

/// A named part of the index.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub name: &'static str,
    /// A key in words.
    pub describe: fn(&[u8]) -> String,
    /// What to do about a damaged value.
    pub remedy: &'static str,
    pub tree: sled::Tree,
}

impl Shelf {
    /// The payload under a key.
    pub fn get(&self, path: &Path, key: &[u8]) -> Result<Option<Vec<u8>>, IndexError> {
        match self.tree.get(key).map_err(|error| self.failed(path, key, "reading", error))? {
            None => Ok(None),
            Some(value) => Ok(Some(unseal(key, &value).map_err(|damage| self.damaged(key, &damage))?.to_vec())),
        }
    }

    /// Stores a payload; what stood there before comes back as it was stored, sealed.
    pub fn put(&self, path: &Path, key: &[u8], payload: &[u8]) -> Result<Option<sled::IVec>, IndexError> {
        self.tree.insert(key, seal(key, payload)).map_err(|error| self.failed(path, key, "writing", error))
    }

    /// Removes a key; what stood there comes back as it was stored, sealed.
    pub fn remove(&self, path: &Path, key: &[u8]) -> Result<Option<sled::IVec>, IndexError> {
        self.tree.remove(key).map_err(|error| self.failed(path, key, "removing", error))
    }

    /// Keys with stored values, in key order, that begin with `prefix`.
    pub fn scan<'a>(
        &'a self,
        path: &'a Path,
        prefix: &[u8],
    ) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), IndexError>> + use<'a> {
        // A page that cannot be read back hides how many keys it held, and which: nothing in it can be made anew by name.
        self.tree.scan_prefix(prefix).map(|item| item.map_err(|error| failed(path, "reading", error)))
    }

    /// The error for a value that is not what was stored.
    pub fn damaged(&self, key: &[u8], damage: &Damage) -> IndexError {
        IndexError::Corrupt { tree: self.name, key: (self.describe)(key), why: damage.to_string(), remedy: self.remedy }
    }

    fn failed(&self, path: &Path, key: &[u8], doing: &'static str, error: sled::Error) -> IndexError {
        match error {
            sled::Error::Corruption { .. } => {
                self.damaged(key, &Damage::Content("its page cannot be read back".to_owned()))
            }
            error => failed(path, doing, error),
        }
    }
}

/// A store's error in our words.
pub(crate) fn failed(path: &Path, doing: &'static str, error: sled::Error) -> IndexError {
    let path = path.to_owned();
    match error {
        sled::Error::Io(error) if means_full(&error) => IndexError::DiskFull { path, doing, source: error.into() },
        sled::Error::Io(error) => IndexError::Io { path, doing, source: error.into() },
        error @ sled::Error::Corruption { .. } => IndexError::Corrupt {
            tree: "log",
            key: path.display().to_string(),
            why: format!("{error} ({doing})"),
            remedy: "restore a copy of the folder, or mine again into an empty one",
        },
        error => IndexError::Io { path, doing, source: error.into() },
    }
}
