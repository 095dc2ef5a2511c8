//! Testing with concept activation vectors (Kim et al., "Interpretability Beyond Feature Attribution: Quantitative Testing with Concept
//! Activation Vectors (TCAV)", ICML 2018): which sentences a vector is trained on, and what its sensitivities come to.

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::logistic::Boundary;

/// One in so many sentences of a set is held out.
const HELD_OUT: usize = 5;
/// Sentences of a set at least: eight to learn from and two to be tested on.
pub const LEAST: usize = 10;

/// Two sets of sentences, by their numbers, that a classifier has to tell apart; those held out are the last of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sets {
    first: Vec<Sentence>,
    second: Vec<Sentence>,
    held: usize,
}

/// A sentence's class and number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sentence {
    Positive(usize),
    Negative(usize),
}

/// What is drawn for one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Sentences with the concept against sentences without.
    pub concept: Sets,
    /// Sentences without it against other sentences without it: there is nothing to tell apart.
    pub random: Sets,
}

/// Too little to draw from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "concept activation vectors need at least {LEAST} sentences with the concept and {} without: there are {positive} and {negative}",
    2 * LEAST
)]
pub struct TooFewSentences {
    /// With the concept.
    pub positive: usize,
    /// Without.
    pub negative: usize,
}

/// Draws `runs` runs from `positive` sentences with the concept and `negative` without. All sets are of one size: as many as there are
/// with the concept, at most half of those without. More runs begin with the same ones.
///
/// # Errors
/// If there are too few sentences.
pub fn draw(positive: usize, negative: usize, (runs, seed): (usize, u64)) -> Result<Vec<Run>, TooFewSentences> {
    let size = positive.min(negative / 2);
    if size < LEAST {
        return Err(TooFewSentences { positive, negative });
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shuffled = |rng: &mut ChaCha8Rng, class: fn(usize) -> Sentence, count: usize| {
        let mut all: Vec<Sentence> = (0..count).map(class).collect();
        all.shuffle(rng);
        all
    };
    let held = size / HELD_OUT;
    let run = |_| {
        let (mut first, mut second) =
            (shuffled(&mut rng, Sentence::Positive, positive), shuffled(&mut rng, Sentence::Negative, negative));
        first.truncate(size);
        second.truncate(size);
        let concept = Sets { first, second, held };
        let mut first = shuffled(&mut rng, Sentence::Negative, negative);
        let mut second = first.split_off(size);
        second.truncate(size);
        Run { concept, random: Sets { first, second, held } }
    };
    Ok((0..runs).map(run).collect())
}

/// A concept activation vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    /// The unit normal of the plane between the sets, towards the first, `[coordinate]`.
    pub direction: Vec<f64>,
    /// Share of the held-out sentences that are on their side of the plane.
    pub accuracy: f64,
}

impl Sets {
    /// Sentences of each set that a vector is trained on, and those that are held out.
    pub fn sizes(&self) -> (usize, usize) {
        (self.first.len() - self.held, self.held)
    }

    /// The vector between the sets, of activations `[sentence][coordinate]` with the concept and without; nothing where no coordinate
    /// varies or one is not finite.
    pub fn vector(&self, positive: &[Vec<f32>], negative: &[Vec<f32>]) -> Option<Vector> {
        let of = |sentence: &Sentence| match *sentence {
            Sentence::Positive(number) => positive[number].as_slice(),
            Sentence::Negative(number) => negative[number].as_slice(),
        };
        let split = |set: &[Sentence]| {
            let (trained, held) = set.split_at(set.len() - self.held);
            (trained.iter().map(of).collect::<Vec<_>>(), held.iter().map(of).collect::<Vec<_>>())
        };
        let ((on, on_held), (off, off_held)) = (split(&self.first), split(&self.second));
        let boundary = Boundary::between(&on, &off)?;
        let right = on_held.iter().filter(|x| boundary.odds(x) > 0.0).count()
            + off_held.iter().filter(|x| boundary.odds(x) < 0.0).count();
        Some(Vector { direction: boundary.normal()?, accuracy: right as f64 / (2 * self.held) as f64 })
    }
}

/// The TCAV score: the share of inputs whose sensitivity is positive; nothing of none.
pub fn score(sensitivities: &[f64]) -> Option<f64> {
    let positive = sensitivities.iter().filter(|&&one| one > 0.0).count();
    (!sensitivities.is_empty()).then(|| positive as f64 / sensitivities.len() as f64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn sets_are_of_one_size_apart_and_seeded() {
        let runs = draw(30, 50, (6, 3)).unwrap();
        for Run { concept, random } in &runs {
            for sets in [concept, random] {
                assert_eq!((sets.sizes(), sets.first.len(), sets.second.len()), ((20, 5), 25, 25));
                let all: BTreeSet<_> = sets.first.iter().chain(&sets.second).collect();
                assert_eq!(all.len(), 50, "no sentence is there twice");
            }
            assert!(concept.first.iter().all(|one| matches!(one, Sentence::Positive(0..30))));
            let others = concept.second.iter().chain(&random.first).chain(&random.second);
            assert!(others.clone().all(|one| matches!(one, Sentence::Negative(0..50))));
        }
        assert_eq!(draw(30, 50, (2, 3)).unwrap(), runs[..2], "more runs begin with the same ones");
        assert_ne!(draw(30, 50, (2, 4)).unwrap(), runs[..2]);
        assert_eq!(draw(40, 20, (1, 3)).unwrap()[0].concept.sizes(), (8, 2));
        for (positive, negative) in [(9, 100), (100, 19)] {
            assert_eq!(draw(positive, negative, (1, 3)).err(), Some(TooFewSentences { positive, negative }));
        }
    }

    #[test]
    fn a_vector_points_from_without_to_with() {
        let noise = |n: usize| ((n * 7919) % 101) as f32 / 101.0 - 0.5;
        let class = |shift: f32| -> Vec<Vec<f32>> {
            (0..60).map(|n| vec![noise(n), noise(n + 31) + shift, noise(n * 3 + 1)]).collect()
        };
        let (positive, negative) = (class(3.0), class(0.0));
        let run = draw(60, 60, (1, 1)).unwrap().remove(0);
        let vector = run.concept.vector(&positive, &negative).unwrap();
        assert!(vector.direction[1] > 0.9 && vector.accuracy == 1.0, "{vector:?}");
        let random = run.random.vector(&positive, &negative).unwrap();
        assert!(random.accuracy < 0.95, "{random:?}");
        assert_eq!(run.random.vector(&positive, &vec![vec![1.0, 1.0, 1.0]; 60]), None);
    }

    #[test]
    fn a_score_counts_what_is_positive() {
        assert_eq!((score(&[0.5, -0.1, 0.0, 2.0]), score(&[])), (Some(0.5), None));
    }
}
