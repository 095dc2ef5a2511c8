//! A small grammar of slots and clauses: its file format and its expansion into clauses.
//!
//! ```text
//! # comment
//! use: people            another grammar file's slots and clauses, too
//! near: sea weather      topics whose sentences are no good negatives for this one
//! fish = trout | pike    a slot; a line that begins with | continues it
//! - {who} caught a {fish}    a clause, lower case, no full stop
//! ```

use std::collections::{BTreeMap, BTreeSet};

use include_dir::{Dir, include_dir};
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::{DemoError, Result};

static FILES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/grammar");

/// Slots and clauses of one topic, with those of the files it uses.
#[derive(Clone, Debug, Default)]
pub struct Grammar {
    /// Topics whose sentences are no good negatives for this one.
    pub near: Vec<String>,
    /// Templates of clauses: lower case, no full stop, slots in braces.
    pub clauses: Vec<String>,
    name: String,
    slots: BTreeMap<String, Vec<String>>,
}

/// Names of the grammars in a group, in order: the files of its folder.
pub fn names(group: &str) -> Vec<String> {
    let files = FILES.get_dir(group).map(|dir| dir.files().collect::<Vec<_>>()).unwrap_or_default();
    let mut names: Vec<String> =
        files.iter().filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}

/// Words that show no topic although only one has them.
pub fn plain_words() -> BTreeSet<&'static str> {
    let text = FILES.get_file("plain_words.txt").and_then(|file| file.contents_utf8()).unwrap_or_default();
    text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace).collect()
}

impl Grammar {
    /// Reads `grammar/<name>.txt` and what it uses.
    pub fn load(name: &str) -> Result<Self> {
        let mut grammar = Self { name: name.to_owned(), ..Self::default() };
        grammar.read(name)?;
        Ok(grammar)
    }

    fn read(&mut self, name: &str) -> Result<()> {
        let problem = |line: usize, problem: &str| DemoError::Grammar {
            file: name.to_owned(),
            line,
            problem: problem.to_owned(),
        };
        let file = FILES.get_file(format!("{name}.txt")).and_then(|file| file.contents_utf8());
        let mut slot = String::new();
        for (number, line) in file.ok_or_else(|| problem(0, "no such file"))?.lines().enumerate() {
            let line = line.trim();
            if let Some(clause) = line.strip_prefix("- ") {
                self.clauses.push(clause.trim().to_owned());
            } else if let Some(values) = line.strip_prefix('|') {
                self.add_values(&slot, values);
            } else if let Some(used) = line.strip_prefix("use:") {
                used.split_whitespace().try_for_each(|used| self.read(used))?;
            } else if let Some(near) = line.strip_prefix("near:") {
                self.near.extend(near.split_whitespace().map(str::to_owned));
            } else if let Some((name, values)) = line.split_once('=') {
                slot = name.trim().to_owned();
                self.add_values(&slot, values);
            } else if !line.is_empty() && !line.starts_with('#') {
                return Err(problem(number + 1, "neither a slot, a clause nor a directive"));
            }
        }
        Ok(())
    }

    fn add_values(&mut self, slot: &str, values: &str) {
        let values = values.split('|').map(str::trim).filter(|value| !value.is_empty());
        self.slots.entry(slot.to_owned()).or_default().extend(values.map(str::to_owned));
    }

    /// One of a slot's values, its own slots filled.
    pub fn pick(&self, slot: &str, rng: &mut ChaCha8Rng) -> Result<String> {
        let values = self.slots.get(slot).and_then(|values| values.choose(rng));
        let value = values.ok_or_else(|| DemoError::UnknownSlot { topic: self.name.clone(), slot: slot.to_owned() })?;
        self.expand(value, rng)
    }

    /// Fills the slots of `template`.
    pub fn expand(&self, template: &str, rng: &mut ChaCha8Rng) -> Result<String> {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (slot, after) = after.split_once('}').unwrap_or((after, ""));
            text.push_str(before);
            text.push_str(&self.pick(slot, rng)?);
            rest = after;
        }
        text.push_str(rest);
        Ok(text)
    }
}

/// Makes a clause a sentence: `a` becomes `an` before a vowel, the first letter a capital, a full stop at the end.
pub fn sentence(clause: &str) -> String {
    let words: Vec<&str> = clause.split_whitespace().collect();
    let mut text = String::with_capacity(clause.len() + 2);
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        let article = *word == "a" && words.get(index + 1).is_some_and(|next| begins_with_vowel(next));
        text.push_str(if article { "an" } else { word });
    }
    let mut letters = text.chars();
    let first: String = letters.next().map(|letter| letter.to_uppercase().collect()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

fn begins_with_vowel(word: &str) -> bool {
    let by_letter = word.starts_with(['a', 'e', 'i', 'o', 'u']);
    let by_sound = ["hour", "honest", "heir"].iter().any(|silent| word.starts_with(silent));
    let not_by_sound = ["uni", "use", "usual", "one", "eu"].iter().any(|glide| word.starts_with(glide));
    (by_letter && !not_by_sound) || by_sound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_becomes_a_sentence() {
        let check = |clause: &str, expected: &str| assert_eq!(sentence(clause), expected);
        check("we saw a old owl", "We saw an old owl.");
        check("a hour and a uniform", "An hour and a uniform.");
        check("a user met a engineer", "A user met an engineer.");
    }
}
