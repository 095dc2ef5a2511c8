//! The sentences that a concept was mined from: what judges and other methods learn from.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use lode_client::concepts;
use lode_domain::{
    concept::{Concept, ConceptId},
    selection::Selection,
};

use crate::cmd::demo::bundle;

/// The sentences of each of `named`: from `paths` where they are there, else the bundled ones; at most a thousand of each class, as
/// mining draws them.
pub(super) fn sentences(named: &[ConceptId], paths: &[PathBuf]) -> anyhow::Result<Vec<Option<Concept>>> {
    let selection = Selection::default();
    let given = concepts::read(paths, &selection).context("--sentences")?;
    let bundled = bundle::concepts()?;
    let of = |id: &ConceptId| {
        let own = given.iter().find(|one| one.concept.id == *id).map(|one| one.concept.clone());
        own.or_else(|| bundled.iter().find(|one| one.concept.id == *id).map(|one| selection.apply(&one.concept)))
    };
    Ok(named.iter().map(of).collect())
}

/// All of them, for what cannot do without: `FUDGE and steering learn`.
pub(super) fn needed(
    (learner, named): (&str, &[ConceptId]),
    found: &[Option<Concept>],
) -> anyhow::Result<Vec<Concept>> {
    let one = |(id, found): (&ConceptId, &Option<Concept>)| match found {
        Some(concept) => Ok(concept.clone()),
        None => bail!("{learner} from the sentences of {id}: give its file with --sentences FILE"),
    };
    named.iter().zip(found).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_before_the_bundle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("football.json");
        let text =
            r#"{"concept": "football", "group": "topic", "sentences": {"positive": ["a goal"], "negative": ["b"]}}"#;
        std::fs::write(&path, text).unwrap();
        let ids: Vec<ConceptId> = ["topic/football", "topic/sea", "x/y"].map(|id| id.parse().unwrap()).to_vec();
        let found = sentences(&ids, &[path]).unwrap();
        assert_eq!(found[0].as_ref().unwrap().positive, ["a goal"]);
        assert!(found[1].as_ref().unwrap().positive.len() > 100 && found[2].is_none());
        let refused = needed(("steering learns", &ids), &found).unwrap_err().to_string();
        assert!(refused.contains("x/y") && refused.contains("--sentences"), "{refused}");
        assert!(format!("{:#}", sentences(&ids, &["/nowhere/a.json".into()]).unwrap_err()).contains("/nowhere/a.json"));
    }
}
