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
    "The river flooded the muddy bank. The ferryman waited on the left bank of the canal.",
    "On Monday the fashion magazine praised the striped evening gown and nobody complained. The visitors wore navy clothes made of velvet and the visitors remembered it.",
    "The neighbours gave him a present for his birthday but some people did not notice. Soon Paul said that he had lost the keys when a few of us came back. The next day everyone asked him if he felt very tired but they did not notice. The young gentleman drank a cup of tea because he had slept badly. The young gentleman thought that he had a new plan.",
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
        assert!((4..=20).contains(&words), "{words} words: {sentence}");
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
