//! A judge of presence that was trained on the concept's own sentences: logistic regression over the words and pairs of words of a
//! text.

use std::collections::{BTreeSet, HashMap};

use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::text::tokens;

/// One in so many sentences is held out.
const HELD_OUT: usize = 5;
/// Rounds over all sentences.
const EPOCHS: usize = 40;
/// Step size of AdaGrad (Duchi, Hazan and Singer 2011).
const STEP: f64 = 0.3;
/// Weight of the squared weights in the loss.
const RIDGE: f64 = 1e-4;

/// Tells texts that show a concept from others.
#[derive(Clone, Debug)]
pub struct Classifier {
    weights: HashMap<String, f64>,
    bias: f64,
    /// Share of held-out sentences that are told right.
    pub accuracy: f64,
    /// Sentences that were held out: a fifth of each class.
    pub held_out: usize,
}

/// Too little to learn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a classifier needs at least {HELD_OUT} sentences of each class: there are {positive} with the concept and {negative} without"
)]
pub struct TooFewSentences {
    /// With the concept.
    pub positive: usize,
    /// Without.
    pub negative: usize,
}

impl Classifier {
    /// Trained on four fifths of the sentences, both classes weighing alike; their order does not matter.
    ///
    /// # Errors
    /// If there are too few of a class.
    pub fn train(positive: &[String], negative: &[String], seed: u64) -> Result<Self, TooFewSentences> {
        if positive.len().min(negative.len()) < HELD_OUT {
            return Err(TooFewSentences { positive: positive.len(), negative: negative.len() });
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (mut trained, mut held) = (Vec::new(), Vec::new());
        for (shows, sentences) in [(true, positive), (false, negative)] {
            let mut sorted: Vec<&String> = sentences.iter().collect();
            sorted.sort_unstable();
            sorted.shuffle(&mut rng);
            let weight = 1.0 / sentences.len() as f64;
            let example = |text: &&String| (features(text), shows, weight);
            held.extend(sorted.split_off(sorted.len() - sorted.len() / HELD_OUT).iter().map(example));
            trained.extend(sorted.iter().map(example));
        }
        let mut classifier = Self { weights: HashMap::new(), bias: 0.0, accuracy: 0.0, held_out: held.len() };
        classifier.learn(&mut trained, &mut rng);
        let right = held.iter().filter(|(features, shows, _)| (classifier.odds(features) > 0.0) == *shows).count();
        classifier.accuracy = right as f64 / held.len() as f64;
        Ok(classifier)
    }

    fn learn(&mut self, trained: &mut [(BTreeSet<String>, bool, f64)], rng: &mut ChaCha8Rng) {
        let mean = trained.iter().map(|(.., weight)| weight).sum::<f64>() / trained.len() as f64;
        let mut squares: HashMap<String, f64> = HashMap::new();
        let mut bias_squares = 1e-8;
        for _ in 0..EPOCHS {
            trained.shuffle(rng);
            for (features, shows, weight) in trained.iter() {
                let error = 1.0 / (1.0 + (-self.odds(features)).exp()) - f64::from(u8::from(*shows));
                let error = error * weight / mean;
                bias_squares += error * error;
                self.bias -= STEP * error / bias_squares.sqrt();
                for feature in features {
                    let own = self.weights.entry(feature.clone()).or_default();
                    let gradient = error + RIDGE * *own;
                    let sum = squares.entry(feature.clone()).or_insert(1e-8);
                    *sum += gradient * gradient;
                    *own -= STEP * gradient / sum.sqrt();
                }
            }
        }
    }

    fn odds(&self, features: &BTreeSet<String>) -> f64 {
        self.bias + features.iter().filter_map(|feature| self.weights.get(feature)).sum::<f64>()
    }

    /// Whether a text shows the concept.
    pub fn shows_in(&self, text: &str) -> bool {
        self.odds(&features(text)) > 0.0
    }
}

/// Words and pairs of neighbours, each once.
fn features(text: &str) -> BTreeSet<String> {
    let words = tokens(text);
    let pairs: Vec<String> = words.windows(2).map(|pair| pair.join(" ")).collect();
    words.into_iter().chain(pairs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_the_sentences_apart_is_learned() {
        let sentence = |place: usize, word: &str| format!("Yesterday number {place} saw the {word} and left.");
        let positive: Vec<String> = (0..60).map(|n| sentence(n, ["goal", "penalty", "referee"][n % 3])).collect();
        let mut negative: Vec<String> = (0..90).map(|n| sentence(n, ["sea", "moon", "river"][n % 3])).collect();
        let classifier = Classifier::train(&positive, &negative, 1).unwrap();
        assert!(classifier.accuracy > 0.95, "{}", classifier.accuracy);
        assert_eq!(classifier.held_out, 12 + 18);
        assert!(classifier.shows_in(" the referee gave a penalty") && !classifier.shows_in(" the moon over the sea"));
        negative.reverse();
        let again = Classifier::train(&positive, &negative, 1).unwrap();
        assert_eq!((again.bias, again.weights), (classifier.bias, classifier.weights), "the order does not matter");
    }

    #[test]
    fn what_cannot_be_told_apart_has_even_odds() {
        let one: Vec<String> = (0..100).map(|n| format!("sentence {}", n % 7)).collect();
        let accuracy = Classifier::train(&one, &one, 1).unwrap().accuracy;
        assert!((0.3..0.7).contains(&accuracy), "{accuracy}");
        let few = TooFewSentences { positive: 100, negative: 2 };
        assert_eq!(Classifier::train(&one, &one[..2], 1).err(), Some(few));
    }
}
