//! What makes a sentence's responses the same ones: its text and how they are taken.

use crate::expertise::Recipe;

/// Under what a sentence's responses are kept between shards: BLAKE3 of the recipe and the text, 16 bytes.
///
/// The model is not in it: a cache is one model's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SentenceKey(pub [u8; 16]);

impl SentenceKey {
    /// The key of `text` under `recipe`.
    pub fn new(recipe: Recipe, text: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(recipe.to_string().as_bytes());
        // A recipe has no zero byte, so no recipe and text run into another pair.
        hasher.update(&[0]);
        hasher.update(text.as_bytes());
        let mut key = [0; 16];
        key.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pooling::Pooling;

    #[test]
    fn text_and_recipe_both_count() {
        let own = Recipe::default();
        let mean = Recipe { pooling: Pooling::Mean, ..own };
        assert_eq!(SentenceKey::new(own, "a b"), SentenceKey::new(own, "a b"));
        assert_ne!(SentenceKey::new(own, "a b"), SentenceKey::new(own, "a  b"));
        assert_ne!(SentenceKey::new(own, "a b"), SentenceKey::new(mean, "a b"));
    }
}
