//! What the demo runs on: the bundled model and concepts, written by `lode-demo` and part of this binary.

use std::{collections::BTreeSet, path::Path};

use anyhow::Context as _;
use include_dir::{Dir, include_dir};
use lode_domain::{
    concept::{Concept, ConceptId},
    format::parse_reference,
};
use serde::Deserialize;

static ASSETS: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/demo/assets");

/// A bundled concept, and the words that show it in a text.
pub(in crate::cmd) struct Bundled {
    pub(in crate::cmd) concept: Concept,
    words: BTreeSet<String>,
}

impl Bundled {
    /// Those words.
    pub(in crate::cmd) fn words(&self) -> Vec<String> {
        self.words.iter().cloned().collect()
    }

    /// Whether one of the concept's own words is in `text`.
    pub(in crate::cmd) fn shows_in(&self, text: &str) -> bool {
        let words = text.split(|c: char| !c.is_alphabetic());
        words.into_iter().any(|word| self.words.contains(&word.to_lowercase()))
    }
}

/// Writes the model into `folder`.
pub(in crate::cmd) fn unpack_model(folder: &Path) -> anyhow::Result<()> {
    let model = ASSETS.get_dir("model").context("this build has no bundled model")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for file in model.files() {
        let name = file.path().file_name().context("a bundled file has no name")?;
        let path = folder.join(name);
        std::fs::write(&path, file.contents()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// All bundled concepts, by id.
pub(in crate::cmd) fn concepts() -> anyhow::Result<Vec<Bundled>> {
    /// The field that the bundled files have beyond the reference's.
    #[derive(Deserialize)]
    struct Words {
        words: BTreeSet<String>,
    }
    let files = ASSETS.find("concepts/*/*.json").context("this build has no bundled concepts")?;
    let mut found = Vec::new();
    for file in files.filter_map(|entry| entry.as_file()) {
        let source = file.path().display().to_string();
        let text = file.contents_utf8().with_context(|| format!("{source} is not UTF-8"))?;
        let Words { words } = serde_json::from_str(text).with_context(|| source.clone())?;
        found.push(Bundled { concept: parse_reference(&source, text)?, words });
    }
    found.sort_by(|a, b| a.concept.id.cmp(&b.concept.id));
    Ok(found)
}

/// One of `concepts`.
pub(in crate::cmd) fn find<'b>(concepts: &'b [Bundled], id: &ConceptId) -> anyhow::Result<&'b Bundled> {
    concepts.iter().find(|bundled| bundled.concept.id == *id).with_context(|| {
        let known: Vec<String> = concepts.iter().map(|bundled| bundled.concept.id.to_string()).collect();
        format!("`{id}` is not a bundled concept; those are {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_is_whole() {
        let concepts = concepts().unwrap();
        assert!(concepts.len() >= 24, "{}", concepts.len());
        for bundled in &concepts {
            let Concept { id, positive, negative } = &bundled.concept;
            assert!(positive.len() >= 200 && negative.len() >= 200, "{id}");
            let share = |texts: &[String]| {
                texts.iter().filter(|text| bundled.shows_in(text)).count() as f64 / texts.len() as f64
            };
            // The words must tell the classes apart, or the demo's table would mean nothing.
            assert!(share(positive) > 0.85 && share(negative) < 0.05, "{id}");
        }
        let folder = tempfile::tempdir().unwrap();
        unpack_model(folder.path()).unwrap();
        assert!(folder.path().join("model.safetensors").exists());
        assert!(find(&concepts, &"no/such".parse().unwrap()).is_err());
    }
}
