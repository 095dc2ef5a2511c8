//! The reference's form: one concept, one JSON file.

use serde::Deserialize;

use super::{FormatError, json_reason, without_mark};
use crate::concept::{Concept, ConceptId};

const EXPECTED: &str =
    r#"{"concept": "football", "group": "sense", "sentences": {"positive": ["…"], "negative": ["…"]}}"#;

#[derive(Deserialize)]
struct File {
    concept: String,
    group: String,
    sentences: Sentences,
}

#[derive(Deserialize)]
struct Sentences {
    positive: Vec<String>,
    negative: Vec<String>,
}

/// Reads `{"concept", "group", "sentences": {"positive": [], "negative": []}}`; other fields are ignored.
///
/// Sentences come out as they stand in the file: order, copies, empty ones and all. `source` names the file in errors.
///
/// # Errors
/// If the text is not such JSON, group or name cannot be an id, or a class has no sentence.
pub fn parse_reference(source: &str, text: &str) -> Result<Concept, FormatError> {
    let file: File = serde_json::from_str(without_mark(text)).map_err(|error| FormatError::Json {
        file: source.to_owned(),
        line: error.line(),
        column: error.column(),
        reason: json_reason(&error),
        expected: EXPECTED,
    })?;
    let id = ConceptId::new(file.group, file.concept).map_err(|reason| FormatError::BadId {
        file: source.to_owned(),
        line: line_of_key(text, "concept"),
        reason,
    })?;
    let Sentences { positive, negative } = file.sentences;
    for (class, sentences) in [("positive", &positive), ("negative", &negative)] {
        if sentences.is_empty() {
            let hint = "AP compares the two classes, so both need sentences (50 or more each, better hundreds)";
            return Err(FormatError::EmptyClass { file: source.to_owned(), concept: id, class, hint });
        }
    }
    Ok(Concept { id, positive, negative })
}

/// The line in which a top-level key most likely stands: good enough to look at, and 1 if it is nowhere.
fn line_of_key(text: &str, key: &str) -> u64 {
    let quoted = format!("\"{key}\"");
    (1..).zip(text.lines()).find(|(_, line)| line.contains(&quoted)).map_or(1, |(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse_reference("sense/bass.json", text).unwrap_err().to_string()
    }

    #[test]
    fn a_concept_comes_out_as_it_stands() {
        let text = r#"{"concept": "bass", "source": "ours", "group": "sense",
            "sentences": {"negative": ["b", ""], "positive": ["ä", "a", "a"], "dropped": 3}}"#;
        let concept = parse_reference("bass.json", text).unwrap();
        assert_eq!(concept.id.to_string(), "sense/bass");
        assert_eq!(
            (concept.positive, concept.negative),
            (vec!["ä".into(), "a".into(), "a".into()], vec!["b".into(), String::new()])
        );
        assert!(parse_reference("bass.json", &format!("\u{feff}{text}")).is_ok());
    }

    #[test]
    fn malformed_json_names_file_line_column_and_shape() {
        let message = error("{\"concept\": \"bass\",\n \"group\": sense}");
        assert!(message.starts_with("sense/bass.json:2:11: expected value; expected {\"concept\""), "{message}");
        let message = error("");
        assert!(message.starts_with("sense/bass.json:1:0: EOF while parsing a value;"), "{message}");
    }

    #[test]
    fn wrong_shapes_are_told() {
        let cases = [
            (r#"{"concept": "bass", "sentences": {"positive": ["a"], "negative": ["b"]}}"#, "missing field `group`"),
            (r#"{"concept": "bass", "group": "sense", "sentences": {"positive": ["a"]}}"#, "missing field `negative`"),
            (
                r#"{"concept": "bass", "group": "sense", "sentences": {"positive": "a", "negative": []}}"#,
                "expected a sequence",
            ),
            (
                r#"{"concept": "bass", "group": "sense", "sentences": {"positive": [1], "negative": []}}"#,
                "expected a string",
            ),
            (r#"{"concept": "bass", "group": 3, "sentences": {"positive": [], "negative": []}}"#, "expected a string"),
            ("[]", "invalid length 0"),
        ];
        for (text, reason) in cases {
            let message = error(text);
            assert!(message.starts_with("sense/bass.json:1:") && message.contains(reason), "{message}");
        }
    }

    #[test]
    fn a_class_without_sentences_is_told() {
        let message =
            error(r#"{"concept": "bass", "group": "sense", "sentences": {"positive": [], "negative": ["b"]}}"#);
        assert!(message.starts_with("sense/bass.json: concept `sense/bass` has no positive sentences"), "{message}");
        let message =
            error(r#"{"concept": "bass", "group": "sense", "sentences": {"positive": ["a"], "negative": []}}"#);
        assert!(message.contains("has no negative sentences"), "{message}");
    }

    #[test]
    fn names_that_cannot_be_ids_are_told() {
        let message = error(
            "{\"group\": \"sense\",\n\"concept\": \"../bass\", \"sentences\": {\"positive\": [\"a\"], \"negative\": [\"b\"]}}",
        );
        assert!(message.starts_with("sense/bass.json:2: `sense/../bass` is not a concept"), "{message}");
    }
}
