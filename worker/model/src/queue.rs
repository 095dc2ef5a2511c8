//! Sequences that wait for room.

use std::{collections::VecDeque, sync::Arc};

use crate::sequence::{SequenceId, Work};

/// Requests with sequences that wait. They take turns, one sequence each, so that a request of many samples does not keep others
/// waiting; among turns, first come, first served.
#[derive(Default)]
pub(crate) struct Queue {
    requests: VecDeque<Waiting>,
}

/// One request's sequences that wait, with the number of each's sample.
struct Waiting {
    work: Arc<Work>,
    sequences: VecDeque<(SequenceId, u32)>,
}

impl Queue {
    /// Lets a request's sequences wait behind the others'.
    pub fn push(&mut self, work: Arc<Work>, sequences: impl IntoIterator<Item = (SequenceId, u32)>) {
        let sequences: VecDeque<_> = sequences.into_iter().collect();
        if !sequences.is_empty() {
            self.requests.push_back(Waiting { work, sequences });
        }
    }

    /// Whose turn it is.
    pub fn next(&self) -> Option<(&Arc<Work>, SequenceId, u32)> {
        let first = self.requests.front()?;
        let (id, sample) = first.sequences.front()?;
        Some((&first.work, *id, *sample))
    }

    /// That one has its turn; its request's next sequence waits for another.
    pub fn advance(&mut self) {
        if let Some(mut first) = self.requests.pop_front() {
            first.sequences.pop_front();
            if !first.sequences.is_empty() {
                self.requests.push_back(first);
            }
        }
    }

    /// Drops a sequence that waits.
    pub fn remove(&mut self, id: SequenceId) {
        for request in &mut self.requests {
            request.sequences.retain(|(waiting, _)| *waiting != id);
        }
        self.requests.retain(|request| !request.sequences.is_empty());
    }

    /// How many sequences wait.
    pub fn len(&self) -> usize {
        self.requests.iter().map(|request| request.sequences.len()).sum()
    }
}
