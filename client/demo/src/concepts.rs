//! Concept sets: labelled sentences of each topic in the reference's schema.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use rand::seq::{IndexedRandom, SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{
    corpus::Stream,
    error::{DemoError, Result},
    file, grammar,
    topic::{Place, Topic},
};

const POSITIVES: usize = 200;
const NEGATIVES: usize = 300;
/// Negatives that use the same word in its other sense, or tell of the other gender: what keeps a detector of the
/// mere word from looking like an expert.
const OPPOSED_NEGATIVES: usize = 120;
/// Sentences a topic's word list is counted on.
const COUNTED: usize = 600;
/// A word shows a topic when so much of its use lies there.
const WORD_SHARE: f64 = 0.9;
/// Rarer words are left out: their share is chance.
const WORD_COUNT: usize = 6;

/// A concept file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concept {
    /// Name within the group.
    pub concept: String,
    /// Group of the concept.
    pub group: String,
    /// Lower-case words that show the concept in a text; a homograph is not among its own senses' words.
    pub words: Vec<String>,
    /// The labelled sentences.
    pub sentences: Sentences,
}

/// The two classes of a concept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentences {
    /// Sentences that hold the concept.
    pub positive: Vec<String>,
    /// Sentences that do not.
    pub negative: Vec<String>,
}

/// Lower-case words of a text.
pub fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '-')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// Every concept, from a seed.
pub fn generate(seed: u64) -> Result<Vec<Concept>> {
    let rng = &mut Stream::Concepts.rng(seed);
    let topics = Topic::all()?;
    let pools = topics.iter().map(|topic| sentences(topic, rng)).collect::<Result<Vec<_>>>()?;
    (0..topics.len())
        .map(|index| {
            let negative = negatives(&topics, &pools, index, rng)?;
            Ok(Concept {
                concept: topics[index].name.clone(),
                group: topics[index].group.clone(),
                words: word_list(&topics, &pools, index),
                sentences: Sentences { positive: pools[index][..POSITIVES].to_vec(), negative },
            })
        })
        .collect()
}

/// Writes `concept_list.csv` and `group/concept.json`.
pub fn write(folder: &Path, concepts: &[Concept]) -> Result<()> {
    let mut list = "group,concept\n".to_owned();
    for concept in concepts {
        list.push_str(&format!("{},{}\n", concept.group, concept.concept));
        file::write_json(&folder.join(&concept.group).join(format!("{}.json", concept.concept)), concept)?;
    }
    file::write(&folder.join("concept_list.csv"), list)
}

/// Different sentences of a topic; those of a sense contain the word.
fn sentences(topic: &Topic, rng: &mut ChaCha8Rng) -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for _ in 0..40 * COUNTED {
        let Some(clause) = topic.clauses().choose(rng) else { break };
        let sentence = topic.sentence(clause, Place::First, rng)?;
        let fits = topic.homograph().is_none_or(|homograph| contains_homograph(&sentence, homograph));
        if fits && seen.insert(sentence.clone()) {
            found.push(sentence);
        }
        if found.len() == COUNTED {
            return Ok(found);
        }
    }
    Err(DemoError::TooFewSentences { topic: topic.id(), found: found.len(), wanted: COUNTED })
}

fn contains_homograph(sentence: &str, homograph: &str) -> bool {
    words(sentence).any(|word| is_homograph(&word, homograph))
}

fn is_homograph(word: &str, homograph: &str) -> bool {
    word.strip_suffix('s').unwrap_or(word) == homograph || word == homograph
}

/// Other topics' positives, so that concepts share sentences and a model reads each of them once.
fn negatives(topics: &[Topic], pools: &[Vec<String>], index: usize, rng: &mut ChaCha8Rng) -> Result<Vec<String>> {
    let topic = &topics[index];
    let (mut opposed, mut others) = (Vec::new(), Vec::new());
    for (other, pool) in topics.iter().zip(pools) {
        if topic.opposes(other) {
            opposed.extend_from_slice(&pool[..POSITIVES]);
        } else if other.id() != topic.id() && !topic.is_near(other) {
            others.extend_from_slice(&pool[..POSITIVES]);
        }
    }
    opposed.shuffle(rng);
    opposed.truncate(OPPOSED_NEGATIVES);
    others.shuffle(rng);
    let own: BTreeSet<&String> = pools[index].iter().collect();
    let mut seen = BTreeSet::new();
    let mut negatives: Vec<String> = opposed.into_iter().chain(others).collect();
    negatives.retain(|sentence| !own.contains(sentence) && seen.insert(sentence.clone()));
    if negatives.len() < NEGATIVES {
        return Err(DemoError::TooFewSentences { topic: topic.id(), found: negatives.len(), wanted: NEGATIVES });
    }
    negatives.truncate(NEGATIVES);
    negatives.shuffle(rng);
    Ok(negatives)
}

/// Words whose use lies in the topic, by how many of its sentences have them.
fn word_list(topics: &[Topic], pools: &[Vec<String>], index: usize) -> Vec<String> {
    let topic = &topics[index];
    let plain = grammar::plain_words();
    let own = sentences_with(&pools[index]);
    let mut elsewhere: BTreeMap<String, usize> = BTreeMap::new();
    for (other, pool) in topics.iter().zip(pools) {
        if topic.opposes(other) || (other.id() != topic.id() && !topic.is_near(other)) {
            for (word, count) in sentences_with(pool) {
                *elsewhere.entry(word).or_default() += count;
            }
        }
    }
    let mut found: Vec<(usize, String)> = own
        .into_iter()
        .filter(|(word, count)| {
            let all = *count + elsewhere.get(word).copied().unwrap_or_default();
            let is_own_homograph = topic.homograph().is_some_and(|homograph| is_homograph(word, homograph));
            let is_frequent = *count >= WORD_COUNT && *count as f64 >= WORD_SHARE * all as f64;
            is_frequent && !is_own_homograph && !plain.contains(word.as_str())
        })
        .map(|(word, count)| (count, word))
        .collect();
    found.sort_by(|(a_count, a), (b_count, b)| b_count.cmp(a_count).then_with(|| a.cmp(b)));
    found.into_iter().map(|(_, word)| word).collect()
}

fn sentences_with(pool: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for sentence in pool {
        for word in words(sentence).collect::<BTreeSet<_>>() {
            *counts.entry(word).or_default() += 1;
        }
    }
    counts
}
