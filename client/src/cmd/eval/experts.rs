//! What a report shows of concepts' experts: how AP is distributed, where the experts are, and who shares them.

use anyhow::bail;
use futures::StreamExt as _;
use lode_client::Client;
use lode_domain::{
    compare::{Experts as Chosen, LayerShare},
    concept::ConceptId,
    expertise::{Column, Recipe},
    id::ModelName,
    query::{ConceptRef, TopQuery, UnitRow},
};
use lode_eval::page::{Heat, Histogram, Page};

/// Experts that are named for each concept.
const NAMED: u32 = 10;
/// From so many concepts on no expert is named: the list would be longer than the rest.
const MOST_NAMED: usize = 16;

/// One concept.
struct Concept {
    id: ConceptId,
    /// `[unit]`.
    ap: Vec<f32>,
    layers: Vec<LayerShare>,
    best: Vec<UnitRow>,
}

/// Some concepts of a model.
pub(crate) struct Experts {
    concepts: Vec<Concept>,
    /// How many count as experts.
    top: u32,
    /// Jaccard index and correlation, `[concept, concept]`; nothing with itself.
    overlap: Vec<Vec<Option<(f64, f64)>>>,
}

impl Experts {
    /// Asks the index.
    pub(crate) async fn ask(
        client: &Client,
        model: &ModelName,
        (concepts, recipe): (&[ConceptId], Recipe),
        top: u32,
    ) -> anyhow::Result<Self> {
        let of = |concept: &ConceptId| ConceptRef { model: model.clone(), concept: concept.clone(), recipe };
        let chosen = Chosen::Top(top);
        let mut found = Vec::new();
        for concept in concepts {
            let mut export = client.export(of(concept)).await?;
            let mut ap = Vec::new();
            while let Some(block) = export.blocks.next().await {
                ap.extend_from_slice(block?.column(Column::Ap));
            }
            if ap.is_empty() {
                bail!("{concept} has no units in the index");
            }
            let layers = client.layers(of(concept), chosen).await?;
            let query = TopQuery { top: NAMED.min(top), ..TopQuery::default() };
            let best = client.top(of(concept), query).await?.rows;
            found.push(Concept { id: concept.clone(), ap, layers, best });
        }
        let mut overlap = vec![vec![None; concepts.len()]; concepts.len()];
        for (row, first) in concepts.iter().enumerate() {
            for (column, second) in concepts.iter().enumerate().skip(row + 1) {
                let answer = client.overlap(of(first), second.clone(), chosen).await?;
                overlap[row][column] = Some((answer.jaccard, answer.correlation));
                overlap[column][row] = overlap[row][column];
            }
        }
        Ok(Self { concepts: found, top, overlap })
    }

    /// The concepts, each with its highest AP and the number of its experts in each layer.
    pub(crate) fn layer_rows(&self) -> impl Iterator<Item = (&ConceptId, &LayerShare)> {
        self.concepts.iter().flat_map(|concept| concept.layers.iter().map(|layer| (&concept.id, layer)))
    }

    /// Pairs of concepts with Jaccard index and correlation, each pair once.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&ConceptId, &ConceptId, f64, f64)> {
        let ids = || self.concepts.iter().map(|concept| &concept.id).enumerate();
        ids().flat_map(move |(row, first)| {
            ids().skip(row + 1).filter_map(move |(column, second)| {
                self.overlap[row][column].map(|(jaccard, correlation)| (first, second, jaccard, correlation))
            })
        })
    }
}

/// Adds the sections to a page.
pub(crate) fn add_to(page: &mut Page, experts: &Experts) {
    let top = experts.top;
    page.section("How well units tell the concepts apart").text(&format!(
        "Units of the model by average precision (AP): how well a unit's response to a sentence says whether the concept is in \
         it. Heights are logarithmic. The {top} units with the highest AP count as experts below."
    ));
    let histograms: Vec<_> = experts
        .concepts
        .iter()
        .map(|concept| {
            let best = concept.ap.iter().copied().fold(0.0, f32::max);
            let title = format!("{}: best {best:.3}", concept.id);
            Histogram::new(&title, "AP", concept.ap.iter().copied()).figure()
        })
        .collect();
    page.figures(&histograms);
    page.section("Where the experts are")
        .text(&format!("The {top} experts of each concept by block and kind of layer: numbers of units."));
    let maps: Vec<_> = experts.concepts.iter().map(|concept| by_block(concept).figure()).collect();
    page.figures(&maps);
    if experts.concepts.len() <= MOST_NAMED {
        let rows: Vec<Vec<String>> = experts.concepts.iter().flat_map(best_rows).collect();
        page.part("The best").table(&["concept", "unit", "AP", "mean with", "mean without"], &rows);
    }
    if experts.concepts.len() > 1 {
        let names: Vec<String> = experts.concepts.iter().map(|concept| concept.id.to_string()).collect();
        let rows = |of: fn(&(f64, f64)) -> f64| -> Vec<(String, Vec<Option<f64>>)> {
            let row = |(name, row): (&String, &Vec<Option<(f64, f64)>>)| {
                (name.clone(), row.iter().map(|pair| pair.as_ref().map(of)).collect())
            };
            names.iter().zip(&experts.overlap).map(row).collect()
        };
        let heat = |title: &str, of| {
            Heat { title: title.to_owned(), columns: names.clone(), rows: rows(of), digits: 2 }.figure()
        };
        page.section("Who shares experts").figures(&[
            heat("Jaccard index of the experts", |pair| pair.0),
            heat("Correlation of AP over all units", |pair| pair.1),
        ]);
    }
}

fn best_rows(concept: &Concept) -> Vec<Vec<String>> {
    let row = |row: &UnitRow| {
        let expertise = row.expertise;
        let number = |value: f32| format!("{value:.4}").replace('-', "−");
        vec![
            concept.id.to_string(),
            row.name.to_string(),
            number(expertise.ap),
            number(expertise.on_mean),
            number(expertise.off_mean),
        ]
    };
    concept.best.iter().take(3).map(row).collect()
}

/// Experts by block and kind of layer.
fn by_block(concept: &Concept) -> Heat {
    let mut columns: Vec<String> = Vec::new();
    let mut rows: Vec<(String, Vec<Option<f64>>)> = Vec::new();
    for share in &concept.layers {
        let name = &share.layer.name;
        let block = name.block().map_or_else(String::new, |block| format!("block {block}"));
        let kind = name.kind().to_owned();
        let column = columns.iter().position(|known| *known == kind).unwrap_or_else(|| {
            columns.push(kind);
            columns.len() - 1
        });
        let row = rows.iter().position(|(known, _)| *known == block).unwrap_or_else(|| {
            rows.push((block, Vec::new()));
            rows.len() - 1
        });
        let values = &mut rows[row].1;
        values.resize(values.len().max(column + 1), None);
        values[column] = Some(share.experts.into());
    }
    rows.iter_mut().for_each(|(_, values)| values.resize(columns.len(), None));
    Heat { title: concept.id.to_string(), columns, rows, digits: 0 }
}

#[cfg(test)]
mod tests {
    use lode_domain::unit::{Layer, LayerName};

    use super::*;

    #[test]
    fn a_map_has_a_row_a_block_and_a_column_a_kind() {
        let share = |name: &str, experts| LayerShare {
            layer: Layer { name: LayerName::new(name), units: 4 },
            experts,
            max_ap: 0.5,
            mean_ap: 0.0,
        };
        let layers = vec![share("h.0.attn", 1), share("h.0.mlp", 2), share("h.1.mlp", 3)];
        let heat = by_block(&Concept { id: "a/b".parse().unwrap(), ap: Vec::new(), layers, best: Vec::new() });
        assert_eq!(heat.columns, ["attn", "mlp"]);
        let rows = [("block 0".to_owned(), vec![Some(1.0), Some(2.0)]), ("block 1".to_owned(), vec![None, Some(3.0)])];
        assert_eq!(heat.rows, rows);
    }
}
