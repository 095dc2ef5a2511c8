//! One finding: its kind, how often, and an example.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::words::words;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The concept cannot be mined.
    Error,
    /// The result is probably not what was meant.
    Warning,
    /// Worth knowing when reading the result.
    Note,
}

words!(Severity, "error, warning, note", Error = "error", Warning = "warning", Note = "note");

/// What a finding is about. The words travel and are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// A sentence without a token, which is dropped; counts sentences.
    Empty,
    /// A sentence longer than the model takes, which is dropped; counts sentences.
    TooLong,
    /// A sentence that stands again in its class, where it counts as often; counts the extra copies.
    Duplicate,
    /// A sentence that is a positive and a negative; counts distinct texts.
    BothClasses,
    /// A class without a sentence once the empty and the too long are dropped; counts what is left of both.
    NothingLeft,
    /// A class of fewer than 50 sentences; counts the smaller class.
    TooFew,
    /// Length alone tells the classes apart; counts the pairs in a hundred that it ranks right.
    LengthConfound,
    /// Texts that differ in case, spaces and punctuation only; counts those beyond the first of each form.
    NearDuplicate,
    /// Signs of a wrong decoding: control and replacement characters, UTF-8 read as Latin-1; counts sentences.
    Encoding,
    /// One class is ten times the other or more; counts how many times, rounded down.
    Imbalance,
    /// One word, sign or capital alone tells the classes apart; counts the sentences that have it.
    Telltale,
    /// Outer white space or a line break, which change the tokens; counts sentences.
    Whitespace,
}

words!(
    FindingKind,
    "empty, too-long, duplicate, both-classes, nothing-left, too-few, length-confound, near-duplicate, encoding, \
     imbalance, telltale, whitespace",
    Empty = "empty",
    TooLong = "too-long",
    Duplicate = "duplicate",
    BothClasses = "both-classes",
    NothingLeft = "nothing-left",
    TooFew = "too-few",
    LengthConfound = "length-confound",
    NearDuplicate = "near-duplicate",
    Encoding = "encoding",
    Imbalance = "imbalance",
    Telltale = "telltale",
    Whitespace = "whitespace"
);

impl FindingKind {
    /// All kinds, in the order in which they are told.
    pub const ALL: [Self; 12] = [
        Self::Empty,
        Self::TooLong,
        Self::Duplicate,
        Self::BothClasses,
        Self::NothingLeft,
        Self::TooFew,
        Self::LengthConfound,
        Self::NearDuplicate,
        Self::Encoding,
        Self::Imbalance,
        Self::Telltale,
        Self::Whitespace,
    ];

    /// The four that change what is mined: they are reported with every job, kept in the index, and errors under
    /// `--strict`.
    pub const STRICT: [Self; 4] = [Self::Empty, Self::TooLong, Self::Duplicate, Self::BothClasses];

    /// Whether the kind is one of [`Self::STRICT`].
    pub fn is_strict(self) -> bool {
        Self::STRICT.contains(&self)
    }

    /// How much it matters when nobody asked for `--strict`.
    pub fn severity(self) -> Severity {
        match self {
            Self::NothingLeft => Severity::Error,
            Self::NearDuplicate | Self::Imbalance | Self::Telltale | Self::Whitespace => Severity::Note,
            _ => Severity::Warning,
        }
    }
}

/// Something about one concept that its owner would want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// How often; each kind says of what.
    pub count: u32,
    /// The first case, shortened and without control characters; or, for what is no sentence, the figures.
    pub example: String,
}

impl Finding {
    /// A finding with a sentence as its example, or none when there is nothing to count.
    pub fn of_sentences(kind: FindingKind, count: usize, example: Option<&str>) -> Option<Self> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        example.filter(|_| count > 0).map(|text| Self { kind, count, example: shorten(text) })
    }

    /// See [`FindingKind::severity`].
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }

    /// What is wrong and what to do, without the example.
    pub fn advice(&self) -> String {
        let n = self.count;
        match self.kind {
            FindingKind::Empty => format!("sentences without a token: {n}; they are dropped, so remove them"),
            FindingKind::TooLong => {
                format!("sentences longer than the model takes: {n}; they are dropped, so shorten or split them")
            }
            FindingKind::Duplicate => {
                format!("extra copies within a class: {n}; each copy counts, so remove them unless that is meant")
            }
            FindingKind::BothClasses => {
                format!("sentences in both classes: {n}; no unit can rank them, so remove them from one")
            }
            FindingKind::NothingLeft => {
                "a class has no sentence left once empty and too long ones are dropped: add sentences".to_owned()
            }
            FindingKind::TooFew => {
                format!(
                    "the smaller class has {n} sentences: with fewer than 50 many units score high by chance, so add some"
                )
            }
            FindingKind::LengthConfound => format!(
                "length alone ranks {n} of 100 pairs right: units that follow length will look like experts, so match \
                 the lengths of the classes"
            ),
            FindingKind::NearDuplicate => {
                format!("texts that differ from another in case, spaces or punctuation only: {n}; keep one of each")
            }
            FindingKind::Encoding => {
                format!("sentences that look wrongly decoded: {n}; read the source as UTF-8 and write them again")
            }
            FindingKind::Imbalance => {
                format!("one class is {n} times the other: an AP close to the share of positives is chance level")
            }
            FindingKind::Telltale => format!(
                "one feature alone tells the classes apart, in {n} sentences: experts may follow it and not the \
                 concept, so let both classes have it"
            ),
            FindingKind::Whitespace => {
                format!("sentences with outer white space or line breaks: {n}; these change the tokens, so trim them")
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (severity, kind, advice) = (self.severity(), self.kind, self.advice());
        write!(f, "{severity}: {kind}: {advice} ({})", self.example)
    }
}

/// At most 60 characters of a text in quotes, control characters spelled out.
pub(super) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short = String::from("\"");
    for (place, character) in text.chars().enumerate() {
        if place == LONGEST {
            short.push('…');
            break;
        }
        if character.is_control() {
            short.extend(character.escape_default());
        } else {
            short.push(character);
        }
    }
    short.push('"');
    short
}
