//! The concept sets: the bundled files are what the generator writes, and what the demo relies on holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::LazyLock,
};

use lode_demo::concepts::{self, Concept};

const BUNDLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/concepts");

static CONCEPTS: LazyLock<Vec<Concept>> = LazyLock::new(|| concepts::generate(7).expect("the grammars load"));

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("the entry is readable").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
        } else {
            found.insert(name, fs::read(path).expect("the file is readable"));
        }
    }
    found
}

fn word_share(sentences: &[String], words: &BTreeSet<&str>) -> f64 {
    let shows = |sentence: &&String| concepts::words(sentence).any(|word| words.contains(word.as_str()));
    sentences.iter().filter(shows).count() as f64 / sentences.len() as f64
}

#[test]
fn bundled_concepts_are_what_the_generator_writes() {
    let written = tempfile::tempdir().expect("a temporary folder");
    concepts::write(written.path(), &CONCEPTS).expect("the concepts are written");
    let (written, bundled) = (files(written.path()), files(Path::new(BUNDLED)));
    assert_eq!(written.keys().collect::<Vec<_>>(), bundled.keys().collect::<Vec<_>>());
    for (name, bytes) in &written {
        assert!(bundled[name] == *bytes, "{name} differs: run `lode-demo concepts`");
    }
}

#[test]
fn classes_are_full_and_apart() {
    assert!(CONCEPTS.len() >= 24);
    for concept in CONCEPTS.iter() {
        let positive: BTreeSet<&String> = concept.sentences.positive.iter().collect();
        let negative: BTreeSet<&String> = concept.sentences.negative.iter().collect();
        assert_eq!((positive.len(), negative.len()), (200, 300), "{}", concept.concept);
        assert!(positive.is_disjoint(&negative), "{}", concept.concept);
        assert!(positive.union(&negative).all(|sentence| !sentence.trim().is_empty()), "{}", concept.concept);
    }
}

#[test]
fn words_show_the_concept_and_little_else() {
    for concept in CONCEPTS.iter() {
        let words: BTreeSet<&str> = concept.words.iter().map(String::as_str).collect();
        assert!(words.len() >= 15, "{}: {} words", concept.concept, words.len());
        assert!(words.iter().all(|word| word.to_lowercase() == *word), "{}", concept.concept);
        let positive = word_share(&concept.sentences.positive, &words);
        let negative = word_share(&concept.sentences.negative, &words);
        // the rest tell their sense by words that other topics use, too
        assert!(positive > 0.85, "{}: {positive} of the positives have a word", concept.concept);
        assert!(negative < 0.05, "{}: {negative} of the negatives have a word", concept.concept);
    }
}

#[test]
fn senses_come_in_pairs_with_words_of_their_own() {
    let senses: Vec<&Concept> = CONCEPTS.iter().filter(|concept| concept.group == "sense").collect();
    let mut by_word: BTreeMap<&str, Vec<&Concept>> = BTreeMap::new();
    for sense in senses {
        let (homograph, _) = sense.concept.split_once('-').expect("a sense is named homograph-sense");
        by_word.entry(homograph).or_default().push(sense);
    }
    assert!(by_word.len() >= 4);
    for (homograph, senses) in by_word {
        let [a, b] = senses[..] else { panic!("{homograph} has {} senses", senses.len()) };
        assert!(a.words.iter().all(|word| !b.words.contains(word)), "{homograph}");
        for (sense, other) in [(a, b), (b, a)] {
            assert!(!sense.words.iter().any(|word| word == homograph), "{homograph}");
            let plural = format!("{homograph}s");
            let says = |text: &String| concepts::words(text).any(|word| word == homograph || word == plural);
            assert!(sense.sentences.positive.iter().all(says), "{homograph}");
            let shared = sense.sentences.negative.iter().filter(|text| other.sentences.positive.contains(text)).count();
            assert!(shared >= 100, "{}: {shared} negatives of the other sense", sense.concept);
        }
    }
}
