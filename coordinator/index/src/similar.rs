//! Which concept was meant.

use lode_domain::concept::ConceptId;

/// At most three of `concepts` whose names are near `wanted`, the nearest first.
pub(crate) fn nearest(wanted: &ConceptId, concepts: Vec<ConceptId>) -> Vec<ConceptId> {
    let text = wanted.to_string();
    let mut scored: Vec<(usize, ConceptId)> = concepts
        .into_iter()
        .filter_map(|concept| {
            // The right name in the wrong group is as near as one wrong letter.
            let distance = if concept.name() == wanted.name() {
                1
            } else {
                strsim::damerau_levenshtein(&text, &concept.to_string())
            };
            (distance <= 2.max(text.chars().count() / 3)).then_some((distance, concept))
        })
        .collect();
    scored.sort();
    scored.into_iter().take(3).map(|(_, concept)| concept).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_and_misplaced_names_are_found() {
        let concepts = || ["sense/football", "sense/bank", "topic/banking"].map(|id| id.parse().unwrap()).to_vec();
        let names = |wanted: &str| {
            nearest(&wanted.parse().unwrap(), concepts()).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names("sense/fotball"), ["sense/football"]);
        assert_eq!(names("topic/bank"), ["sense/bank", "topic/banking"]);
        assert!(names("colour/red").is_empty());
    }
}
