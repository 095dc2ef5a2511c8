//! Checks that look at one sentence at a time.

use super::{Fate, Finding, FindingKind, Sentence};

pub(super) fn empty(sentences: &[Sentence<'_>]) -> Option<Finding> {
    those(FindingKind::Empty, sentences, |sentence| sentence.fate == Fate::Empty)
}

pub(super) fn too_long(sentences: &[Sentence<'_>]) -> Option<Finding> {
    those(FindingKind::TooLong, sentences, |sentence| sentence.fate == Fate::TooLong)
}

pub(super) fn encoding(sentences: &[Sentence<'_>]) -> Option<Finding> {
    those(FindingKind::Encoding, sentences, |sentence| looks_wrongly_decoded(sentence.text))
}

pub(super) fn whitespace(sentences: &[Sentence<'_>]) -> Option<Finding> {
    those(FindingKind::Whitespace, sentences, |sentence| {
        sentence.text.trim() != sentence.text || sentence.text.contains(['\n', '\r'])
    })
}

fn those(kind: FindingKind, sentences: &[Sentence<'_>], concerned: impl Fn(&Sentence<'_>) -> bool) -> Option<Finding> {
    let mut found = sentences.iter().filter(|sentence| concerned(sentence));
    let first = found.next()?;
    Finding::of_sentences(kind, 1 + found.count(), Some(first.text))
}

/// Control characters, replacement characters, and the pairs that UTF-8 gives when read as Latin-1 or Windows-1252.
fn looks_wrongly_decoded(text: &str) -> bool {
    let odd = |c: char| (c.is_control() && !"\t\n\r".contains(c)) || c == '\u{fffd}' || c == '\u{feff}';
    let second_byte = |c: char| ('\u{80}'..='\u{bf}').contains(&c);
    let pairs = text.chars().zip(text.chars().skip(1));
    text.chars().any(odd)
        || text.contains("â€")
        || pairs.into_iter().any(|(first, second)| matches!(first, 'Â' | 'Ã') && second_byte(second))
}
