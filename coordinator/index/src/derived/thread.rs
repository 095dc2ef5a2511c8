//! The thread that writes segments.

use std::{sync::Arc, thread::JoinHandle};

use super::build::{Unreadable, catch_up};
use crate::{IndexError, open::refused, store::Store};

/// Writes segments as concepts come in; ends when it is dropped, within the time that a block takes.
pub(crate) struct Thread {
    store: Arc<Store>,
    handle: Option<JoinHandle<()>>,
}

impl Thread {
    pub fn start(store: Arc<Store>) -> Result<Self, IndexError> {
        let own = store.clone();
        let handle = std::thread::Builder::new().name("lode-derive".into()).spawn(move || run(&own));
        let handle = handle.map_err(|error| refused(&store.path, "starting a thread", error))?;
        store.derived.tell(|signal| signal.work = true);
        Ok(Self { store, handle: Some(handle) })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.store.derived.tell(|signal| signal.stop = true);
        if self.handle.take().is_some_and(|handle| handle.join().is_err()) {
            tracing::error!("the thread that writes derived copies has panicked; the index itself is not concerned");
        }
    }
}

fn run(store: &Store) {
    let mut unreadable = Unreadable::new();
    while !store.derived.wait().stop {
        if let Err(error) = catch_up(store, &mut unreadable) {
            // The next commit tries again. Until then questions are answered from the blocks.
            tracing::warn!(%error, "a derived copy could not be written");
        }
    }
}
