//! A header and the rows, one a line.

use std::io::{BufWriter, Write};

use lode_domain::{criterion::Measures, lint::Finding};
use serde::Serialize;

use super::{Expertise, Row};

#[derive(Serialize)]
struct Header<'e> {
    model: &'e str,
    model_hash: String,
    family: &'e str,
    concept: &'e str,
    group: &'e str,
    pooling: String,
    tokens: String,
    positives: u32,
    negatives: u32,
    findings: &'e [Finding],
    dtype: &'e str,
    limit_per_class: u32,
    seed: u64,
    units: usize,
    #[serde(skip_serializing_if = "Measures::is_plain")]
    measures: Measures,
}

#[derive(Serialize)]
struct RowFields {
    ap: f32,
    off_mean: f32,
    on_p50: f32,
    on_p90: f32,
    layer: String,
    unit: u32,
    uuid: u32,
    on_mean: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    auroc: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cohens_d: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    l1: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_out_ap: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ap_low: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ap_high: Option<f32>,
}

/// Writes header and rows.
pub(crate) fn write(expertise: &Expertise, to: impl Write) -> anyhow::Result<()> {
    let mut to = BufWriter::new(to);
    let header = serde_json::to_string_pretty(&header(expertise))?;
    // The rows go into the header's object, one a line: a reader that goes line by line finds them.
    let open = header.strip_suffix("\n}").unwrap_or(&header);
    write!(to, "{open},\n  \"rows\": [")?;
    for row in expertise.rows() {
        to.write_all(if row.uuid == 0 { b"\n    " } else { b",\n    " })?;
        to.write_all(serde_json::to_string(&fields(&row))?.as_bytes())?;
    }
    to.write_all(b"\n  ]\n}\n")?;
    to.flush()?;
    Ok(())
}

fn header(expertise: &Expertise) -> Header<'_> {
    let (model, indexed) = (&expertise.header.model, &expertise.header.concept);
    let header = &indexed.header;
    Header {
        model: model.name.as_str(),
        model_hash: model.hash.to_string(),
        family: &model.family,
        concept: indexed.concept.name(),
        group: indexed.concept.group(),
        pooling: indexed.recipe.pooling.to_string(),
        tokens: indexed.recipe.tokens.to_string(),
        positives: header.positives,
        negatives: header.negatives,
        findings: &header.findings,
        dtype: &header.precision,
        limit_per_class: header.limit_per_class,
        seed: header.seed,
        units: expertise.len(),
        measures: header.measures,
    }
}

fn fields(row: &Row<'_>) -> RowFields {
    let values = row.expertise;
    let (ap_low, ap_high) = row.extra.ap_interval.unzip();
    RowFields {
        ap: values.ap,
        off_mean: values.off_mean,
        on_p50: values.on_p50,
        on_p90: values.on_p90,
        layer: row.layer(),
        unit: row.unit,
        uuid: row.uuid,
        on_mean: values.on_mean,
        auroc: row.extra.auroc,
        cohens_d: row.extra.cohens_d,
        l1: row.extra.l1,
        held_out_ap: row.extra.held_out_ap,
        ap_low,
        ap_high,
    }
}
