//! What the methods beside do(c,k) know of a concept: learned from its sentences before anything is measured.

use std::sync::Arc;

use anyhow::Context as _;
use lode_domain::{
    concept::{Concept, ConceptId},
    guide::{Discriminator, Guide},
    intervention::{Component, Condition, ForcingValue, Target},
    record::ModelRecord,
};
use lode_guide::{Example, Options, Trained, train};

use super::{
    method::{Method, MethodArgs, Treatment, TreatmentKey},
    settings::{ConditionKey, SharedArgs, Subject},
    stream::{Place, Sentence, blocks, read},
    strength::Strength,
    writing::Writer,
};
use crate::progress::spinner;

/// What is known of one concept.
#[derive(Clone, Debug, Default)]
struct Learned {
    fudge: Option<Fudge>,
    steer: Option<Steer>,
}

#[derive(Clone, Debug)]
struct Fudge {
    discriminator: Arc<Discriminator>,
    hash: String,
    accuracy: f64,
    prefix_accuracy: f64,
    held_out: usize,
}

#[derive(Clone, Debug)]
struct Steer {
    /// Added to the outputs of the layer that writes last to the residual stream of the block.
    components: Vec<Component>,
    hash: String,
    norm: f64,
}

/// Every method for every concept of an evaluation.
pub(super) struct Baselines<'a> {
    shared: &'a SharedArgs,
    args: &'a MethodArgs,
    learned: Vec<Learned>,
    block: u32,
}

impl<'a> Baselines<'a> {
    /// Without anything learned: do(c,k) and prompting need nothing.
    pub(super) fn new(shared: &'a SharedArgs, args: &'a MethodArgs, concepts: usize) -> Self {
        Self { shared, args, learned: vec![Learned::default(); concepts], block: 0 }
    }

    /// Learns what `methods` need from the concepts' `sentences`.
    pub(super) async fn learn(
        mut self,
        writer: &Writer,
        (model, methods): (&ModelRecord, &[Method]),
        sentences: &[Concept],
    ) -> anyhow::Result<Self> {
        self.block = self.args.block.unwrap_or(blocks(model) / 2);
        let place = Place::after(model, ("--block", self.block))?;
        for (number, concept) in sentences.iter().enumerate() {
            let what = format!("reading the sentences of {}", concept.id);
            let read = spinner(&what, Read::of(concept, writer, self.block)).await?;
            if methods.contains(&Method::Fudge) {
                let what = format!("training the discriminator of {}", concept.id);
                let (examples, seed) = (read.examples(), self.shared.run.seed);
                let training =
                    tokio::task::spawn_blocking(move || train(&examples, &Options { seed, ..Options::default() }));
                let Trained { discriminator, accuracy, prefix_accuracy, held_out } =
                    spinner(&what, training).await?.with_context(|| concept.id.to_string())?;
                let (discriminator, hash) = (Arc::new(discriminator.clone()), hash_of(&discriminator));
                self.learned[number].fudge = Some(Fudge { discriminator, hash, accuracy, prefix_accuracy, held_out });
            }
            if methods.contains(&Method::Steer) {
                let direction = read.direction();
                self.learned[number].steer = Some(Steer {
                    components: place.components(&direction)?,
                    hash: place.hash(&direction),
                    norm: direction.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt(),
                });
            }
        }
        Ok(self)
    }

    /// What `method` does for concept number `concept` at a strength; nothing where the strength is 0.
    pub(super) fn treatment(
        &self,
        method: Method,
        (number, subject): (usize, &Subject),
        strength: Strength,
    ) -> Treatment {
        let plain = Treatment::default();
        if strength.is_none() {
            return plain;
        }
        let learned = &self.learned[number];
        match method {
            Method::Do => Treatment { conditions: vec![self.shared.condition(subject, strength.units())], ..plain },
            Method::Prompt => Treatment { instruction: self.instruction(&subject.concept), ..plain },
            Method::Fudge => {
                let guide = learned.fudge.as_ref().map(|fudge| Guide {
                    discriminator: Arc::clone(&fudge.discriminator),
                    strength: strength.value() as f32,
                    candidates: self.args.candidates,
                });
                Treatment { guide, ..plain }
            }
            Method::Steer => {
                let condition = |steer: &Steer| Condition {
                    target: Target::Direction(steer.components.clone()),
                    value: ForcingValue::Scale((strength.value() / 100.0) as f32),
                    positions: self.shared.positions(),
                };
                Treatment { conditions: learned.steer.iter().map(condition).collect(), ..plain }
            }
        }
    }

    /// What such a treatment follows from.
    pub(super) fn key(
        &self,
        method: Method,
        (number, subject): (usize, &Subject),
        strength: Strength,
    ) -> Option<TreatmentKey> {
        if strength.is_none() {
            return None;
        }
        let learned = &self.learned[number];
        match method {
            Method::Do => {
                ConditionKey::of(subject, &self.shared.condition(subject, strength.units())).map(TreatmentKey::Do)
            }
            Method::Prompt => Some(TreatmentKey::Prompt { instruction: self.instruction(&subject.concept) }),
            Method::Fudge => learned.fudge.as_ref().map(|fudge| TreatmentKey::Fudge {
                discriminator: fudge.hash.clone(),
                lambda: strength,
                candidates: self.args.candidates,
            }),
            Method::Steer => learned.steer.as_ref().map(|steer| TreatmentKey::Steer {
                direction: steer.hash.clone(),
                percent: strength,
                positions: self.shared.positions().to_string(),
            }),
        }
    }

    fn instruction(&self, concept: &ConceptId) -> String {
        self.args.instruction.replace("{}", &concept.name().replace(['-', '_'], " "))
    }

    /// What was learned, for people: a row a concept and method.
    pub(super) fn facts(&self, subjects: &[Subject]) -> Vec<(String, String)> {
        let mut facts = Vec::new();
        for (subject, learned) in subjects.iter().zip(&self.learned) {
            if let Some(fudge) = &learned.fudge {
                let said = format!(
                    "a GRU of {} numbers that knows {} tokens; of {} held-out sentences it tells {:.1} % right, of their beginnings {:.1} %",
                    fudge.discriminator.state(),
                    fudge.discriminator.tokens.len(),
                    fudge.held_out,
                    fudge.accuracy * 100.0,
                    fudge.prefix_accuracy * 100.0
                );
                facts.push((format!("FUDGE, {}", subject.concept), said));
            }
            if let Some(steer) = &learned.steer {
                let said = format!("a vector of length {:.2} after block {}", steer.norm, self.block);
                facts.push((format!("steering, {}", subject.concept), said));
            }
        }
        facts
    }
}

/// What the model makes of a concept's sentences.
struct Read {
    /// Those with the concept first.
    sentences: Vec<Sentence>,
    positive: usize,
}

impl Read {
    async fn of(concept: &Concept, writer: &Writer, block: u32) -> anyhow::Result<Self> {
        let mut sentences = read(writer, &concept.positive, &[block]).await?;
        let positive = sentences.len();
        sentences.extend(read(writer, &concept.negative, &[block]).await?);
        Ok(Self { sentences, positive })
    }

    fn examples(&self) -> Vec<Example> {
        let example =
            |(number, one): (usize, &Sentence)| Example { tokens: one.tokens.clone(), shows: number < self.positive };
        self.sentences.iter().enumerate().map(example).collect()
    }

    /// The mean over the sentences with the concept less that over those without, `[width]`.
    fn direction(&self) -> Vec<f32> {
        let (on, off) = self.sentences.split_at(self.positive);
        let mean = |side: &[Sentence]| {
            let known: Vec<&Vec<f32>> = side.iter().map(|one| &one.stream).filter(|mean| !mean.is_empty()).collect();
            let mut sum = vec![0.0; known.first().map_or(0, |mean| mean.len())];
            known
                .iter()
                .for_each(|mean| sum.iter_mut().zip(mean.iter()).for_each(|(sum, &one)| *sum += f64::from(one)));
            sum.iter_mut().for_each(|sum| *sum /= known.len() as f64);
            sum
        };
        mean(on).iter().zip(mean(off)).map(|(on, off)| (on - off) as f32).collect()
    }
}

/// BLAKE3 of all of it.
fn hash_of(discriminator: &Discriminator) -> String {
    let mut hasher = blake3::Hasher::new();
    let Discriminator { tokens, vectors, input, input_bias, recurrent, recurrent_bias, output, output_bias } =
        discriminator;
    tokens.iter().for_each(|token| {
        hasher.update(&token.to_le_bytes());
    });
    for part in [vectors, input, input_bias, recurrent, recurrent_bias, output, &vec![*output_bias]] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        part.iter().for_each(|value| {
            hasher.update(&value.to_le_bytes());
        });
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_the_difference_of_the_means() {
        let one = |mean: &[f32]| Sentence { tokens: vec![1, 2], stream: mean.to_vec() };
        let sentences = vec![one(&[1.0, 2.0]), one(&[3.0, 2.0]), one(&[0.0, 1.0]), one(&[])];
        assert_eq!(Read { sentences, positive: 2 }.direction(), [2.0, 1.0]);
    }
}
