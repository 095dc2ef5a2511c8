//! `lode units layers`: where in the model a concept's experts are.

use lode_domain::compare::{LayerShare, kind_shares};

use crate::{
    args::{ExpertArgs, Global, SubjectArgs},
    cmd::session::on_index,
    output::{Cell, Report, Table, print},
};

/// Characters of the longest bar.
const BAR: usize = 24;

/// Show how a concept's experts spread over layers and kinds of layers
///
/// As CSV: the layers. As JSON: layers and kinds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode units layers --model gpt2 --concept sense/bank
  lode units layers --model gpt2 --concept sense/bank --min-ap 0.9")]
pub(crate) struct Args {
    #[command(flatten)]
    subject: SubjectArgs,
    #[command(flatten)]
    experts: ExpertArgs,
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let subject = args.subject.resolve()?;
    on_index(global, Some(&args.subject.model), async |client| {
        print(&report(&client.layers(subject, args.experts.resolve()).await?), global.format())
    })
    .await
}

fn report(shares: &[LayerShare]) -> Report {
    let columns = ["layer", "units", "experts", "~histogram", "max_ap", "mean_ap"];
    let mut layers = Table::new("layers", &columns);
    let most = shares.iter().map(|share| share.experts).max().unwrap_or(0);
    for share in shares {
        layers.push(vec![
            share.layer.name.to_string().into(),
            share.layer.units.into(),
            share.experts.into(),
            bar(share.experts, most).into(),
            share.max_ap.into(),
            share.mean_ap.into(),
        ]);
    }
    let kinds = kind_shares(shares);
    let most = kinds.iter().map(|kind| kind.experts).max().unwrap_or(0);
    let mut table = Table::new("kinds", &["kind", "units", "experts", "~histogram", "share_of_experts", "max_ap"]);
    for kind in kinds {
        table.push(vec![
            kind.name.into(),
            kind.units.into(),
            kind.experts.into(),
            bar(kind.experts, most).into(),
            Cell::Share(kind.share),
            kind.max_ap.into(),
        ]);
    }
    Report::of(layers).table(table)
}

fn bar(count: u32, most: u32) -> String {
    let filled = (count as usize * BAR).div_ceil(most.max(1) as usize);
    "█".repeat(filled)
}

#[cfg(test)]
mod tests {
    use lode_domain::unit::{Layer, LayerName};

    use super::*;

    #[test]
    fn kinds_sum_over_blocks() {
        let share = |name: &str, experts| LayerShare {
            layer: Layer { name: LayerName::new(name), units: 4 },
            experts,
            max_ap: experts as f32 / 10.0,
            mean_ap: 0.0,
        };
        let csv = report(&[share("h.0.attn", 1), share("h.0.mlp", 2), share("h.1.attn", 3), share("h.1.mlp", 0)]);
        let kinds = &csv.tables[1].rows;
        assert_eq!(kinds.len(), 2);
        assert_eq!(kinds[0][..3], ["attn".into(), 8u32.into(), 4u32.into()]);
        assert_eq!(kinds[0][4], Cell::Share(4.0 / 6.0));
        assert_eq!((bar(0, 3), bar(3, 3).chars().count(), bar(1, 1000)), (String::new(), BAR, "█".to_owned()));
    }
}
