//! What commands say on stdout: a report, given once, as tables for people or as JSON or CSV for programs.
//!
//! Data goes to stdout, everything else to stderr (`note`), so that pipes stay clean.

mod report;
mod table;

use std::io::{self, Write as _};

use clap::ValueEnum;

pub(crate) use report::{Cell, Report, Table};
pub(crate) use table::thousands;

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// All that is known, field names stable.
    Json,
    /// The main table.
    Csv,
    /// Exports only.
    Parquet,
}

/// Writes a report to stdout.
pub(crate) fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    let text = match format {
        Format::Table => table::render(report),
        Format::Json => report.json()?,
        Format::Csv => report.csv()?,
        Format::Parquet => anyhow::bail!("parquet is a format of `lode export` only: use table, json or csv"),
    };
    write(&text)
}

/// Writes text to stdout as it is, at once.
pub(crate) fn write(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// Says a line on stderr, above whatever progress bars are there.
pub(crate) fn note(line: impl std::fmt::Display) {
    // A closed stderr is nobody's error.
    crate::progress::bars().suspend(|| writeln!(io::stderr(), "{line}").ok());
}

/// Whether an error is only that nobody reads our output any more.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(broken)
}
