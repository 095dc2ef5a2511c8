//! `concept_list.csv`: which concepts of a folder are mined.

use rustc_hash::FxHashMap;

use super::{FormatError, without_mark};
use crate::concept::ConceptId;

/// Reads a list with the columns `group` and `concept`, found by the header's names; other columns are ignored.
///
/// Concepts come out in the file's order; the file of each is `group/concept.json` beside the list. `source` names the
/// list in errors.
///
/// # Errors
/// If the text is not CSV, lacks a column, names an impossible id, names a concept twice, or names none.
pub fn parse_concept_list(source: &str, text: &str) -> Result<Vec<ConceptId>, FormatError> {
    let text = without_mark(text);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
    let bad_row = |error: csv::Error| FormatError::Csv {
        file: source.to_owned(),
        line: line_of(text, error.position()),
        reason: csv_reason(&error),
    };
    let header = reader.headers().map_err(bad_row)?.clone();
    let column = |name: &'static str| {
        let place = header.iter().position(|field| field == name);
        place.ok_or_else(|| FormatError::NoColumn { file: source.to_owned(), column: name })
    };
    let (group, name) = (column("group")?, column("concept")?);

    let mut concepts = Vec::new();
    let mut first_line: FxHashMap<ConceptId, u64> = FxHashMap::default();
    for row in reader.records() {
        let row = row.map_err(bad_row)?;
        let line = line_of(text, row.position());
        let concept = ConceptId::new(&row[group], &row[name]).map_err(|reason| FormatError::BadId {
            file: source.to_owned(),
            line,
            reason,
        })?;
        if let Some(first) = first_line.insert(concept.clone(), line) {
            return Err(FormatError::Repeated { file: source.to_owned(), line, concept, first });
        }
        concepts.push(concept);
    }
    if concepts.is_empty() {
        let hint = "write one `group,concept` a line below the header";
        return Err(FormatError::NoConcepts { file: source.to_owned(), hint });
    }
    Ok(concepts)
}

/// The line in which a row begins: the crate takes a row's position before the line ends that it skips.
fn line_of(text: &str, position: Option<&csv::Position>) -> u64 {
    let Some(position) = position else { return 1 };
    let rest = text.as_bytes().iter().skip(position.byte() as usize);
    let skipped = rest.take_while(|byte| matches!(byte, b'\n' | b'\r')).filter(|&&byte| byte == b'\n').count();
    position.line() + skipped as u64
}

/// The crate's own messages repeat the place in its own words.
fn csv_reason(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("a row of {len} under a header of {expected_len} columns: quote names that hold commas")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        parse_concept_list("concept_list.csv", text).unwrap().iter().map(ToString::to_string).collect()
    }

    fn error(text: &str) -> String {
        parse_concept_list("concept_list.csv", text).unwrap_err().to_string()
    }

    #[test]
    fn columns_are_found_by_name() {
        assert_eq!(names("group,concept\nsense,bass\nsense,bank\n"), ["sense/bass", "sense/bank"]);
        assert_eq!(
            names("\u{feff}concept , note, group\r\nbass,\"a, b\", sense\r\n\r\nbank,,sense"),
            ["sense/bass", "sense/bank"]
        );
        assert_eq!(names("group,concept\nsense,\"bass, the fish\"\n"), ["sense/bass, the fish"]);
    }

    #[test]
    fn errors_name_the_line() {
        let cases = [
            ("group,concept\nsense,bass\nsense,bank,\n", "concept_list.csv:3: a row of 3 under a header of 2"),
            ("group,concept\nsense\n", "concept_list.csv:2: a row of 1 under a header of 2"),
            ("group,concept\nsense,bass\n\nsense,a/b\n", "concept_list.csv:4: `sense/a/b` is not a concept"),
            ("group,concept\r\nsense,bass\r\n\r\nsense\r\n", "concept_list.csv:4: a row of 1"),
            ("group,concept\nsense,\n", "concept_list.csv:2: `sense/` is not a concept"),
            (
                "group,concept\nsense,bass\nsense,bank\nsense,bass\n",
                "concept_list.csv:4: concept `sense/bass` stands already in line 2",
            ),
            ("group,name\nsense,bass\n", "concept_list.csv:1: no column `concept`"),
            ("", "concept_list.csv:1: no column `group`"),
            ("group,concept\n", "concept_list.csv: no concept is named"),
        ];
        for (text, start) in cases {
            assert!(error(text).starts_with(start), "{}", error(text));
        }
    }
}
