//! The training and held-out texts.

use std::path::Path;

use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{
    error::Result,
    file,
    occupation::{OccupationDocument, Occupations},
    topic::Topic,
};

/// One in so many documents is about a person of an occupation.
const OCCUPATION_SHARE: f64 = 0.2;

/// A short text about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Document {
    /// `group/name` of its topic, or `occupation/name`.
    pub topic: String,
    /// The text, sentence by sentence.
    pub sentences: Vec<String>,
}

impl Document {
    /// The text, sentences apart by one space.
    pub fn text(&self) -> String {
        self.sentences.join(" ")
    }
}

/// How many documents to write.
#[derive(Clone, Copy, Debug)]
pub struct CorpusSize {
    /// Documents to train on.
    pub train: usize,
    /// Documents to measure perplexity on.
    pub held_out: usize,
}

impl Default for CorpusSize {
    fn default() -> Self {
        Self { train: 30_000, held_out: 1_500 }
    }
}

/// Independent random streams of one seed: more documents in one leave the others as they are.
#[derive(Clone, Copy, Debug)]
pub enum Stream {
    /// Training documents.
    Train,
    /// Held-out documents.
    HeldOut,
    /// Concept sentences.
    Concepts,
    /// Sampled texts.
    Samples,
}

impl Stream {
    /// A generator for this stream; the same on every machine.
    pub fn rng(self, seed: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(self as u64 + 1);
        rng
    }
}

/// The demo's texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// Documents to train on.
    pub train: Vec<Document>,
    /// Documents to measure perplexity on: the same grammar, other random numbers.
    pub held_out: Vec<Document>,
}

impl Corpus {
    /// Writes both parts from a seed.
    pub fn generate(seed: u64, size: CorpusSize) -> Result<Self> {
        let writer = Writer { topics: Topic::all()?, occupations: Occupations::load()? };
        Ok(Self {
            train: writer.documents(size.train, &mut Stream::Train.rng(seed))?,
            held_out: writer.documents(size.held_out, &mut Stream::HeldOut.rng(seed))?,
        })
    }

    /// Writes `train.jsonl` and `held_out.jsonl`: `{"topic", "text"}` a line.
    pub fn write(&self, folder: &Path) -> Result<()> {
        for (name, documents) in [("train.jsonl", &self.train), ("held_out.jsonl", &self.held_out)] {
            let mut lines = String::new();
            for document in documents {
                let line = serde_json::json!({ "topic": document.topic, "text": document.text() });
                lines.push_str(&line.to_string());
                lines.push('\n');
            }
            file::write(&folder.join(name), lines)?;
        }
        Ok(())
    }
}

struct Writer {
    topics: Vec<Topic>,
    occupations: Occupations,
}

impl Writer {
    fn documents(&self, count: usize, rng: &mut ChaCha8Rng) -> Result<Vec<Document>> {
        (0..count).map(|_| self.document(rng)).collect()
    }

    fn document(&self, rng: &mut ChaCha8Rng) -> Result<Document> {
        let topic = if rng.random_bool(OCCUPATION_SHARE) { None } else { self.topics.choose(rng) };
        let Some(topic) = topic else {
            let OccupationDocument { occupation, sentences, .. } = self.occupations.document(rng)?;
            return Ok(Document { topic: format!("occupation/{occupation}"), sentences });
        };
        Ok(Document { topic: topic.id(), sentences: topic.document(rng)? })
    }
}
