//! What an evaluation leaves behind: a page, tables for programs, and how they came about.

use std::path::Path;

use anyhow::Context as _;
use lode_domain::record::ModelRecord;
use lode_eval::page::Page;

use crate::output::{Report, note};

/// The files of an evaluation.
pub(crate) struct Outcome<'a> {
    /// `sweep`: the files' name.
    pub(crate) name: &'static str,
    /// What programs read; its first table is the CSV.
    pub(crate) report: &'a Report,
    /// What people read.
    pub(crate) page: &'a Page,
}

impl Outcome<'_> {
    /// Writes `NAME.html`, `NAME.json` and `NAME.csv` into `folder`.
    pub(crate) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let files = [("html", self.page.html()), ("json", self.report.json()?), ("csv", self.report.csv()?)];
        for (extension, text) in files {
            let path = folder.join(format!("{}.{extension}", self.name));
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let name = self.name;
        note(format_args!("wrote {name}.html, {name}.json and {name}.csv in {}", folder.display()));
        Ok(())
    }
}

/// What every page says about how it came about.
pub(super) fn provenance(model: &ModelRecord, more: Vec<(&str, String)>) -> Vec<(String, String)> {
    let own = [
        ("command", command_line(std::env::args())),
        ("version", format!("lode {}", env!("CARGO_PKG_VERSION"))),
        ("model", format!("{} ({}, {} units)", model.name, model.family, model.units())),
        ("model hash", model.hash.to_string()),
    ];
    own.into_iter().chain(more).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A command as it can be typed again; a token is not shown.
pub(crate) fn command_line(args: impl IntoIterator<Item = String>) -> String {
    let mut words = Vec::new();
    let mut is_token = false;
    for (place, word) in args.into_iter().enumerate() {
        let word = match word.split_once('=') {
            _ if place == 0 => "lode".to_owned(),
            _ if is_token => "…".to_owned(),
            Some(("--token", _)) => "--token=…".to_owned(),
            _ => word,
        };
        is_token = word == "--token";
        words.push(quoted(&word));
    }
    words.join(" ")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_=./:,@%+…".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_typed_again_and_tells_no_token() {
        let line = |words: &[&str]| command_line(words.iter().map(|word| (*word).to_owned()));
        assert_eq!(line(&["/x/lode", "eval", "--prompt", "it's I"]), r"lode eval --prompt 'it'\''s I'");
        assert_eq!(line(&["lode", "--token", "secret", "eval"]), "lode --token … eval");
        assert_eq!(line(&["lode", "--token=secret", ""]), "lode --token=… ''");
    }
}
