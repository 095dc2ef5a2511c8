//! A mining job's sentences and labels: one table of distinct sentences, and concepts that point into it.

use std::ops::Range;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::{Deserialize, Serialize};

use crate::{
    concept::{Concept, ConceptId},
    event::DroppedSentence,
    lint::{Finding, FindingKind},
};

/// Concepts over a table of distinct sentences.
///
/// The table is sorted by bytes, concepts by id, and each concept's numbers ascend, so that the same sentences and
/// concepts make the same job in whatever order they came: everything computed from a job is order-independent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The distinct sentences, sorted, `[sentence]`.
    pub sentences: Vec<String>,
    /// The concepts, sorted by id.
    pub concepts: Vec<JobConcept>,
}

/// One concept of a job: its labels as numbers of sentences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobConcept {
    /// Group and name.
    pub id: ConceptId,
    /// Sentences with b = 1: numbers into [`Job::sentences`], ascending, repeated as often as the sentence stands.
    pub positive: Vec<u32>,
    /// Sentences with b = 0, likewise.
    pub negative: Vec<u32>,
}

/// Concepts that do not make a job.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum JobError {
    /// Nothing to mine.
    #[error("a job needs at least one concept")]
    NoConcepts,
    /// The same concept twice.
    #[error("concept `{0}` is given twice: a job mines each concept once, so rename one or leave it out")]
    Repeated(ConceptId),
    /// A class without sentences has no average precision.
    #[error("concept `{concept}` has no {class} sentences: both classes need at least one")]
    EmptyClass {
        /// The concept.
        concept: ConceptId,
        /// `positive` or `negative`.
        class: &'static str,
    },
    /// More distinct sentences than a `u32` can number.
    #[error("more than 2^32 distinct sentences")]
    TooLarge,
}

impl Job {
    /// Numbers the distinct sentences of `concepts`.
    ///
    /// # Errors
    /// If there is no concept, one has an empty class or comes twice, or the sentences are too many to number.
    pub fn new(concepts: &[Concept]) -> Result<Self, JobError> {
        let mut order: Vec<&Concept> = concepts.iter().collect();
        order.sort_unstable_by_key(|concept| &concept.id);
        check(&order)?;

        let distinct: FxHashSet<&str> = order
            .iter()
            .flat_map(|concept| concept.positive.iter().chain(&concept.negative))
            .map(String::as_str)
            .collect();
        let mut table: Vec<&str> = distinct.into_iter().collect();
        table.sort_unstable();
        u32::try_from(table.len()).map_err(|_| JobError::TooLarge)?;
        let number_of: FxHashMap<&str, u32> = table.iter().copied().zip(0..).collect();

        let numbers = |texts: &[String]| {
            let mut numbers: Vec<u32> = texts.iter().map(|text| number_of[text.as_str()]).collect();
            numbers.sort_unstable();
            numbers
        };
        let concepts = order
            .iter()
            .map(|concept| JobConcept {
                id: concept.id.clone(),
                positive: numbers(&concept.positive),
                negative: numbers(&concept.negative),
            })
            .collect();
        Ok(Self { sentences: table.into_iter().map(str::to_owned).collect(), concepts })
    }

    /// Checks what [`Self::new`] makes sure of, for a job that was made elsewhere.
    ///
    /// # Errors
    /// What is out of order, repeated or missing.
    pub fn check_form(&self) -> Result<(), String> {
        if let Some(pair) = self.sentences.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(format!("the job's sentences must rise, but {:?} comes before {:?}", pair[0], pair[1]));
        }
        if let Some(pair) = self.concepts.windows(2).find(|pair| pair[0].id >= pair[1].id) {
            return Err(format!("the job's concepts must rise, but `{}` comes before `{}`", pair[0].id, pair[1].id));
        }
        for concept in &self.concepts {
            for (class, numbers) in [("positive", &concept.positive), ("negative", &concept.negative)] {
                if numbers.is_empty() {
                    return Err(JobError::EmptyClass { concept: concept.id.clone(), class }.to_string());
                }
                if numbers.windows(2).any(|pair| pair[0] > pair[1]) {
                    return Err(format!("the {class} sentences of `{}` must rise", concept.id));
                }
            }
        }
        Ok(())
    }

    /// The job with only the concepts numbered `concepts` and the sentences they need: what a shard's worker is sent.
    ///
    /// # Panics
    /// If a number is not below the number of concepts.
    pub fn part(&self, concepts: &[u32]) -> Self {
        let mut chosen: Vec<&JobConcept> = concepts.iter().map(|&concept| &self.concepts[concept as usize]).collect();
        chosen.sort_unstable_by_key(|concept| &concept.id);
        chosen.dedup_by_key(|concept| &concept.id);
        let kept = distinct(&chosen);
        let new_number: FxHashMap<u32, u32> = kept.iter().copied().zip(0..).collect();
        // Both tables are sorted, so renumbering keeps the order of the numbers.
        let renumber = |numbers: &[u32]| numbers.iter().map(|number| new_number[number]).collect();
        Self {
            sentences: kept.iter().map(|&sentence| self.sentences[sentence as usize].clone()).collect(),
            concepts: chosen
                .iter()
                .map(|concept| JobConcept {
                    id: concept.id.clone(),
                    positive: renumber(&concept.positive),
                    negative: renumber(&concept.negative),
                })
                .collect(),
        }
    }
}

impl JobConcept {
    /// The distinct sentences of both classes, ascending.
    pub fn distinct(&self) -> Vec<u32> {
        distinct(&[self])
    }

    /// What a concept loses when sentences of its job's table are dropped; `dropped` ascends.
    pub fn dropped(&self, sentences: &[String], dropped: &[DroppedSentence]) -> Vec<Finding> {
        let kind_of = |number: u32| {
            dropped.binary_search_by_key(&number, |one| one.sentence).ok().map(|place| dropped[place].kind)
        };
        let of_kind = |kind: FindingKind| {
            let all = self.positive.iter().chain(&self.negative).copied();
            let lost: Vec<u32> = all.filter(|&number| kind_of(number) == Some(kind)).collect();
            Finding::of_sentences(kind, lost.len(), lost.first().map(|&number| sentences[number as usize].as_str()))
        };
        [FindingKind::Empty, FindingKind::TooLong].into_iter().filter_map(of_kind).collect()
    }

    /// The labels of the sentences numbered within `sentences`: the part of the concept that one range of a split
    /// holds.
    pub fn within(&self, sentences: &Range<u32>) -> Self {
        let cut = |numbers: &[u32]| {
            let start = numbers.partition_point(|&number| number < sentences.start);
            let end = numbers.partition_point(|&number| number < sentences.end).max(start);
            numbers[start..end].to_vec()
        };
        Self { id: self.id.clone(), positive: cut(&self.positive), negative: cut(&self.negative) }
    }
}

/// The distinct sentences of all of `concepts`, ascending.
pub(crate) fn distinct(concepts: &[&JobConcept]) -> Vec<u32> {
    let mut numbers: Vec<u32> =
        concepts.iter().flat_map(|concept| concept.positive.iter().chain(&concept.negative)).copied().collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// Checks concepts that are sorted by id.
fn check(concepts: &[&Concept]) -> Result<(), JobError> {
    if concepts.is_empty() {
        return Err(JobError::NoConcepts);
    }
    if let Some(pair) = concepts.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(JobError::Repeated(pair[0].id.clone()));
    }
    for concept in concepts {
        for (class, sentences) in [("positive", &concept.positive), ("negative", &concept.negative)] {
            if sentences.is_empty() {
                return Err(JobError::EmptyClass { concept: concept.id.clone(), class });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn concept(id: &str, positive: &[&str], negative: &[&str]) -> Concept {
        let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Concept { id: id.parse().unwrap(), positive: own(positive), negative: own(negative) }
    }

    fn texts(job: &Job, numbers: &[u32]) -> Vec<String> {
        numbers.iter().map(|&number| job.sentences[number as usize].clone()).collect()
    }

    fn sorted(texts: &[String]) -> Vec<String> {
        let mut texts = texts.to_vec();
        texts.sort();
        texts
    }

    /// A few concepts over few short sentences, so that they share, repeat and contradict each other.
    fn concepts() -> impl Strategy<Value = Vec<Concept>> {
        let class = || prop::collection::vec("[a-c]{0,2}", 1..8);
        prop::collection::btree_map("[a-z]{1,3}", (class(), class()), 1..6).prop_map(|map| {
            let with_id = |(name, (positive, negative))| Concept {
                id: ConceptId::new("group", name).unwrap(),
                positive,
                negative,
            };
            map.into_iter().map(with_id).collect()
        })
    }

    proptest! {
        #[test]
        fn a_job_holds_what_its_concepts_hold(concepts in concepts()) {
            let job = Job::new(&concepts).unwrap();
            prop_assert_eq!(job.check_form(), Ok(()));
            for (given, made) in concepts.iter().zip(&job.concepts) {
                prop_assert_eq!(&given.id, &made.id);
                prop_assert_eq!(sorted(&given.positive), texts(&job, &made.positive));
                prop_assert_eq!(sorted(&given.negative), texts(&job, &made.negative));
            }
        }

        #[test]
        fn order_does_not_matter(concepts in concepts()) {
            let mut reversed = concepts.clone();
            reversed.reverse();
            for concept in &mut reversed {
                concept.positive.reverse();
                concept.negative.rotate_left(1);
            }
            prop_assert_eq!(Job::new(&concepts), Job::new(&reversed));
        }

        #[test]
        fn a_part_is_the_job_of_its_concepts(concepts in concepts(), pick in any::<u8>()) {
            let job = Job::new(&concepts).unwrap();
            let picked: Vec<u32> = (0..concepts.len() as u32).filter(|i| pick & (1 << i) != 0).collect();
            prop_assume!(!picked.is_empty());
            let alone: Vec<Concept> = picked.iter().map(|&i| concepts[i as usize].clone()).collect();
            prop_assert_eq!(job.part(&picked), Job::new(&alone).unwrap());
        }
    }

    #[test]
    fn a_concept_given_twice_is_named() {
        let one = concept("sense/bass", &["a"], &["b"]);
        let error = Job::new(&[one.clone(), concept("sense/bank", &["a"], &["b"]), one]).unwrap_err();
        assert!(error.to_string().starts_with("concept `sense/bass` is given twice"), "{error}");
    }

    #[test]
    fn a_job_needs_concepts_and_both_classes() {
        assert_eq!(Job::new(&[]), Err(JobError::NoConcepts));
        let error = Job::new(&[concept("sense/bass", &["a"], &[])]).unwrap_err();
        assert!(error.to_string().contains("`sense/bass` has no negative sentences"), "{error}");
    }

    #[test]
    fn a_job_in_bad_form_is_refused() {
        let job = Job::new(&[concept("a/a", &["p"], &["n"]), concept("a/b", &["p"], &["o"])]).unwrap();
        let broken = |change: fn(&mut Job)| {
            let mut job = job.clone();
            change(&mut job);
            job.check_form().unwrap_err()
        };
        assert!(broken(|job| job.sentences.reverse()).contains("sentences must rise"));
        assert!(broken(|job| job.concepts[1].id = job.concepts[0].id.clone()).contains("`a/a` comes before `a/a`"));
        assert!(broken(|job| job.concepts[0].negative.clear()).contains("no negative"));
        assert!(broken(|job| job.concepts[0].positive = vec![1, 0]).contains("positive sentences of `a/a`"));
    }

    #[test]
    fn ranges_cut_a_concept_into_parts() {
        let job = Job::new(&[concept("sense/bass", &["a", "c", "c"], &["b", "d"])]).unwrap();
        let cut = job.concepts[0].within(&(1..3));
        assert_eq!((cut.positive, cut.negative), (vec![2, 2], vec![1]));
        assert_eq!(job.concepts[0].distinct(), [0, 1, 2, 3]);
    }
}
