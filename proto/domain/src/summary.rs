//! Summaries: what a worker sends back. AP cannot be merged from means, so there are two kinds.
//!
//! *Finished* rows are [`ExpertiseBlock`]s, when the worker held all of a concept's sentences. *Partial* ones carry the
//! responses themselves, unit block by unit block, when a concept was split by sentences; merging them is a union, which is
//! exact, commutative, associative and idempotent (a shard that was run twice changes nothing).

use std::cmp::Ordering;

use crate::{
    criterion::Measures,
    expertise::{Column, ExpertiseBlock},
    holdout::Classes,
    score::{BadLabels, Depth, Labels, NotFinite, Scorer},
};

/// Responses of some of a job's sentences for a run of consecutive units.
#[derive(Clone, Debug, PartialEq)]
pub struct PartialBlock {
    start: u32,
    units: u32,
    sentences: Vec<u32>,
    /// `[unit, sentence]`
    responses: Vec<f32>,
}

/// Partial summaries that cannot be put together.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum MergeError {
    /// Sentence numbers must rise and the matrix must be full.
    #[error(
        "a partial block of {units} units and {sentences} sentences holds {responses} responses, or its sentences do not rise"
    )]
    Malformed {
        /// Units said to be in the block.
        units: u32,
        /// Sentences listed.
        sentences: usize,
        /// Responses given.
        responses: usize,
    },
    /// Blocks of different units.
    #[error("units {left:?} and {right:?} cannot be merged: blocks must cover the same units")]
    OtherUnits {
        /// Start and count of one.
        left: (u32, u32),
        /// Start and count of the other.
        right: (u32, u32),
    },
    /// The same sentence with other responses: the workers do not compute the same thing.
    #[error("unit {unit} responds to sentence {sentence} with {left} on one worker and {right} on another")]
    Conflict {
        /// Number of the unit.
        unit: u32,
        /// Number of the sentence in the job.
        sentence: u32,
        /// One response.
        left: f32,
        /// The other.
        right: f32,
    },
    /// Not all sentences have arrived.
    #[error("{have} of {need} sentences have arrived; the first missing is {first}")]
    Missing {
        /// Sentences in the block.
        have: usize,
        /// Sentences of the job.
        need: usize,
        /// Number of the first missing one.
        first: u32,
    },
    /// A response is not a number.
    #[error("unit {unit}: {source}")]
    NotFinite {
        /// Number of the unit.
        unit: u32,
        /// Which sentence.
        source: NotFinite,
    },
}

impl PartialBlock {
    /// A block of `units` units from `start`, for `sentences` (rising job-wide numbers); `responses` is `[unit, sentence]`.
    ///
    /// # Errors
    /// If the sentences do not rise or the matrix is not full.
    pub fn new(start: u32, units: u32, sentences: Vec<u32>, responses: Vec<f32>) -> Result<Self, MergeError> {
        let rising = sentences.windows(2).all(|pair| pair[0] < pair[1]);
        if !rising || responses.len() != units as usize * sentences.len() {
            return Err(MergeError::Malformed { units, sentences: sentences.len(), responses: responses.len() });
        }
        Ok(Self { start, units, sentences, responses })
    }

    /// Number of the first unit.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// How many units the block covers.
    pub fn units(&self) -> u32 {
        self.units
    }

    /// The sentences it holds, rising job-wide numbers.
    pub fn sentences(&self) -> &[u32] {
        &self.sentences
    }

    /// All responses, `[unit, sentence]`.
    pub fn responses(&self) -> &[f32] {
        &self.responses
    }

    /// The responses of the unit at place `place`, `[sentence]`.
    pub fn row(&self, place: usize) -> &[f32] {
        &self.responses[place * self.sentences.len()..(place + 1) * self.sentences.len()]
    }

    /// The union of two blocks of the same units.
    ///
    /// # Errors
    /// If they cover other units, or a sentence that both hold has other responses.
    pub fn merge(&self, other: &Self) -> Result<Self, MergeError> {
        if (self.start, self.units) != (other.start, other.units) {
            let (left, right) = ((self.start, self.units), (other.start, other.units));
            return Err(MergeError::OtherUnits { left, right });
        }
        let sources = union(&self.sentences, &other.sentences);
        let mut responses = Vec::with_capacity(sources.len() * self.units as usize);
        for place in 0..self.units as usize {
            let (left, right) = (self.row(place), other.row(place));
            for source in &sources {
                responses.push(match *source {
                    Source::Left(i) => left[i],
                    Source::Right(j) => right[j],
                    Source::Both(i, j) if left[i].to_bits() == right[j].to_bits() => left[i],
                    Source::Both(i, j) => {
                        let (unit, sentence) = (self.start + place as u32, self.sentences[i]);
                        return Err(MergeError::Conflict { unit, sentence, left: left[i], right: right[j] });
                    }
                });
            }
        }
        let sentences = sources
            .iter()
            .map(|source| match *source {
                Source::Left(i) | Source::Both(i, _) => self.sentences[i],
                Source::Right(j) => other.sentences[j],
            })
            .collect();
        Ok(Self { start: self.start, units: self.units, sentences, responses })
    }

    /// Scores the whole: one block per concept of `scheme`, in their order.
    ///
    /// # Errors
    /// If a sentence is missing or a response is not finite.
    pub fn finish(&self, scheme: &Scheme) -> Result<Vec<ExpertiseBlock>, MergeError> {
        let need = scheme.sentences();
        if self.sentences.len() != need {
            let first =
                (0u32..).zip(&self.sentences).find(|(i, s)| i != *s).map_or(self.sentences.len() as u32, |(i, _)| i);
            return Err(MergeError::Missing { have: self.sentences.len(), need, first });
        }
        let rows = (0..self.units as usize).map(|place| self.row(place));
        scheme.scorer().score_units(self.start, rows)
    }
}

/// What a group of concepts that share sentences is scored for.
#[derive(Clone, Debug)]
pub struct Scheme {
    /// Of all concepts what is scored on; then, if anything is, of all what is held out.
    labels: Labels,
    concepts: usize,
    depth: Depth,
    /// Columns beside the base.
    columns: Vec<Column>,
}

/// Scores runs of units by a scheme; keeps its buffers between them.
pub struct UnitScorer<'s> {
    scheme: &'s Scheme,
    scorer: Scorer<'s>,
}

impl Scheme {
    /// Over `sentences` sentences; see [`Labels::new`].
    ///
    /// # Errors
    /// If a class is empty, or there is no such sentence.
    pub fn new(sentences: usize, concepts: &[&Classes], measures: Measures) -> Result<Self, BadLabels> {
        let scored = concepts.iter().map(|classes| (&classes.positive[..], &classes.negative[..]));
        let held = concepts.iter().map(|classes| (&classes.held_positive[..], &classes.held_negative[..]));
        let held = held.filter(|_| measures.holdout.is_some());
        let labels = Labels::new(sentences, &scored.chain(held).collect::<Vec<_>>())?;
        let (depth, columns) = (measures.depth(), measures.columns().collect());
        Ok(Self { labels, concepts: concepts.len(), depth, columns })
    }

    /// How many sentences there are.
    pub fn sentences(&self) -> usize {
        self.labels.sentences()
    }

    /// How many concepts are scored.
    pub fn concepts(&self) -> usize {
        self.concepts
    }

    /// Bytes of one unit's scores in one concept.
    pub fn unit_bytes(&self) -> usize {
        size_of::<f32>() * (Column::BASE.len() + self.columns.len())
    }

    /// A scorer by this scheme.
    pub fn scorer(&self) -> UnitScorer<'_> {
        UnitScorer { scheme: self, scorer: Scorer::with_depth(&self.labels, self.depth) }
    }
}

impl UnitScorer<'_> {
    /// Scores a run of units from `start` on: `rows` yields each unit's responses, `[sentence]`; one block per concept.
    ///
    /// # Errors
    /// If a response is not finite.
    pub fn score_units<'r>(
        &mut self,
        start: u32,
        rows: impl ExactSizeIterator<Item = &'r [f32]>,
    ) -> Result<Vec<ExpertiseBlock>, MergeError> {
        let empty = |_| ExpertiseBlock::with_room(start, rows.len(), &self.scheme.columns);
        let mut blocks: Vec<_> = (0..self.scheme.concepts()).map(empty).collect();
        for (unit, row) in (start..).zip(rows) {
            let scored = self.scorer.score(row).map_err(|source| MergeError::NotFinite { unit, source })?;
            let mut held_out = scored.clone().skip(blocks.len());
            for (block, scores) in blocks.iter_mut().zip(scored) {
                let held_out = held_out.next();
                block.push(scores.into());
                block.push_extra(|column| scores.get(column, held_out.as_ref()));
            }
        }
        Ok(blocks)
    }
}

enum Source {
    Left(usize),
    Right(usize),
    Both(usize, usize),
}

fn union(left: &[u32], right: &[u32]) -> Vec<Source> {
    let (mut i, mut j) = (0, 0);
    let mut sources = Vec::with_capacity(left.len() + right.len());
    while i < left.len() || j < right.len() {
        let order = match (left.get(i), right.get(j)) {
            (Some(a), Some(b)) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            _ => Ordering::Greater,
        };
        sources.push(match order {
            Ordering::Less => Source::Left(i),
            Ordering::Greater => Source::Right(j),
            Ordering::Equal => Source::Both(i, j),
        });
        i += usize::from(order.is_le());
        j += usize::from(order.is_ge());
    }
    sources
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{criterion::Criterion, holdout::Holdout};

    /// A whole of `[unit, sentence]` responses with many ties, and which of three shards hold each sentence.
    fn sharded() -> impl Strategy<Value = (PartialBlock, [PartialBlock; 3])> {
        (2u32..24, 1u32..5).prop_flat_map(|(sentences, units)| {
            let values =
                prop::collection::vec((-6i8..7).prop_map(|v| f32::from(v) / 3.0), (sentences * units) as usize);
            // At least one shard holds each sentence; some are held by two, as after a retry.
            let holders = prop::collection::vec((0usize..3, any::<bool>()), sentences as usize);
            (values, holders).prop_map(move |(values, holders)| {
                let whole = PartialBlock::new(0, units, (0..sentences).collect(), values).unwrap();
                let shards = std::array::from_fn(|shard| {
                    let held: Vec<u32> = (0..sentences)
                        .filter(|&s| {
                            let (holder, twice) = holders[s as usize];
                            holder == shard || (twice && (holder + 1) % 3 == shard)
                        })
                        .collect();
                    let rows = (0..units as usize).flat_map(|u| held.iter().map(move |&s| (u, s as usize)));
                    let responses = rows.map(|(u, s)| whole.row(u)[s]).collect();
                    PartialBlock::new(0, units, held, responses).unwrap()
                });
                (whole, shards)
            })
        })
    }

    proptest! {
        #[test]
        fn merge_is_commutative_associative_and_idempotent((_, [a, b, c]) in sharded()) {
            let ab = a.merge(&b).unwrap();
            prop_assert_eq!(&ab, &b.merge(&a).unwrap());
            prop_assert_eq!(ab.merge(&c).unwrap(), a.merge(&b.merge(&c).unwrap()).unwrap());
            prop_assert_eq!(&ab.merge(&b).unwrap(), &ab);
        }

        #[test]
        fn merging_shards_equals_scoring_the_whole((whole, [a, b, c]) in sharded(), cut in 1u32..23) {
            let n = whole.sentences().len() as u32;
            let cut = 1 + cut % (n - 1);
            let (positive, negative): (Vec<u32>, Vec<u32>) = ((0..cut).collect(), (cut..n).collect());
            let measures = Measures { criteria: Criterion::ALL.into_iter().collect(), ..Measures::default() };
            let scheme = Scheme::new(n as usize, &[&Classes::whole(positive, negative)], measures).unwrap();
            let merged = c.merge(&a).unwrap().merge(&b).unwrap();
            let found = merged.finish(&scheme).unwrap();
            prop_assert_eq!(found[0].extra_columns().count(), measures.columns().count());
            prop_assert_eq!(found, whole.finish(&scheme).unwrap());
        }
    }

    /// What is held out has no part in the scores, and its AP is that of a concept which has only it.
    #[test]
    fn what_is_held_out_is_scored_by_itself() {
        let responses = vec![0.9, 0.1, 0.8, 0.3, 0.2, 0.7, 0.6, 0.4, 0.1, 0.5, 0.3, 0.9, 0.2, 0.8, 0.6, 0.4];
        let whole = PartialBlock::new(0, 2, (0..8).collect(), responses).unwrap();
        let parts = Classes {
            positive: vec![0, 2],
            negative: vec![1, 3, 5],
            held_positive: vec![4, 6],
            held_negative: vec![7],
        };
        let held = Classes::whole(parts.held_positive.clone(), parts.held_negative.clone());
        let trained = Classes::whole(parts.positive.clone(), parts.negative.clone());
        let measures = Measures { holdout: Holdout::new(200), ..Measures::default() };
        let score =
            |parts: &Classes, measures| whole.finish(&Scheme::new(8, &[parts], measures).unwrap()).unwrap().remove(0);
        let (found, plain) = (score(&parts, measures), score(&trained, Measures::default()));
        for column in Column::BASE {
            assert_eq!(found.column(column), plain.column(column));
        }
        assert_eq!(found.column(Column::HeldOutAp), score(&held, Measures::default()).column(Column::Ap));
    }

    #[test]
    fn what_cannot_be_merged_is_refused() {
        let block = |start, sentences: &[u32], responses: &[f32]| {
            PartialBlock::new(start, 1, sentences.to_vec(), responses.to_vec())
        };
        let a = block(0, &[0, 2], &[1.0, 2.0]).unwrap();
        assert!(matches!(block(0, &[2, 0], &[1.0, 2.0]), Err(MergeError::Malformed { .. })));
        assert!(matches!(block(0, &[0], &[1.0, 2.0]), Err(MergeError::Malformed { .. })));
        assert!(matches!(a.merge(&block(8, &[1], &[1.0]).unwrap()), Err(MergeError::OtherUnits { .. })));
        let conflict = a.merge(&block(0, &[2], &[2.5]).unwrap());
        assert_eq!(conflict, Err(MergeError::Conflict { unit: 0, sentence: 2, left: 2.0, right: 2.5 }));
        let scheme = Scheme::new(3, &[&Classes::whole(vec![0], vec![1, 2])], Measures::default()).unwrap();
        assert_eq!(a.finish(&scheme), Err(MergeError::Missing { have: 2, need: 3, first: 1 }));
    }
}
