//! `lode export`: a concept's whole expertise as a file.

use std::path::{Path, PathBuf};

use futures::TryStreamExt as _;
use lode_client::{Client, Export};

use super::session::on_index;
use crate::{
    args::{Global, SubjectArgs},
    export::{Expertise, csv, json, parquet},
    output::{Format, note, thousands},
};

/// Write the expertise of all units in a concept to a file
///
/// The csv has the reference's columns (ap, off_mean, on_p50, on_p90, layer, unit, uuid, concept, group) and on_mean;
/// layers carry its suffix `:0`, rows run over layer names sorted as strings, uuid is the row number. Parquet has the
/// same rows, JSON has them behind a header. Equal runs give equal bytes. The file appears when it is complete.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode export --model gpt2 --concept sense/bank --format csv --out expertise.csv
  lode export --model gpt2 --concept sense/bank --format parquet --out expertise.parquet
  lode export --model gpt2 --concept sense/bank | head")]
pub(crate) struct Args {
    #[command(flatten)]
    subject: SubjectArgs,
    /// The file; `-` is stdout. (--format csv, parquet or json says its form.)
    #[arg(long, value_name = "F", default_value = "-")]
    out: PathBuf,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let format = match global.format.unwrap_or(Format::Csv) {
        Format::Table => anyhow::bail!("an export has no table: use csv, parquet or json (`lode units top` has one)"),
        format => format,
    };
    let subject = args.subject.resolve()?;
    on_index(global, Some(&args.subject.model), async move |client: Client| {
        let Export { header, blocks } = client.export(subject).await?;
        let expertise = Expertise::new(header, blocks.try_collect().await?)?;
        write(&expertise, format, &args.out)
    })
    .await
}

fn write(expertise: &Expertise, format: Format, out: &Path) -> anyhow::Result<()> {
    if out == Path::new("-") {
        return render(expertise, format, std::io::stdout());
    }
    crate::export::whole_file(out, |file| render(expertise, format, file))?;
    note(format_args!("wrote {} units to {}", thousands(expertise.len() as u64), out.display()));
    Ok(())
}

fn render(expertise: &Expertise, format: Format, to: impl std::io::Write + Send) -> anyhow::Result<()> {
    match format {
        Format::Json => json::write(expertise, to),
        Format::Parquet => parquet::write(expertise, to),
        _ => csv::write(expertise, to),
    }
}
