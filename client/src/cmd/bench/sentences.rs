//! Made-up concepts: sentences of made-up words, some of them shared.

use lode_domain::concept::{Concept, ConceptId};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) concepts: u32,
    /// Sentences of each class of a concept.
    pub(super) positives: u32,
    pub(super) negatives: u32,
    /// Share of a concept's sentences that it has in common with all others.
    pub(super) sharing: f64,
    /// Words of a sentence on average.
    pub(super) words: u32,
    /// Different words.
    pub(super) vocabulary: u32,
    pub(super) seed: u64,
}

/// Concepts whose positives are drawn at random from what they share and have of their own.
pub(super) fn concepts(wanted: &Wanted) -> anyhow::Result<Vec<Concept>> {
    let mut chance = StdRng::seed_from_u64(wanted.seed);
    let in_each = wanted.positives + wanted.negatives;
    let in_common = (f64::from(in_each) * wanted.sharing).round() as u32;
    let common: Vec<String> = (0..in_common).map(|_| sentence(wanted, &mut chance)).collect();
    (0..wanted.concepts)
        .map(|number| {
            let mut positive = common.clone();
            positive.extend((in_common..in_each).map(|_| sentence(wanted, &mut chance)));
            positive.shuffle(&mut chance);
            let negative = positive.split_off(wanted.positives as usize);
            Ok(Concept { id: ConceptId::new("bench", format!("{number:04}"))?, positive, negative })
        })
        .collect()
}

/// Words as text has them: frequent ones make up most of it, so sentences begin alike; lengths are spread around the mean,
/// from a third of it to a bit less than twice.
fn sentence(wanted: &Wanted, chance: &mut StdRng) -> String {
    let mean = f64::from(wanted.words);
    let length = (mean * chance.random_range(1.0 / 3.0..5.0 / 3.0)).round().max(1.0) as u32;
    let rank = |chance: &mut StdRng| f64::from(wanted.vocabulary).powf(chance.random_range(0.0..1.0)) as u32 - 1;
    let words: Vec<String> = (0..length).map(|_| word(rank(chance))).collect();
    words.join(" ")
}

/// The word number `number`.
pub(super) fn word(number: u32) -> String {
    format!("w{number}")
}

#[cfg(test)]
mod tests {
    use lode_domain::job::Job;

    use super::*;

    fn wanted(sharing: f64) -> Wanted {
        Wanted { concepts: 3, positives: 20, negatives: 30, sharing, words: 12, vocabulary: 1000, seed: 1 }
    }

    #[test]
    fn sharing_decides_how_many_sentences_are_distinct() {
        for (sharing, distinct) in [(1.0, 50), (0.5, 100), (0.0, 150)] {
            let concepts = concepts(&wanted(sharing)).unwrap();
            assert!(concepts.iter().all(|one| (one.positive.len(), one.negative.len()) == (20, 30)));
            assert_eq!(Job::new(&concepts).unwrap().sentences.len(), distinct);
        }
        assert_eq!(concepts(&wanted(0.5)).unwrap(), concepts(&wanted(0.5)).unwrap());
    }

    #[test]
    fn sentences_are_as_long_as_wanted_and_of_known_words() {
        let concepts = concepts(&Wanted { positives: 500, ..wanted(1.0) }).unwrap();
        let sentences: Vec<&String> = concepts[0].positive.iter().collect();
        let words: Vec<&str> = sentences.iter().flat_map(|sentence| sentence.split(' ')).collect();
        let mean = words.len() as f64 / sentences.len() as f64;
        assert!((10.5..13.5).contains(&mean), "{mean}");
        assert!(words.iter().all(|word| word[1..].parse::<u32>().unwrap() < 1000));
    }
}
