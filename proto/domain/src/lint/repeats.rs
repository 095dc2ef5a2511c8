//! Checks for texts that stand more than once.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Finding, FindingKind, Sentence, finding::shorten};
use crate::concept::Concept;

pub(super) fn duplicate(concept: &Concept) -> Option<Finding> {
    let (mut copies, mut first) = (0, None);
    for class in [&concept.positive, &concept.negative] {
        let mut seen = FxHashSet::default();
        for text in class {
            if !seen.insert(text) {
                copies += 1;
                first.get_or_insert(text.as_str());
            }
        }
    }
    Finding::of_sentences(FindingKind::Duplicate, copies, first)
}

pub(super) fn both_classes(concept: &Concept) -> Option<Finding> {
    let negative: FxHashSet<&String> = concept.negative.iter().collect();
    let mut seen = FxHashSet::default();
    let mut both = concept.positive.iter().filter(|text| negative.contains(text) && seen.insert(*text));
    let first = both.next()?;
    Finding::of_sentences(FindingKind::BothClasses, 1 + both.count(), Some(first))
}

/// Exact copies are told by the others. A pair over both classes makes the example if there is one: it does most harm.
pub(super) fn near_duplicate(sentences: &[Sentence<'_>]) -> Option<Finding> {
    let mut texts_of: FxHashMap<String, Vec<Sentence<'_>>> = FxHashMap::default();
    let (mut count, mut within, mut across) = (0, None, None);
    for &sentence in sentences {
        let texts = texts_of.entry(plain(sentence.text)).or_default();
        let Some(first) = texts.first() else {
            texts.push(sentence);
            continue;
        };
        if texts.iter().any(|other| other.text == sentence.text) {
            continue;
        }
        count += 1;
        let example = if first.positive == sentence.positive { &mut within } else { &mut across };
        example.get_or_insert((first.text, sentence.text));
        texts.push(sentence);
    }
    let (one, other) = across.or(within)?;
    let example = format!("{} and {}", shorten(one), shorten(other));
    Some(Finding { kind: FindingKind::NearDuplicate, count, example })
}

/// A text's words in lower case; the text itself where it has none.
fn plain(text: &str) -> String {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { text.to_owned() } else { words.join(" ") }
}
