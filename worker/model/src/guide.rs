//! Guides: what weighs the logits of one text, token by token.

use std::sync::Arc;

use lode_domain::guide::Reader;

/// A guide that follows a text as it grows.
pub(crate) struct Guiding {
    reader: Arc<Reader>,
    state: Vec<f32>,
    /// Tokens that were read.
    read: usize,
}

impl Guiding {
    /// At the beginning of a text.
    pub fn new(reader: Arc<Reader>) -> Self {
        Self { state: reader.start(), reader, read: 0 }
    }

    /// The logits `[token]` that the guide makes of the model's, after all of `text`, which begins with what it was before.
    ///
    /// Logits that are not finite stay as they are, for whoever draws to see.
    pub fn weigh(&mut self, logits: &[f32], text: &[u32]) -> Vec<f32> {
        for &token in &text[self.read..] {
            self.reader.read(&mut self.state, token);
        }
        self.read = text.len();
        if logits.iter().all(|logit| logit.is_finite()) {
            self.reader.weigh(&self.state, logits)
        } else {
            logits.to_vec()
        }
    }
}
