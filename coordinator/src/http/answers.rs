//! Answers of the index as JSON: field names and numbers of `lode --format json`.
//!
//! They are written from these types and not through `serde_json::Value`, which would widen an `f32` and show digits that it never had.

use lode_domain::{
    cluster::ModelStatus,
    compare::{KindShare, LayerShare, kind_shares},
    concept::ConceptId,
    criterion::Criteria,
    lint::Finding,
    query::{IndexedConcept, Neighbour, OverlapAnswer, UnitInConcept, UnitRow},
};
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Model {
    model: String,
    family: String,
    layers: usize,
    units: u32,
    context_len: u32,
    concepts: u32,
    workers: u32,
    hash: String,
}

impl From<ModelStatus> for Model {
    fn from(status: ModelStatus) -> Self {
        let model = status.model;
        Self {
            layers: model.layers.len(),
            units: model.units(),
            context_len: model.context_len,
            concepts: status.concepts,
            workers: status.workers,
            hash: model.hash.to_string(),
            model: model.name.into(),
            family: model.family,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Concept {
    concept: String,
    pooling: String,
    tokens: String,
    positives: u32,
    negatives: u32,
    held_out_positives: u32,
    held_out_negatives: u32,
    limit_per_class: u32,
    seed: u64,
    dtype: String,
    units: u32,
    criteria: Criteria,
    findings: Vec<Finding>,
}

impl From<IndexedConcept> for Concept {
    fn from(indexed: IndexedConcept) -> Self {
        let header = indexed.header;
        Self {
            concept: indexed.concept.to_string(),
            pooling: indexed.recipe.pooling.to_string(),
            tokens: indexed.recipe.tokens.to_string(),
            positives: header.positives,
            negatives: header.negatives,
            held_out_positives: header.held_out.0,
            held_out_negatives: header.held_out.1,
            limit_per_class: header.limit_per_class,
            seed: header.seed,
            dtype: header.precision,
            units: header.units,
            criteria: header.measures.criteria,
            findings: header.findings,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Unit {
    /// Of a unit that is shown in all concepts: which one this is.
    #[serde(skip_serializing_if = "Option::is_none")]
    concept: Option<String>,
    unit: String,
    ap: f32,
    on_mean: f32,
    on_p50: f32,
    on_p90: f32,
    off_mean: f32,
    /// Of a concept that was mined with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    auroc: Option<f32>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    cohens_d: Option<f32>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_out_ap: Option<f32>,
    /// Likewise, of leading units.
    #[serde(skip_serializing_if = "Option::is_none")]
    ap_low: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ap_high: Option<f32>,
    /// Likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    l1: Option<f32>,
    layer: String,
    index: u32,
    number: u32,
}

impl From<UnitRow> for Unit {
    fn from(row: UnitRow) -> Self {
        let expertise = row.expertise;
        let (ap_low, ap_high) = row.extra.ap_interval.unzip();
        Self {
            concept: None,
            unit: row.name.to_string(),
            ap: expertise.ap,
            on_mean: expertise.on_mean,
            on_p50: expertise.on_p50,
            on_p90: expertise.on_p90,
            off_mean: expertise.off_mean,
            auroc: row.extra.auroc,
            cohens_d: row.extra.cohens_d,
            held_out_ap: row.extra.held_out_ap,
            ap_low,
            ap_high,
            l1: row.extra.l1,
            layer: row.name.layer.to_string(),
            index: row.name.index,
            number: row.unit.0,
        }
    }
}

impl From<UnitInConcept> for Unit {
    fn from(shown: UnitInConcept) -> Self {
        Self { concept: Some(shown.concept.to_string()), ..shown.row.into() }
    }
}

#[derive(Serialize)]
pub(super) struct Layers {
    layers: Vec<Layer>,
    kinds: Vec<Kind>,
}

#[derive(Serialize)]
struct Layer {
    layer: String,
    units: u32,
    experts: u32,
    max_ap: f32,
    mean_ap: f32,
}

#[derive(Serialize)]
struct Kind {
    kind: String,
    units: u32,
    experts: u32,
    share_of_experts: f64,
    max_ap: f32,
}

impl Layers {
    pub(super) fn of(shares: &[LayerShare]) -> Self {
        let layer = |share: &LayerShare| Layer {
            layer: share.layer.name.to_string(),
            units: share.layer.units,
            experts: share.experts,
            max_ap: share.max_ap,
            mean_ap: share.mean_ap,
        };
        let kind = |kind: KindShare<'_>| Kind {
            kind: kind.name.to_owned(),
            units: kind.units,
            experts: kind.experts,
            share_of_experts: kind.share,
            max_ap: kind.max_ap,
        };
        Self { layers: shares.iter().map(layer).collect(), kinds: kind_shares(shares).into_iter().map(kind).collect() }
    }
}

#[derive(Serialize)]
pub(super) struct Overlap {
    first: String,
    second: String,
    first_experts: u32,
    second_experts: u32,
    shared_experts: usize,
    jaccard: f64,
    correlation: f64,
    shared: Vec<Shared>,
}

#[derive(Serialize)]
struct Shared {
    unit: String,
    ap_first: f32,
    ap_second: f32,
    layer: String,
    index: u32,
    number: u32,
}

impl Overlap {
    pub(super) fn of(first: &ConceptId, second: &ConceptId, answer: &OverlapAnswer) -> Self {
        let shared = |(one, other): &(UnitRow, UnitRow)| Shared {
            unit: one.name.to_string(),
            ap_first: one.expertise.ap,
            ap_second: other.expertise.ap,
            layer: one.name.layer.to_string(),
            index: one.name.index,
            number: one.unit.0,
        };
        Self {
            first: first.to_string(),
            second: second.to_string(),
            first_experts: answer.first_experts,
            second_experts: answer.second_experts,
            shared_experts: answer.shared.len(),
            jaccard: answer.jaccard,
            correlation: answer.correlation,
            shared: answer.shared.iter().map(shared).collect(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Near {
    concept: String,
    shared_experts: u32,
    jaccard: f64,
    correlation: f64,
}

impl From<Neighbour> for Near {
    fn from(neighbour: Neighbour) -> Self {
        Self {
            concept: neighbour.concept.to_string(),
            shared_experts: neighbour.shared,
            jaccard: neighbour.jaccard,
            correlation: neighbour.correlation,
        }
    }
}
