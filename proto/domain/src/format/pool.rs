//! Labelled pools: one sentence a line, with the concepts that it contains.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;
use serde::Deserialize;

use super::{FormatError, json_reason, without_mark};
use crate::{
    concept::{Concept, ConceptId},
    selection::Selection,
};

const EXPECTED: &str = r#"{"text": "…", "concepts": ["intent/alarm", …]} in each line"#;

#[derive(Deserialize)]
struct Line {
    text: String,
    concepts: Vec<String>,
}

/// Reads a pool in JSONL: `{"text": "…", "concepts": ["intent/alarm", …]}` a line; blank lines are skipped, other
/// fields ignored.
///
/// Every concept that is named comes out, in id order: its positives are the texts of the lines that name it, its
/// negatives those of the other lines, both as `selection` keeps them. Naming a concept twice in a line is naming it
/// once. A text on two lines, of which one names the concept, is in both classes. `source` names the file in errors.
///
/// # Errors
/// If a line is not such JSON or names an impossible id, if no line names a concept, or all lines name the same one.
pub fn parse_pool(source: &str, text: &str, selection: &Selection) -> Result<Vec<Concept>, FormatError> {
    let mut texts: Vec<String> = Vec::new();
    let mut named: BTreeMap<ConceptId, Vec<usize>> = BTreeMap::new();
    for (number, line) in (1..).zip(without_mark(text).lines()) {
        if line.trim().is_empty() {
            continue;
        }
        let (text, concepts) = parse_line(source, number, line)?;
        for concept in concepts {
            let lines = named.entry(concept).or_default();
            if lines.last() != Some(&texts.len()) {
                lines.push(texts.len());
            }
        }
        texts.push(text);
    }
    if named.is_empty() {
        let hint = r#"give the lines that contain a concept its name: {"text": "…", "concepts": ["group/name"]}"#;
        return Err(FormatError::NoConcepts { file: source.to_owned(), hint });
    }

    // The draw's order is the same for every concept, so the pool is sorted once and each class read off its front.
    let mut draw: Vec<usize> = (0..texts.len()).collect();
    draw.sort_by_cached_key(|&line| (selection.place(&texts[line]), &texts[line]));
    let limit = selection.limit_per_class as usize;
    let keep = |wanted: &dyn Fn(usize) -> bool| {
        let mut kept: Vec<String> =
            draw.iter().copied().filter(|&line| wanted(line)).take(limit).map(|line| texts[line].clone()).collect();
        kept.sort_unstable();
        kept
    };

    let mut concepts = Vec::with_capacity(named.len());
    for (id, lines) in named {
        if lines.len() == texts.len() {
            let hint = "every line names it; add lines that do not";
            return Err(FormatError::EmptyClass { file: source.to_owned(), concept: id, class: "negative", hint });
        }
        let lines: FxHashSet<usize> = lines.into_iter().collect();
        let positive = keep(&|line| lines.contains(&line));
        let negative = keep(&|line| !lines.contains(&line));
        concepts.push(Concept { id, positive, negative });
    }
    Ok(concepts)
}

fn parse_line(source: &str, number: u64, line: &str) -> Result<(String, Vec<ConceptId>), FormatError> {
    let Line { text, concepts } = serde_json::from_str(line).map_err(|error| FormatError::Json {
        file: source.to_owned(),
        line: number as usize,
        column: error.column(),
        reason: json_reason(&error),
        expected: EXPECTED,
    })?;
    let ids = concepts.iter().map(|concept| concept.parse()).collect::<Result<_, _>>();
    let ids = ids.map_err(|reason| FormatError::BadId { file: source.to_owned(), line: number, reason })?;
    Ok((text, ids))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> String {
        parse_pool("pool.jsonl", text, &Selection::default()).unwrap_err().to_string()
    }

    #[test]
    fn every_named_concept_is_mined_against_the_other_lines() {
        let text = concat!(
            r#"{"text": "wake me at six", "concepts": ["intent/alarm", "domain/time", "intent/alarm"], "split": "train"}"#,
            "\n\n",
            r#"{"text": "what time is it", "concepts": ["domain/time"]}"#,
            "\n",
            r#"{"text": "play a song", "concepts": []}"#
        );
        let concepts = parse_pool("pool.jsonl", text, &Selection::default()).unwrap();
        let rows: Vec<_> =
            concepts.iter().map(|c| (c.id.to_string(), c.positive.join("|"), c.negative.join("|"))).collect();
        let row = |id: &str, positive: &str, negative: &str| (id.to_owned(), positive.to_owned(), negative.to_owned());
        assert_eq!(
            rows,
            [
                row("domain/time", "wake me at six|what time is it", "play a song"),
                row("intent/alarm", "wake me at six", "play a song|what time is it"),
            ]
        );
    }

    #[test]
    fn errors_name_the_line() {
        let good = r#"{"text": "a", "concepts": ["intent/alarm"]}"#;
        let cases = [
            (
                format!("{good}\n\n{{\"text\": 3}}"),
                "pool.jsonl:3:10: invalid type: integer `3`, expected a string; expected {\"text\"",
            ),
            (format!("{good}\n{{\"text\": \"b\"}}"), "pool.jsonl:2:13: missing field `concepts`"),
            (format!("{good}\n{good}}}"), "pool.jsonl:2:44: trailing characters"),
            (
                r#"{"text": "a", "concepts": ["alarm"]}"#.to_owned(),
                "pool.jsonl:1: `alarm` is not a concept (GROUP/NAME",
            ),
            (good.to_owned(), "pool.jsonl: concept `intent/alarm` has no negative sentences: every line names it"),
            (r#"{"text": "a", "concepts": []}"#.to_owned(), "pool.jsonl: no concept is named"),
            (String::new(), "pool.jsonl: no concept is named"),
        ];
        for (text, start) in cases {
            assert!(error(&text).starts_with(start), "{}", error(&text));
        }
    }

    proptest! {
        /// Reading a pool is reading it whole and then selecting, and no order of lines changes it.
        #[test]
        fn a_pool_is_selected_as_any_concept_is(
            lines in prop::collection::vec(("[a-c]{0,2}", prop::collection::vec("g/[xyz]", 0..3)), 1..30).prop_shuffle(),
            limit_per_class in 1u32..20,
        ) {
            let render = |lines: &[(String, Vec<String>)]| {
                let line = |(text, concepts): &(String, Vec<String>)| {
                    serde_json::json!({"text": text, "concepts": concepts}).to_string()
                };
                lines.iter().map(line).collect::<Vec<_>>().join("\n")
            };
            let everything = Selection { limit_per_class: u32::MAX, seed: 5 };
            let selection = Selection { limit_per_class, seed: 5 };
            let whole = parse_pool("pool", &render(&lines), &everything);
            let selected = parse_pool("pool", &render(&lines), &selection);
            let expected = whole.map(|concepts| concepts.iter().map(|c| selection.apply(c)).collect::<Vec<_>>());
            prop_assert_eq!(&selected, &expected);
            let mut reversed = lines;
            reversed.reverse();
            prop_assert_eq!(parse_pool("pool", &render(&reversed), &selection), selected);
        }
    }
}
