//! The entries of a model as they were read last.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use lode_domain::{id::ModelHash, record::ConceptKey};

use crate::{
    IndexError,
    store::{Entry, Store},
};

/// A model's entries by concept, then recipe.
pub(crate) type Listing = Arc<Vec<(ConceptKey, Entry)>>;

/// Keeps each model's entries until one of them changes: reading and parsing 1,344 of them takes longer than all that a question
/// does with them. They are what the index holds of concepts without their values, about a kilobyte each.
#[derive(Default)]
pub(crate) struct Listings {
    /// Counts changes of entries.
    changes: AtomicU64,
    /// By model: what was read, and the count of changes before it was.
    read: Mutex<HashMap<[u8; 32], (u64, Listing)>>,
}

impl Listings {
    /// An entry has changed. Called after each change and before it is acknowledged, so nobody is shown what was before a change
    /// that he was told of.
    pub fn changed(&self) {
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

impl Store {
    /// All entries of a model, by concept, then recipe.
    pub fn listing(&self, model: ModelHash) -> Result<Listing, IndexError> {
        // The count first: an entry that changes while the others are read makes the whole listing out of date.
        let now = self.listings.changes.load(Ordering::SeqCst);
        let read = || self.listings.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, listing)) = read().get(&model.0).filter(|(count, _)| *count == now) {
            return Ok(listing.clone());
        }
        let listing: Listing = Arc::new(self.entries(model).collect::<Result<_, _>>()?);
        read().insert(model.0, (now, listing.clone()));
        Ok(listing)
    }
}
