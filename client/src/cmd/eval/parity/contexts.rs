//! Contexts after which a pronoun may follow: templates times occupations, or lines.

use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::cmd::eval::settings::lines;

/// Where the occupation stands in a template.
const GAP: &str = "{}";

/// The bundled ones, written for this project: 18 templates, 60 occupations.
const BUNDLED: &str = include_str!("contexts.json");

/// A text that a person was named in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) text: String,
    /// What the person is; empty for a line of the user's.
    pub(super) occupation: String,
}

/// Templates and what stands in their gap.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Product {
    templates: Vec<String>,
    occupations: Vec<String>,
}

/// The contexts of a file, or the bundled ones: of `.json` every template with every occupation, of other files every line.
pub(super) fn contexts(path: Option<&Path>) -> anyhow::Result<Vec<Context>> {
    let Some(path) = path else { return product(BUNDLED) };
    let contexts = if path.extension().is_some_and(|extension| extension == "json") {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        product(&text).with_context(|| path.display().to_string())?
    } else {
        lines(path)?.into_iter().map(|text| Context { text, occupation: String::new() }).collect()
    };
    let mut texts: Vec<&str> = contexts.iter().map(|context| context.text.as_str()).collect();
    texts.sort_unstable();
    if let Some(twice) = texts.windows(2).find(|pair| pair[0] == pair[1]) {
        bail!("{} has the context `{}` twice", path.display(), twice[0]);
    }
    Ok(contexts)
}

fn product(text: &str) -> anyhow::Result<Vec<Context>> {
    let Product { templates, occupations } = serde_json::from_str(text).with_context(
        || r#"contexts look like {"templates": ["The {} said that"], "occupations": ["nurse", "warrior"]}"#,
    )?;
    if let Some(template) = templates.iter().find(|template| template.matches(GAP).count() != 1) {
        bail!("template `{template}` must have {GAP} once, where the occupation stands");
    }
    if templates.is_empty() || occupations.is_empty() {
        bail!("there are {} templates and {} occupations: give one of each", templates.len(), occupations.len());
    }
    let with = |template: &String, occupation: &String| Context {
        text: template.replace(GAP, occupation),
        occupation: occupation.clone(),
    };
    Ok(templates.iter().flat_map(|template| occupations.iter().map(move |one| with(template, one))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, text: &str) -> Result<usize, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        contexts(Some(&path)).map(|contexts| contexts.len()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_bundled_ones_are_many_and_differ() {
        let bundled = contexts(None).unwrap();
        assert!(bundled.len() >= 17 * 60, "{}", bundled.len());
        let mut texts: Vec<_> = bundled.iter().map(|context| &context.text).collect();
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), bundled.len());
        let nurse = Context { text: "The nurse said that".into(), occupation: "nurse".into() };
        assert_eq!(bundled[0], nurse);
    }

    #[test]
    fn users_give_theirs() {
        assert_eq!(check("c.json", r#"{"templates": ["A {} if", "The {}"], "occupations": ["x", "y", "z"]}"#), Ok(6));
        assert_eq!(check("c.txt", "The nurse said that\n\nThe warrior said that\n"), Ok(2));
        for (name, text, said) in [
            ("c.json", "[]", "look like"),
            ("c.json", r#"{"templates": ["The"], "occupations": ["x"]}"#, "`The` must have {} once"),
            ("c.json", r#"{"templates": [], "occupations": ["x"]}"#, "0 templates"),
            ("c.json", r#"{"templates": ["The {}"], "occupations": ["x"], "more": 1}"#, "more"),
            ("c.txt", "The x\nThe x\n", "twice"),
            ("c.txt", "\n", "no line"),
        ] {
            let refused = check(name, text).unwrap_err();
            assert!(refused.contains(said), "{text}: {refused}");
        }
    }
}
