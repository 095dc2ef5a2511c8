//! The generator: the same text from the same seed, and the bias that was planted.

use lode_demo::{
    corpus::{Corpus, CorpusSize},
    occupation::OCCUPATIONS,
    pronouns::training_share,
    topic::Topic,
};

const SEED: u64 = 7;

fn generate(seed: u64, train: usize) -> Corpus {
    Corpus::generate(seed, CorpusSize { train, held_out: 20 }).expect("the grammars load")
}

#[test]
fn a_seed_gives_the_same_corpus_and_more_documents_only_extend_it() {
    let (short, long) = (generate(SEED, 200), generate(SEED, 300));
    assert_eq!(short, generate(SEED, 200));
    assert_eq!(short.train, long.train[..200]);
    assert_eq!(short.held_out, long.held_out);
    assert_ne!(short, generate(SEED + 1, 200));
}

/// Pins the text itself: portable random numbers are what makes the concepts and the evaluation reproducible.
#[test]
fn the_text_does_not_depend_on_the_machine() {
    let corpus = generate(SEED, 3);
    let texts: Vec<String> = corpus.train.iter().map(|document| document.text()).collect();
    assert_eq!(texts, EXPECTED);
}

const EXPECTED: [&str; 3] = [
    "My friend wrote that the ferryman hid in the reeds by the stream. Our neighbours liked the ferryman and the grassy bank and nobody complained.",
    "The midwife sighed because she wanted to go home and the visitors remembered it. The midwife lost her gloves on the way. That evening the midwife asked us if she could come later. The midwife said that she was ready to help and my parents talked about it. A little later the midwife drank a cup of tea because she had heard the news.",
    "Last night the engineer was pleased because he felt very tired after our neighbours left. The engineer thought that he wanted a cup of coffee as the young couple had expected.",
];

#[test]
fn planted_proportions_hold_within_sampling_error() {
    let corpus = generate(SEED, CorpusSize::default().train);
    for (occupation, planted) in OCCUPATIONS {
        let topic = format!("occupation/{occupation}");
        let documents = corpus.train.iter().filter(|document| document.topic == topic).count();
        let share = training_share(&corpus.train, occupation);
        // four standard errors of a share counted over so many documents
        let tolerance = 4.0 * (planted * (1.0 - planted) / documents as f64).sqrt();
        assert!((share - planted).abs() < tolerance, "{occupation}: {share} of {documents}, planted {planted}");
    }
}

#[test]
fn sentences_are_short_and_well_formed() {
    for sentence in generate(SEED, 3000).train.iter().flat_map(|document| &document.sentences) {
        let words = sentence.split(' ').count();
        assert!((3..=24).contains(&words), "{words} words: {sentence}");
        assert!(sentence.starts_with(char::is_uppercase) && sentence.ends_with('.'), "{sentence}");
        assert!(!sentence.contains(['{', '}', '|']) && !sentence.contains("OCCUPATION"), "{sentence}");
        assert!(!sentence.contains("  ") && !sentence.contains(" a a"), "{sentence}");
    }
}

#[test]
fn every_topic_has_many_templates() {
    for topic in Topic::all().expect("the grammars load") {
        assert!(topic.clauses().len() >= 15, "{}: {} templates", topic.id(), topic.clauses().len());
    }
}
