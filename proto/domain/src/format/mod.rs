//! The forms in which concept sets come: reference JSON, a list of such files, labelled pools.
//!
//! Parsers take text and a name for messages; reading files is the caller's.

mod list;
mod pool;
mod reference;

use crate::{concept::ConceptId, id::BadId};

pub use list::parse_concept_list;
pub use pool::parse_pool;
pub use reference::parse_reference;

/// What is wrong with a concept file. Lines and columns count from 1.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FormatError {
    /// Not JSON, or not of the expected shape.
    #[error("{file}:{line}:{column}: {reason}; expected {expected}")]
    Json {
        /// The file, as the caller names it.
        file: String,
        /// Line of the file.
        line: usize,
        /// Column in the line, in bytes.
        column: usize,
        /// The parser's reason.
        reason: String,
        /// The shape that would be right.
        expected: &'static str,
    },
    /// A row that is not CSV, or has another number of columns than the header.
    #[error("{file}:{line}: {reason}")]
    Csv {
        /// The file, as the caller names it.
        file: String,
        /// Line of the file.
        line: u64,
        /// The parser's reason.
        reason: String,
    },
    /// A concept list without one of its two columns.
    #[error("{file}:1: no column `{column}`: the first line must name the columns `group` and `concept`")]
    NoColumn {
        /// The file, as the caller names it.
        file: String,
        /// The column.
        column: &'static str,
    },
    /// A group or name that cannot be a concept's id.
    #[error(
        "{file}:{line}: {reason}: group and name need 1 to 200 bytes without slashes and control characters, \
         and neither may be `.` or `..`"
    )]
    BadId {
        /// The file, as the caller names it.
        file: String,
        /// Line of the file.
        line: u64,
        /// What is wrong.
        reason: BadId,
    },
    /// A concept that is listed twice.
    #[error("{file}:{line}: concept `{concept}` stands already in line {first}: remove one")]
    Repeated {
        /// The file, as the caller names it.
        file: String,
        /// Line of the second mention.
        line: u64,
        /// The concept.
        concept: ConceptId,
        /// Line of the first mention.
        first: u64,
    },
    /// A concept without sentences in one of its classes.
    #[error("{file}: concept `{concept}` has no {class} sentences: {hint}")]
    EmptyClass {
        /// The file, as the caller names it.
        file: String,
        /// The concept.
        concept: ConceptId,
        /// `positive` or `negative`.
        class: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A list or pool that names no concept.
    #[error("{file}: no concept is named: {hint}")]
    NoConcepts {
        /// The file, as the caller names it.
        file: String,
        /// What to do.
        hint: &'static str,
    },
}

/// Some editors put a byte order mark before the text; no parser here expects one.
fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The reason of a JSON error without the place, which is told apart.
fn json_reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rfind(" at line ") {
        Some(end) if error.line() > 0 => message[..end].to_owned(),
        _ => message,
    }
}
