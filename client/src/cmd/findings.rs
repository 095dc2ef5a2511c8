//! What `lode lint` and `lode mine` say about concept sets.

use lode_client::concepts::FromFile;
use lode_domain::lint::{Finding, Measure, Severity, lint};

/// A concept with what was found in it.
pub(super) struct Linted {
    pub(super) from: FromFile,
    pub(super) findings: Vec<Finding>,
}

/// Lints every concept.
pub(super) fn lint_all(concepts: Vec<FromFile>, measure: Option<&Measure<'_>>) -> Vec<Linted> {
    concepts.into_iter().map(|from| Linted { findings: lint(&from.concept, measure), from }).collect()
}

impl Linted {
    /// Findings that forbid mining.
    pub(super) fn refusals(&self, strict: bool) -> Vec<&Finding> {
        let forbids =
            |finding: &&Finding| finding.severity() == Severity::Error || (strict && finding.kind.is_strict());
        self.findings.iter().filter(forbids).collect()
    }
}

/// One line for every finding that forbids mining, with its file.
pub(super) fn refusals(linted: &[Linted], strict: bool) -> Vec<String> {
    let lines = linted.iter().flat_map(|one| {
        one.refusals(strict).into_iter().map(|finding| {
            let (file, id) = (one.from.file.display(), &one.from.concept.id);
            format!("{file}: concept `{id}`: {}: {} ({})", finding.kind, finding.advice(), finding.example)
        })
    });
    lines.collect()
}
