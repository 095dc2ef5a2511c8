//! Topics: what a document or a concept is about, and the sentences it gives.

use rand::{Rng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::{
    error::Result,
    grammar::{self, Grammar},
};

/// Folders of the grammar that hold topics; each is a group of concepts.
pub const GROUPS: [&str; 3] = ["gender", "sense", "topic"];

/// One topic, homograph sense or gender.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Group of the concept.
    pub group: String,
    /// Name within the group; a sense is called `homograph-sense`.
    pub name: String,
    grammar: Grammar,
}

/// A longer clause gets no tail: sentences stay within 16 words or so.
const LONGEST_BEFORE_TAIL: usize = 11;
const TAIL_SHARE: f64 = 0.5;

/// Where a sentence stands in its document: the first gets other openers than those that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// First, or alone.
    First,
    /// After another one.
    Later,
}

impl Topic {
    /// Every topic of every group, by group and name.
    pub fn all() -> Result<Vec<Self>> {
        let mut topics = Vec::new();
        for group in GROUPS {
            for name in grammar::names(group) {
                let grammar = Grammar::load(&format!("{group}/{name}"))?;
                topics.push(Self { group: group.to_owned(), name, grammar });
            }
        }
        Ok(topics)
    }

    /// `group/name`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.group, self.name)
    }

    /// The word that this topic is a sense of.
    pub fn homograph(&self) -> Option<&str> {
        if self.group != "sense" {
            return None;
        }
        self.name.split_once('-').map(|(homograph, _)| homograph)
    }

    /// Whether `other` is the other sense of the same word, or the other gender.
    pub fn opposes(&self, other: &Self) -> bool {
        let same_word = self.homograph().is_some() && self.homograph() == other.homograph();
        let same_pair = same_word || (self.group == "gender" && other.group == "gender");
        same_pair && self.name != other.name
    }

    /// Whether the two topics share so much that neither is evidence against the other.
    pub fn is_near(&self, other: &Self) -> bool {
        self.grammar.near.contains(&other.name) || other.grammar.near.contains(&self.name)
    }

    /// Clause templates, each a way to say something about the topic.
    pub fn clauses(&self) -> &[String] {
        &self.grammar.clauses
    }

    /// A sentence from a clause template, most often after a neutral opener.
    pub fn sentence(&self, clause: &str, place: Place, rng: &mut ChaCha8Rng) -> Result<String> {
        sentence(&self.grammar, clause, place, rng)
    }

    /// Sentences of a document: no template twice.
    pub fn document(&self, rng: &mut ChaCha8Rng) -> Result<Vec<String>> {
        document(&self.grammar, rng)
    }
}

/// A document from any grammar that has the shared openers.
pub(crate) fn document(grammar: &Grammar, rng: &mut ChaCha8Rng) -> Result<Vec<String>> {
    let len = rng.random_range(2..=5);
    let mut clauses: Vec<&String> = grammar.clauses.iter().collect();
    clauses.shuffle(rng);
    let places = std::iter::once(Place::First).chain(std::iter::repeat(Place::Later));
    clauses.into_iter().take(len).zip(places).map(|(clause, place)| sentence(grammar, clause, place, rng)).collect()
}

pub(crate) fn sentence(grammar: &Grammar, clause: &str, place: Place, rng: &mut ChaCha8Rng) -> Result<String> {
    let roll: f64 = rng.random();
    let opener = match place {
        Place::First if roll < 0.35 => Some("time"),
        Place::First if roll < 0.65 => Some("reporter"),
        Place::Later if roll < 0.4 => Some("next"),
        _ => None,
    };
    let mut text = String::new();
    if let Some(opener) = opener {
        text = grammar.pick(opener, rng)? + " ";
    }
    text.push_str(&grammar.expand(clause, rng)?);
    if text.split_whitespace().count() <= LONGEST_BEFORE_TAIL && rng.random_bool(TAIL_SHARE) {
        text = text + " " + &grammar.pick("tail", rng)?;
    }
    Ok(grammar::sentence(&text))
}
