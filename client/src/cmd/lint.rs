//! `lode lint`: what is wrong with a concept set. Needs no cluster.

use std::{cell::RefCell, path::PathBuf};

use lode_client::concepts;
use lode_domain::{
    id::ModelName,
    lint::{FindingKind, SentenceLength, Severity},
    pooling::{SELFCOND_LEN, Tokens},
    selection::Selection,
};
use lode_worker::{ModelError, Text, hub};

use super::findings::{Linted, lint_all};
use crate::{
    args::{Compat, Global},
    output::{Report, Table, print},
};

/// Say what is wrong with a concept set, before paying for it
///
/// Reads every sentence of every concept. With --model, the model's tokenizer measures them (its weights are not
/// loaded), so that sentences too long for it are found as well. Fails if a concept cannot be mined.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode lint concepts/
  lode lint concepts/ --model gpt2=./gpt2 --strict
  lode lint pool.jsonl --format json")]
pub(crate) struct Args {
    /// Concept files (.json), labelled pools (.jsonl) or folders of concepts.
    #[arg(required = true, value_name = "CONCEPTS")]
    concepts: Vec<PathBuf>,
    /// Measure lengths with this model's tokenizer: a folder or hub id, with or without a name.
    #[arg(long, value_name = "[NAME=]PATH_OR_HUB_ID")]
    model: Option<String>,
    /// Measure as this program does; selfcond: at most 128 tokens.
    #[arg(long, value_enum, value_name = "PROGRAM", requires = "model")]
    compat: Option<Compat>,
    /// Fail on empty, too long and repeated sentences and on sentences in both classes too.
    #[arg(long)]
    strict: bool,
    /// Look only at the sentences that `mine` would draw under this limit [default: all].
    #[arg(long, value_name = "N")]
    limit_per_class: Option<u32>,
    /// Seed of that draw.
    #[arg(long, value_name = "S", default_value_t = Selection::default().seed)]
    seed: u64,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let selection = Selection { limit_per_class: args.limit_per_class.unwrap_or(u32::MAX), seed: args.seed };
    let concepts = concepts::read(&args.concepts, &selection)?;
    let linted = match &args.model {
        None => lint_all(concepts, None),
        Some(model) => measured(model, args.compat, concepts)?,
    };
    print(&report(&linted), global.format())?;
    let refused = linted.iter().filter(|one| !one.refusals(args.strict).is_empty()).count();
    if refused > 0 {
        anyhow::bail!(
            "{refused} of {} concepts cannot be mined{}",
            linted.len(),
            if args.strict { " under --strict" } else { "" }
        );
    }
    Ok(())
}

/// Lints with a model's tokenizer.
fn measured(model: &str, compat: Option<Compat>, concepts: Vec<concepts::FromFile>) -> anyhow::Result<Vec<Linted>> {
    let source = match model.split_once('=') {
        Some((name, source)) if name.parse::<ModelName>().is_ok() => source,
        _ => model,
    };
    let folder = hub::resolve_text(source, std::io::IsTerminal::is_terminal(&std::io::stderr()))?;
    let text = Text::load(&folder)?;
    let limit = match compat {
        None => text.context_len(),
        Some(Compat::Selfcond) => {
            text.check(Tokens::Selfcond)?;
            SELFCOND_LEN
        }
    };
    // A measure cannot fail, so the first failure is kept aside.
    let failed: RefCell<Option<ModelError>> = RefCell::new(None);
    let measure = |sentence: &str| {
        let (own, special) = match text.encode(sentence) {
            Ok(encoded) => {
                let own = encoded.own.iter().filter(|own| **own).count();
                (own, encoded.own.len() - own)
            }
            Err(error) => {
                failed.borrow_mut().get_or_insert(error);
                (1, 0)
            }
        };
        SentenceLength { tokens: own as u32, limit: limit.saturating_sub(special) as u32 }
    };
    let linted = lint_all(concepts, Some(&measure));
    match failed.into_inner() {
        Some(error) => Err(error.into()),
        None => Ok(linted),
    }
}

fn report(linted: &[Linted]) -> Report {
    let mut table =
        Table::new("findings", &["concept", "severity", "kind", "count", "example", "~advice", "=advice", "=file"])
            .if_empty("nothing found");
    let mut counts = [0usize; 3];
    let mut advised: Vec<FindingKind> = Vec::new();
    for one in linted {
        for finding in &one.findings {
            counts[finding.severity() as usize] += 1;
            // People read a kind's advice once.
            let first = !advised.contains(&finding.kind);
            if first {
                advised.push(finding.kind);
            }
            table.push(vec![
                one.from.concept.id.to_string().into(),
                finding.severity().to_string().into(),
                finding.kind.to_string().into(),
                finding.count.into(),
                finding.example.clone().into(),
                if first { finding.advice() } else { String::new() }.into(),
                finding.advice().into(),
                one.from.file.display().to_string().into(),
            ]);
        }
    }
    let sentences: usize =
        linted.iter().map(|one| one.from.concept.positive.len() + one.from.concept.negative.len()).sum();
    let count = |severity: Severity| counts[severity as usize];
    Report::of(table).remark(format!(
        "{} concepts, {sentences} sentences: {} errors, {} warnings, {} notes",
        linted.len(),
        count(Severity::Error),
        count(Severity::Warning),
        count(Severity::Note)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lode_client::concepts::FromFile;
    use lode_domain::concept::Concept;

    #[test]
    fn findings_are_counted_by_severity() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let (positive, negative) = (texts(&["a b", "a b"]), texts(&["", " "]));
        let concept = Concept { id: "g/x".parse().unwrap(), positive, negative };
        let linted = lint_all(vec![FromFile { concept, file: "x.json".into() }], None);
        let report = report(&linted);
        assert!(report.remark.starts_with("1 concepts, 4 sentences: 1 errors"), "{}", report.remark);
        let csv = report.csv().unwrap();
        assert!(csv.starts_with("concept,severity,kind,count,example,advice,file\n"), "{csv}");
        assert!(csv.contains("g/x,error,nothing-left,") && csv.contains("g/x,warning,duplicate,1,"), "{csv}");
        assert_eq!((linted[0].refusals(false).len(), linted[0].refusals(true).len()), (1, 3));
    }
}
