//! Which sentences of a large concept are mined: a seeded sample that does not depend on their order.

use serde::{Deserialize, Serialize};

use crate::concept::Concept;

/// How many sentences of each class are kept, and which.
///
/// A sentence's place in the draw is a hash of the seed and its text alone: the first eight bytes, little-endian, of
/// BLAKE3 over the seed (eight bytes, little-endian) and the text's UTF-8. The sentences with the smallest values are
/// kept. So the same sentences in any order, on any machine, under any version, give the same selection; a larger
/// limit only adds to it; and concepts drawn from one pool keep the same sentences of it, which then run once for all
/// of them. Copies of one text stand next to each other in the draw, and each counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Selection {
    /// At most so many positives and so many negatives, copies counted; 0 keeps none.
    pub limit_per_class: u32,
    /// Another seed, another sample.
    pub seed: u64,
}

impl Default for Selection {
    fn default() -> Self {
        Self { limit_per_class: 1000, seed: 1234 }
    }
}

impl Selection {
    /// The concept with at most [`Self::limit_per_class`] sentences in each class, each class sorted by text.
    pub fn apply(&self, concept: &Concept) -> Concept {
        Concept {
            id: concept.id.clone(),
            positive: self.draw(&concept.positive),
            negative: self.draw(&concept.negative),
        }
    }

    /// A text's place in the draw: the smaller, the sooner it is kept.
    pub fn place(&self, text: &str) -> u64 {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(text.as_bytes());
        let mut first = [0; 8];
        hasher.finalize_xof().fill(&mut first);
        u64::from_le_bytes(first)
    }

    fn draw(&self, sentences: &[String]) -> Vec<String> {
        let limit = self.limit_per_class as usize;
        let mut kept: Vec<&String> = sentences.iter().collect();
        if kept.len() > limit {
            kept.sort_by_cached_key(|text| (self.place(text), *text));
            kept.truncate(limit);
        }
        kept.sort_unstable();
        kept.into_iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn concept(positive: Vec<String>, negative: Vec<String>) -> Concept {
        Concept { id: "group/name".parse().unwrap(), positive, negative }
    }

    fn is_subset(part: &[String], whole: &[String]) -> bool {
        let mut rest = whole.to_vec();
        part.iter().all(|text| rest.iter().position(|other| other == text).map(|at| rest.swap_remove(at)).is_some())
    }

    /// Sentences with copies, and the same ones in another order.
    fn class_and_shuffled() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
        prop::collection::vec("[a-d]{0,2}", 0..40)
            .prop_flat_map(|sentences| (Just(sentences.clone()), Just(sentences).prop_shuffle()))
    }

    proptest! {
        #[test]
        fn order_does_not_matter(
            (positive, shuffled) in class_and_shuffled(),
            (negative, also_shuffled) in class_and_shuffled(),
            limit_per_class in 0u32..50,
            seed in any::<u64>(),
        ) {
            let selection = Selection { limit_per_class, seed };
            prop_assert_eq!(
                selection.apply(&concept(positive, negative)),
                selection.apply(&concept(shuffled, also_shuffled))
            );
        }

        #[test]
        fn a_selection_is_a_part_of_the_right_size_and_grows_with_the_limit(
            (all, _) in class_and_shuffled(),
            limit in 0u32..50,
            seed in any::<u64>(),
        ) {
            let whole = concept(all.clone(), all.clone());
            let kept = Selection { limit_per_class: limit, seed }.apply(&whole);
            let more = Selection { limit_per_class: limit + 1, seed }.apply(&whole);
            prop_assert_eq!(kept.positive.len(), all.len().min(limit as usize));
            prop_assert!(is_subset(&kept.positive, &all));
            prop_assert!(is_subset(&kept.positive, &more.positive));
            prop_assert!(kept.positive.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert_eq!(&kept.positive, &kept.negative);
        }

        #[test]
        fn selecting_again_changes_nothing((all, _) in class_and_shuffled(), limit_per_class in 1u32..50) {
            let selection = Selection { limit_per_class, seed: 7 };
            let once = selection.apply(&concept(all.clone(), all));
            prop_assert_eq!(selection.apply(&once), once);
        }
    }

    /// These numbers are a promise: a changed hash would change what users' jobs mine.
    #[test]
    fn places_never_change() {
        let selection = Selection::default();
        let places = ["", "The match ended in a draw.", "日本語"].map(|text| selection.place(text));
        assert_eq!(places, [16862690587627615648, 990874795027162152, 7812611968866871626]);
    }

    #[test]
    fn another_seed_draws_another_sample() {
        let all: Vec<String> = (0..200).map(|i| format!("sentence {i}")).collect();
        let draw = |seed| Selection { limit_per_class: 20, seed }.apply(&concept(all.clone(), all.clone())).positive;
        assert_ne!(draw(1), draw(2));
    }
}
