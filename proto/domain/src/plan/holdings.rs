//! Which workers hold which sentences' responses from before: those cost nothing there.

/// One bit a sentence and worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// 64-bit words a sentence.
    words: usize,
    /// `[sentence, worker / 64]`
    masks: Vec<u64>,
}

impl Holdings {
    /// Nobody holds anything yet.
    pub fn none(workers: usize, sentences: usize) -> Self {
        let words = workers.div_ceil(64);
        Self { words, masks: vec![0; words * sentences] }
    }

    /// Notes that `worker` holds the responses to `sentence`.
    ///
    /// # Panics
    /// If there is no such worker or sentence.
    pub fn add(&mut self, worker: usize, sentence: u32) {
        assert!(worker < 64 * self.words, "worker {worker} is beyond the holdings");
        self.masks[sentence as usize * self.words + worker / 64] |= 1 << (worker % 64);
    }

    /// Whether `worker` holds the responses to `sentence`.
    pub fn holds(&self, worker: u32, sentence: u32) -> bool {
        self.of(sentence as usize)[worker as usize / 64] >> (worker % 64) & 1 == 1
    }

    /// Whether anybody holds the responses to `sentence`.
    pub fn held(&self, sentence: u32) -> bool {
        self.of(sentence as usize).iter().any(|&mask| mask != 0)
    }

    /// The holders of a sentence, one bit a worker.
    pub(super) fn of(&self, sentence: usize) -> &[u64] {
        &self.masks[sentence * self.words..(sentence + 1) * self.words]
    }
}
