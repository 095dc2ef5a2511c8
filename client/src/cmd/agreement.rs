//! How far criteria agree on who the experts of a concept are, and what is left of AP on sentences that chose nobody.

use anyhow::Context as _;
use futures::StreamExt as _;
use lode_client::Client;
use lode_domain::{
    concept::ConceptId,
    criterion::Criterion,
    expertise::{Column, ExpertiseBlock},
    intervention::Rank,
    query::{ConceptRef, ExportHeader},
    ranking::ranked,
    unit::UnitId,
};
use lode_eval::{page::Page, stats::spearman};

use crate::output::Table;

/// Two criteria on one concept.
struct Pair {
    concept: ConceptId,
    first: Criterion,
    second: Criterion,
    /// Spearman's rank correlation over all units; none where one of them tells no two units apart.
    rank_correlation: Option<f64>,
    /// Units among the first k by both.
    shared: usize,
}

/// A concept's experts on sentences that were held out.
struct HeldOut {
    concept: ConceptId,
    mean_ap: f64,
    mean_held_out_ap: f64,
}

/// What the concepts of a report were mined with beside AP.
pub(super) struct Agreement {
    top: u32,
    pairs: Vec<Pair>,
    held_out: Vec<HeldOut>,
}

impl Agreement {
    /// Asks the index; `top` units by a criterion are its experts.
    pub(super) async fn ask(client: &Client, concepts: &[ConceptRef], top: u32) -> anyhow::Result<Self> {
        let (mut pairs, mut held_out) = (Vec::new(), Vec::new());
        for of in concepts {
            let export = client.export(of.clone()).await?;
            if export.header.concept.header.measures.is_plain() {
                continue;
            }
            let (header, mut blocks) = (export.header, export.blocks);
            let mut whole: Option<ExpertiseBlock> = None;
            while let Some(block) = blocks.next().await {
                let block = block?;
                match &mut whole {
                    Some(whole) => whole.append(&block),
                    None => whole = Some(block),
                }
            }
            let whole = whole.with_context(|| format!("{} has no units in the index", of.concept))?;
            pairs.extend(pairs_of(&header, &whole, top)?);
            held_out.extend(held_out_of(&header, &whole, top)?);
        }
        Ok(Self { top, pairs, held_out })
    }

    /// The tables for programs.
    pub(super) fn tables(&self) -> [Table; 2] {
        let columns = ["concept", "first", "second", "rank_correlation", "top", "shared"];
        let mut agreement = Table::new("agreement", &columns).if_empty("the concepts were mined with AP alone");
        for pair in &self.pairs {
            agreement.push(vec![
                pair.concept.to_string().into(),
                pair.first.to_string().into(),
                pair.second.to_string().into(),
                pair.rank_correlation.into(),
                self.top.into(),
                pair.shared.into(),
            ]);
        }
        let columns = ["concept", "top", "mean_ap", "mean_held_out_ap"];
        let mut held_out = Table::new("held_out", &columns).if_empty("nothing was held out");
        for one in &self.held_out {
            let concept = one.concept.to_string();
            held_out.push(vec![concept.into(), self.top.into(), one.mean_ap.into(), one.mean_held_out_ap.into()]);
        }
        [agreement, held_out]
    }

    /// The sections of a page; none where there is nothing to say.
    pub(super) fn add_to(&self, page: &mut Page) {
        let number = |value: f64| format!("{value:.3}").replace('-', "−");
        let top = self.top;
        if !self.pairs.is_empty() {
            let row = |pair: &Pair| {
                vec![
                    pair.concept.to_string(),
                    format!("{} and {}", pair.first, pair.second),
                    pair.rank_correlation.map_or_else(String::new, number),
                    format!("{} of {top}", pair.shared),
                ]
            };
            let rows: Vec<Vec<String>> = self.pairs.iter().map(row).collect();
            page.section("Whether criteria agree").text(&format!(
                "Spearman's rank correlation of two criteria over all units, and how many units are among the first {top} by both. \
                 l1 gives most units no weight: they tie."
            ));
            page.table(&["concept", "criteria", "rank correlation", "shared experts"], &rows);
        }
        if !self.held_out.is_empty() {
            let row = |one: &HeldOut| vec![one.concept.to_string(), number(one.mean_ap), number(one.mean_held_out_ap)];
            let rows: Vec<Vec<String>> = self.held_out.iter().map(row).collect();
            page.section("What is left on sentences that chose nobody").text(&format!(
                "The mean AP of the first {top} units on the sentences that they were ranked by, and on those that were held out. \
                 The best of many units look better than they are where they were chosen."
            ));
            page.table(&["concept", "AP", "held-out AP"], &rows);
        }
    }
}

fn pairs_of(header: &ExportHeader, whole: &ExpertiseBlock, top: u32) -> anyhow::Result<Vec<Pair>> {
    let indexed = &header.concept;
    let mut scored = Vec::new();
    for criterion in indexed.header.measures.criteria.iter() {
        let scores: Vec<f32> = match criterion.column() {
            Some(column) => whole.column(column).to_vec(),
            None => {
                let fit = indexed.header.details.l1.as_ref();
                (0..whole.len() as u32).map(|unit| fit.map_or(0.0, |fit| fit.weight(UnitId(unit)))).collect()
            }
        };
        let mut first = ranked(&scores, top, Rank::Top, 0)?;
        first.sort_unstable();
        scored.push((criterion, scores, first));
    }
    let pairs = (0..scored.len()).flat_map(|first| (first + 1..scored.len()).map(move |second| (first, second)));
    let pair = |(first, second): (usize, usize)| {
        let ((first, a, best), (second, b, others)) = (&scored[first], &scored[second]);
        let both: Vec<(f64, f64)> = a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b))).collect();
        Pair {
            concept: indexed.concept.clone(),
            first: *first,
            second: *second,
            rank_correlation: spearman(&both),
            shared: best.iter().filter(|unit| others.binary_search(unit).is_ok()).count(),
        }
    };
    Ok(pairs.map(pair).collect())
}

fn held_out_of(header: &ExportHeader, whole: &ExpertiseBlock, top: u32) -> anyhow::Result<Option<HeldOut>> {
    let (ap, held_out) = (whole.column(Column::Ap), whole.column(Column::HeldOutAp));
    if held_out.is_empty() {
        return Ok(None);
    }
    let best = ranked(ap, top, Rank::Top, 0)?;
    let mean = |values: &[f32]| best.iter().map(|unit| f64::from(values[unit.index()])).sum::<f64>() / f64::from(top);
    Ok(Some(HeldOut { concept: header.concept.concept.clone(), mean_ap: mean(ap), mean_held_out_ap: mean(held_out) }))
}
