//! Sentences ready for mining, and how they are packed into batches of one shape.

use std::borrow::Borrow;

/// A sentence as the forward pass sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prepared {
    /// Token ids `[position]`.
    pub(crate) ids: Vec<u32>,
    /// Positions that count in the pooling, ascending; at least one.
    pub(crate) counted: Vec<u32>,
    /// Positions from here on are padding: they see the text but are never seen.
    pub(crate) visible: usize,
}

impl Prepared {
    /// How many rows of a batch the sentence takes: its tokens, padding included.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Never true: a sentence without tokens is dropped before.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// How many rows a batch has at most. There are two numbers, and which one applies follows from the sentence alone. Where
/// matrix products are the tensor library's, batches are filled up to them: only so are a sentence's responses the same
/// bits in any company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchShape {
    /// Rows of a batch of sentences of at most this many tokens.
    pub short: usize,
    /// Rows of a batch of longer ones: the context length.
    pub long: usize,
}

impl BatchShape {
    /// Wide enough that the matrix products run at full speed, narrow enough that filler is little.
    const SHORT: usize = 512;

    /// The shapes for a model with a context of `context_len` tokens.
    pub fn new(context_len: usize) -> Self {
        // Two rows at least: a single one takes another path through the tensor library's matrix product.
        let long = context_len.max(2);
        Self { short: Self::SHORT.min(long), long }
    }

    /// Rows of the batch that a sentence of `tokens` tokens goes into.
    pub fn rows(&self, tokens: usize) -> usize {
        if tokens <= self.short { self.short } else { self.long }
    }
}

/// Divides sentences into batches, each a list of indices into `sentences`, in the order of their first sentence.
///
/// A sentence goes into the fullest of the last batches that has room for it.
pub fn pack<P: Borrow<Prepared>>(sentences: &[P], shape: &BatchShape) -> Vec<Vec<usize>> {
    /// How many batches are kept open: more saves no filler worth the search.
    const OPEN: usize = 32;

    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut open: Vec<Room> = Vec::new();
    for (number, sentence) in sentences.iter().enumerate() {
        let tokens = sentence.borrow().len();
        let rows = shape.rows(tokens);
        let fitting = open.iter_mut().filter(|room| room.rows == rows && room.left >= tokens);
        if let Some(room) = fitting.min_by_key(|room| room.left) {
            room.left -= tokens;
            batches[room.batch].push(number);
            continue;
        }
        if open.len() == OPEN {
            open.remove(0);
        }
        open.push(Room { batch: batches.len(), rows, left: rows.saturating_sub(tokens) });
        batches.push(vec![number]);
    }
    batches
}

struct Room {
    batch: usize,
    rows: usize,
    left: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packing_keeps_every_sentence_and_the_shapes(lengths in prop::collection::vec(1usize..=1024, 0..200)) {
            let shape = BatchShape::new(1024);
            let sentences: Vec<Prepared> = lengths
                .iter()
                .map(|&len| Prepared { ids: vec![0; len], counted: vec![0], visible: len })
                .collect();
            let batches = pack(&sentences, &shape);
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in batches {
                let rows = shape.rows(lengths[batch[0]]);
                prop_assert!(batch.iter().all(|&sentence| shape.rows(lengths[sentence]) == rows));
                prop_assert!(batch.iter().map(|&sentence| lengths[sentence]).sum::<usize>() <= rows);
            }
        }
    }

    #[test]
    fn short_contexts_have_one_shape() {
        assert_eq!(BatchShape::new(128), BatchShape { short: 128, long: 128 });
        assert_eq!(BatchShape::new(1), BatchShape { short: 2, long: 2 });
        assert_eq!(BatchShape::new(1024).rows(512), 512);
        assert_eq!(BatchShape::new(1024).rows(513), 1024);
    }
}
