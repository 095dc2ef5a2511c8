//! The words that show a concept: from a file, the bundled ones, or the concept's own name.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context as _, bail};
use lode_domain::{concept::ConceptId, format::parse_concept_list};
use lode_eval::words::WordList;
use serde::Deserialize;

use crate::{cmd::demo::bundle, output::note};

/// A concept's words, and where they are from.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub(super) list: WordList,
    /// As given, without inflections.
    pub(super) entries: Vec<String>,
}

/// A concept file, as far as its words go.
#[derive(Deserialize)]
struct File {
    concept: String,
    group: String,
    words: Option<Vec<String>>,
}

/// The words of each of `concepts`, from `paths` where they have them.
pub(super) fn words(concepts: &[ConceptId], paths: &[std::path::PathBuf]) -> anyhow::Result<Vec<Words>> {
    let mut given: BTreeMap<ConceptId, Vec<String>> = BTreeMap::new();
    for path in paths {
        read(path, &mut given)?;
    }
    let bundled = bundle::concepts()?;
    let of = |concept: &ConceptId| {
        let own = || bundled.iter().find(|one| one.concept.id == *concept).map(bundle::Bundled::words);
        let entries = given.get(concept).cloned().or_else(own).unwrap_or_else(|| {
            let name = concept.name().replace(['-', '_'], " ");
            note(format_args!("{concept} has no word list (--words FILE): its name, `{name}`, is looked for"));
            vec![name]
        });
        let list = WordList::new(&entries).with_context(|| format!("the word list of {concept}"))?;
        Ok(Words { list, entries })
    };
    concepts.iter().map(of).collect()
}

/// A concept file, or a folder of them with its list.
fn read(path: &Path, given: &mut BTreeMap<ConceptId, Vec<String>>) -> anyhow::Result<()> {
    if path.is_dir() {
        let list = path.join("concept_list.csv");
        let text = std::fs::read_to_string(&list).with_context(|| format!("cannot read {}", list.display()))?;
        for id in parse_concept_list(&list.display().to_string(), &text)? {
            read(&path.join(id.group()).join(format!("{}.json", id.name())), given)?;
        }
        return Ok(());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let expected = r#"{"concept": "football", "group": "topic", "words": ["goal", "penalty"]}"#;
    let file: File = serde_json::from_str(&text)
        .with_context(|| format!("{}: not a word list, which looks like {expected}", path.display()))?;
    let id = ConceptId::new(file.group, file.concept).with_context(|| path.display().to_string())?;
    let Some(words) = file.words else {
        bail!("{}: it has no `words`; a word list looks like {expected}", path.display());
    };
    given.insert(id, words);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Vec<Words>, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, text).unwrap();
        words(&["a/b".parse().unwrap()], &[path]).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_file_comes_before_the_bundle_and_the_name() {
        let found = check(r#"{"concept": "b", "group": "a", "words": ["goal"]}"#).unwrap();
        assert_eq!(found[0].entries, ["goal"]);
        let bundled = words(&["topic/football".parse().unwrap()], &[]).unwrap();
        assert!(bundled[0].entries.len() > 5);
        let named = words(&["x/yellow-card".parse().unwrap()], &[]).unwrap();
        assert!(named[0].list.shows_in("Two yellow cards."));
    }

    #[test]
    fn what_is_no_word_list_is_refused() {
        assert!(check("[]").unwrap_err().contains("looks like"));
        assert!(check(r#"{"concept": "b", "group": "a"}"#).unwrap_err().contains("no `words`"));
        let empty = check(r#"{"concept": "b", "group": "a", "words": []}"#).unwrap_err();
        assert!(empty.contains("a/b") && empty.contains("no word"), "{empty}");
        let missing = words(&[], &["/nowhere/x.json".into()]).unwrap_err();
        assert!(missing.to_string().contains("/nowhere/x.json"));
    }
}
