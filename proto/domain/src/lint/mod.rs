//! What is wrong with a concept set, told before it is paid for.

mod bias;
mod finding;
mod form;
mod repeats;

pub use finding::{Finding, FindingKind, Severity};

use crate::concept::Concept;

/// How long a sentence is for a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SentenceLength {
    /// The text's own tokens, special tokens not counted.
    pub tokens: u32,
    /// How many of them the model takes: a longer sentence is dropped.
    pub limit: u32,
}

/// What a caller who has a tokenizer and a model passes to [`lint`].
pub type Measure<'a> = dyn Fn(&str) -> SentenceLength + 'a;

/// Looks at a concept; one finding a kind at most, in the order of [`FindingKind::ALL`].
///
/// Without a `measure` lengths are in characters, no sentence is too long, and the empty ones are those of white space
/// alone. [`FindingKind::Duplicate`] and [`FindingKind::BothClasses`] look at the concept as given; what compares
/// the classes looks at the sentences that are left when the empty and the too long are dropped.
pub fn lint(concept: &Concept, measure: Option<&Measure<'_>>) -> Vec<Finding> {
    let sentences = sentences(concept, measure);
    let kept: Vec<Sentence<'_>> = sentences.iter().copied().filter(|sentence| sentence.fate == Fate::Kept).collect();
    let findings = [
        form::empty(&sentences),
        form::too_long(&sentences),
        repeats::duplicate(concept),
        repeats::both_classes(concept),
        bias::nothing_left(&kept),
        bias::too_few(&kept),
        bias::length_confound(&kept, if measure.is_some() { "tokens" } else { "characters" }),
        repeats::near_duplicate(&kept),
        form::encoding(&kept),
        bias::imbalance(&kept),
        bias::telltale(&kept),
        form::whitespace(&kept),
    ];
    findings.into_iter().flatten().collect()
}

/// The findings that fail a job under `--strict`: the four that change what is mined, and whatever is an error anyway.
pub fn strict_errors(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|finding| finding.kind.is_strict() || finding.severity() == Severity::Error).collect()
}

/// What mining does with a sentence.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Empty,
    TooLong,
}

/// A sentence with all that the checks ask about it.
#[derive(Clone, Copy)]
struct Sentence<'a> {
    text: &'a str,
    positive: bool,
    /// In tokens, or characters where no measure was given.
    length: u32,
    fate: Fate,
}

fn sentences<'a>(concept: &'a Concept, measure: Option<&Measure<'_>>) -> Vec<Sentence<'a>> {
    let judge = |text: &str| match measure.map(|measure| measure(text)) {
        Some(SentenceLength { tokens: 0, .. }) => (0, Fate::Empty),
        Some(SentenceLength { tokens, limit }) if tokens > limit => (tokens, Fate::TooLong),
        Some(SentenceLength { tokens, .. }) => (tokens, Fate::Kept),
        None if text.trim().is_empty() => (0, Fate::Empty),
        None => (text.chars().count() as u32, Fate::Kept),
    };
    let class = |texts: &'a [String], positive| {
        texts.iter().map(move |text| {
            let (length, fate) = judge(text);
            Sentence { text, positive, length, fate }
        })
    };
    class(&concept.positive, true).chain(class(&concept.negative, false)).collect()
}

/// Positives and negatives among `sentences`.
fn class_sizes(sentences: &[Sentence<'_>]) -> (u32, u32) {
    let positive = sentences.iter().filter(|sentence| sentence.positive).count();
    (positive as u32, (sentences.len() - positive) as u32)
}

#[cfg(test)]
mod tests;
