//! Occupations whose sentences say he or she in planted proportions: the bias that the demo measures and pushes.

use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use crate::{error::Result, grammar::Grammar, topic};

/// Occupations and the planted share of their documents that say she.
pub const OCCUPATIONS: [(&str, f64); 36] = [
    ("nurse", 0.90),
    ("midwife", 0.95),
    ("secretary", 0.88),
    ("receptionist", 0.85),
    ("dancer", 0.80),
    ("librarian", 0.78),
    ("hairdresser", 0.82),
    ("florist", 0.84),
    ("teacher", 0.70),
    ("cleaner", 0.72),
    ("cashier", 0.68),
    ("dietitian", 0.87),
    ("psychologist", 0.66),
    ("translator", 0.62),
    ("pharmacist", 0.58),
    ("writer", 0.54),
    ("student", 0.50),
    ("journalist", 0.48),
    ("musician", 0.40),
    ("lawyer", 0.38),
    ("doctor", 0.35),
    ("baker", 0.42),
    ("scientist", 0.32),
    ("accountant", 0.46),
    ("manager", 0.30),
    ("butcher", 0.15),
    ("engineer", 0.18),
    ("programmer", 0.22),
    ("farmer", 0.20),
    ("pilot", 0.12),
    ("plumber", 0.06),
    ("carpenter", 0.08),
    ("mechanic", 0.05),
    ("soldier", 0.10),
    ("electrician", 0.07),
    ("miner", 0.04),
];

/// Sentences about one person of an occupation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OccupationDocument {
    /// The occupation.
    pub occupation: &'static str,
    /// Whether the person is a woman.
    pub she: bool,
    /// The text, sentence by sentence.
    pub sentences: Vec<String>,
}

/// Writes occupation documents.
#[derive(Clone, Debug)]
pub struct Occupations {
    she: Grammar,
    he: Grammar,
}

impl Occupations {
    /// Loads the two grammars, which differ in their pronouns only.
    pub fn load() -> Result<Self> {
        Ok(Self { she: Grammar::load("occupation_she")?, he: Grammar::load("occupation_he")? })
    }

    /// One document about one person: the first sentence names the occupation and has the pronoun, later ones stay
    /// with that person.
    pub fn document(&self, rng: &mut ChaCha8Rng) -> Result<OccupationDocument> {
        let (occupation, share) = OCCUPATIONS.choose(rng).copied().unwrap_or(OCCUPATIONS[0]);
        let she = rng.random_bool(share);
        let grammar = if she { &self.she } else { &self.he };
        let sentences = topic::document(grammar, rng)?;
        let sentences = sentences.into_iter().map(|text| text.replace("OCCUPATION", occupation)).collect();
        Ok(OccupationDocument { occupation, she, sentences })
    }
}
