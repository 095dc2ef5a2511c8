//! How many sequences wait, seen from both sides: the device lets them in, the server lets no more come.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use lode_proto::Fault;

/// Sequences that were accepted and do not run yet.
#[derive(Clone, Debug)]
pub(crate) struct Crowd {
    most: usize,
    waiting: Arc<AtomicUsize>,
}

impl Crowd {
    /// Of at most `most`; a single request may be larger.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, waiting: Arc::default() }
    }

    /// Lets a request's sequences in.
    ///
    /// # Errors
    /// If there are as many as may be; the request can be tried elsewhere, or later.
    pub(crate) fn enter(&self, sequences: usize) -> Result<(), Fault> {
        let enters = |waiting| (waiting < self.most.max(1)).then_some(waiting + sequences);
        match self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enters) {
            Ok(_) => Ok(()),
            Err(waiting) => {
                Err(Fault::exhausted(format!("{waiting} sequences wait on this worker: try again in a moment")))
            }
        }
    }

    /// Notes that `sequences` do not wait any more.
    pub(crate) fn leave(&self, sequences: usize) {
        self.waiting.fetch_sub(sequences, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_worker_says_so() {
        let crowd = Crowd::new(3);
        crowd.enter(2).unwrap();
        crowd.enter(5).unwrap();
        assert!(crowd.enter(1).unwrap_err().is_retryable());
        crowd.leave(5);
        crowd.enter(1).unwrap();
        assert!(crowd.enter(1).is_err());
    }
}
