//! Presence of a concept by a list of words and their inflections.

use std::{collections::BTreeSet, ops::Range};

/// Words shorter than this are taken as they stand: rules for long words make `shed` of `she`.
const INFLECTED_FROM: usize = 4;

/// The words that show a concept, in all their regular English forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordList {
    /// Every form, lower case, word by word: a phrase has several.
    forms: BTreeSet<Vec<String>>,
    /// Words of the longest phrase.
    longest: usize,
}

/// A list that shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the list has no word")]
pub struct NoWords;

impl WordList {
    /// Of words and phrases; of a phrase the last word is inflected.
    ///
    /// # Errors
    /// If there is no word among them.
    pub fn new<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, NoWords> {
        let mut forms = BTreeSet::new();
        for entry in entries {
            let words: Vec<String> = words(entry.as_ref()).map(|(_, word)| word).collect();
            let Some((last, before)) = words.split_last() else { continue };
            for form in inflections(last) {
                forms.insert(before.iter().cloned().chain([form]).collect());
            }
        }
        let longest = forms.iter().map(Vec::len).max().ok_or(NoWords)?;
        Ok(Self { forms, longest })
    }

    /// Every word and phrase in every form, lower case, in order.
    pub fn forms(&self) -> impl Iterator<Item = String> + '_ {
        self.forms.iter().map(|words| words.join(" "))
    }

    /// Whether one of the words is in `text`.
    pub fn shows_in(&self, text: &str) -> bool {
        !self.places(text).is_empty()
    }

    /// Where the words are in `text`, in bytes, ascending and apart; of phrases that begin at one place the longest.
    pub fn places(&self, text: &str) -> Vec<Range<usize>> {
        let words: Vec<(Range<usize>, String)> = words(text).collect();
        let mut found = Vec::new();
        let mut at = 0;
        while at < words.len() {
            let most = self.longest.min(words.len() - at);
            let fits = |len: &usize| {
                let phrase: Vec<String> = words[at..at + len].iter().map(|(_, word)| word.clone()).collect();
                self.forms.contains(&phrase)
            };
            match (1..=most).rev().find(fits) {
                Some(len) => {
                    found.push(words[at].0.start..words[at + len - 1].0.end);
                    at += len;
                }
                None => at += 1,
            }
        }
        found
    }
}

/// Runs of letters, lower case, and where they stand: `It's` is `it` and `s`.
fn words(text: &str) -> impl Iterator<Item = (Range<usize>, String)> + '_ {
    let mut at = 0;
    text.split_inclusive(|c: char| !c.is_alphabetic()).filter_map(move |piece| {
        let start = at;
        at += piece.len();
        let word = piece.trim_end_matches(|c: char| !c.is_alphabetic());
        (!word.is_empty()).then(|| (start..start + word.len(), word.to_lowercase()))
    })
}

/// A word, its plural or third person, its past and its participle, by the regular rules of English spelling.
///
/// The rules do not know what is a noun and what a verb, so they also make forms that are no words; those stand in no text.
fn inflections(word: &str) -> Vec<String> {
    let letters: Vec<char> = word.chars().collect();
    let mut forms = vec![word.to_owned()];
    let [.., before, last] = letters[..] else { return forms };
    if letters.len() < INFLECTED_FROM {
        return forms;
    }
    let is_vowel = |c: char| "aeiou".contains(c);
    let cut: String = letters[..letters.len() - 1].iter().collect();
    let ends = |ending: &str| word.ends_with(ending);
    if last == 'y' && !is_vowel(before) {
        forms.extend([format!("{cut}ies"), format!("{cut}ied"), format!("{word}ing")]);
    } else if last == 'e' {
        let stem = if ends("ee") { word } else { &cut };
        forms.extend([format!("{word}s"), format!("{word}d"), format!("{stem}ing")]);
    } else if ["s", "x", "z", "ch", "sh"].iter().any(|ending| ends(ending)) {
        forms.extend([format!("{word}es"), format!("{word}ed"), format!("{word}ing")]);
    } else {
        forms.extend([format!("{word}s"), format!("{word}ed"), format!("{word}ing")]);
    }
    // plan, planned, planning
    let doubles = !is_vowel(last) && !"wxy".contains(last) && is_vowel(before);
    let is_short = letters.len().checked_sub(3).is_some_and(|third| !is_vowel(letters[third]));
    if doubles && is_short {
        forms.extend([format!("{word}{last}ed"), format!("{word}{last}ing")]);
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(words: &[&str]) -> WordList {
        WordList::new(words).unwrap()
    }

    #[test]
    fn regular_forms_count_and_others_do_not() {
        let cases = [
            ("goal", "Two GOALS.", true),
            ("goal", "a goalkeeper", false),
            ("party", "the parties partied", true),
            ("bake", "baking bread", true),
            ("watch", "she watches", true),
            ("plan", "they planned it", true),
            ("agree", "agreeing with us", true),
            ("church", "the church's bell", true),
            ("she", "in the shed", false),
            ("she", "She left.", true),
        ];
        for (word, text, shows) in cases {
            assert_eq!(list(&[word]).shows_in(text), shows, "{word} in {text}");
        }
    }

    #[test]
    fn phrases_are_found_whole_and_places_are_bytes() {
        let list = list(&["yellow card", "card", "Über"]);
        let text = "über yellow cards, a card; yellow";
        let marked: Vec<&str> = list.places(text).into_iter().map(|place| &text[place]).collect();
        assert_eq!(marked, ["über", "yellow cards", "card"]);
    }

    #[test]
    fn forms_are_listed() {
        let forms: Vec<String> = list(&["yellow card", "she"]).forms().collect();
        assert_eq!(forms, ["she", "yellow card", "yellow carded", "yellow carding", "yellow cards"]);
    }

    #[test]
    fn a_list_without_words_is_refused() {
        assert_eq!(WordList::new(["", " 12 "]), Err(NoWords));
    }
}
