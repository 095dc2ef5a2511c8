//! Questions to the index and their answers.

use lode_domain::{
    compare::{Experts, LayerShare},
    expertise::{Extra, UnitExpertise},
    query::{ConceptRef, ExportHeader, Neighbour, OverlapAnswer, TopQuery, TopUnits, UnitInConcept, UnitRow},
    unit::{LayerName, UnitId, UnitName},
};

use super::{BadField, all, each, parsed, required, words};
use crate::wire;

impl From<ConceptRef> for wire::ConceptRef {
    fn from(of: ConceptRef) -> Self {
        Self { model: of.model.to_string(), concept: Some(of.concept.into()), recipe: Some(of.recipe.into()) }
    }
}

impl TryFrom<wire::ConceptRef> for ConceptRef {
    type Error = BadField;

    fn try_from(of: wire::ConceptRef) -> Result<Self, BadField> {
        Ok(Self {
            model: parsed(&of.model, "model")?,
            concept: words::concept(of.concept)?,
            recipe: words::recipe(of.recipe)?,
        })
    }
}

/// The concept that a query is about.
///
/// # Errors
/// If it is missing or malformed.
pub fn query_subject(of: Option<wire::ConceptRef>) -> Result<ConceptRef, BadField> {
    required(of, "of")?.try_into()
}

impl From<UnitRow> for wire::UnitRow {
    fn from(row: UnitRow) -> Self {
        let UnitExpertise { ap, on_mean, on_p50, on_p90, off_mean } = row.expertise;
        let (layer, index) = (row.name.layer.to_string(), row.name.index);
        let Extra { auroc, cohens_d, held_out_ap, ap_interval, l1 } = row.extra;
        let (ap_low, ap_high) = ap_interval.unzip();
        Self {
            unit: row.unit.0,
            layer,
            index,
            ap,
            on_mean,
            on_p50,
            on_p90,
            off_mean,
            auroc,
            cohens_d,
            held_out_ap,
            ap_low,
            ap_high,
            l1,
        }
    }
}

impl From<wire::UnitRow> for UnitRow {
    fn from(row: wire::UnitRow) -> Self {
        Self {
            unit: UnitId(row.unit),
            name: UnitName { layer: LayerName::new(row.layer), index: row.index },
            expertise: UnitExpertise {
                ap: row.ap,
                on_mean: row.on_mean,
                on_p50: row.on_p50,
                on_p90: row.on_p90,
                off_mean: row.off_mean,
            },
            extra: Extra {
                auroc: row.auroc,
                cohens_d: row.cohens_d,
                held_out_ap: row.held_out_ap,
                ap_interval: row.ap_low.zip(row.ap_high),
                l1: row.l1,
            },
        }
    }
}

/// The wire form of a top query.
pub fn top_request(of: ConceptRef, query: TopQuery) -> wire::TopUnitsRequest {
    wire::TopUnitsRequest {
        of: Some(of.into()),
        top: query.top,
        layer_glob: query.layers.unwrap_or_default(),
        min_ap: query.min_ap,
        bottom: query.bottom,
        criterion: wire::Criterion::from(query.criterion).into(),
    }
}

/// A top query from the wire.
///
/// # Errors
/// If the concept is missing or malformed.
pub fn top_query(request: wire::TopUnitsRequest) -> Result<(ConceptRef, TopQuery), BadField> {
    let layers = Some(request.layer_glob).filter(|glob| !glob.is_empty());
    let criterion = words::criterion(request.criterion)?;
    let query = TopQuery { criterion, top: request.top, layers, min_ap: request.min_ap, bottom: request.bottom };
    Ok((query_subject(request.of)?, query))
}

impl From<TopUnits> for wire::TopUnitsReply {
    fn from(top: TopUnits) -> Self {
        Self { units: each(top.rows), matching: top.matching }
    }
}

impl From<wire::TopUnitsReply> for TopUnits {
    fn from(reply: wire::TopUnitsReply) -> Self {
        Self { rows: each(reply.units), matching: reply.matching }
    }
}

impl From<UnitInConcept> for wire::show_unit_reply::Row {
    fn from(shown: UnitInConcept) -> Self {
        Self { concept: Some(shown.concept.into()), unit: Some(shown.row.into()) }
    }
}

impl TryFrom<wire::show_unit_reply::Row> for UnitInConcept {
    type Error = BadField;

    fn try_from(row: wire::show_unit_reply::Row) -> Result<Self, BadField> {
        Ok(Self { concept: words::concept(row.concept)?, row: required(row.unit, "unit")?.into() })
    }
}

impl TryFrom<wire::ShowUnitReply> for Vec<UnitInConcept> {
    type Error = BadField;

    fn try_from(reply: wire::ShowUnitReply) -> Result<Self, BadField> {
        all(reply.rows)
    }
}

impl From<Experts> for wire::Experts {
    fn from(experts: Experts) -> Self {
        use wire::experts::Experts as Choice;
        let choice = match experts {
            Experts::Top(k) => Choice::Top(k),
            Experts::MinAp(least) => Choice::MinAp(least),
        };
        Self { experts: Some(choice) }
    }
}

impl TryFrom<wire::Experts> for Experts {
    type Error = BadField;

    fn try_from(experts: wire::Experts) -> Result<Self, BadField> {
        use wire::experts::Experts as Choice;
        Ok(match required(experts.experts, "experts")? {
            Choice::Top(k) => Self::Top(k),
            Choice::MinAp(least) => Self::MinAp(least),
        })
    }
}

/// The experts that a query asks for.
///
/// # Errors
/// If they are missing.
pub fn query_experts(experts: Option<wire::Experts>) -> Result<Experts, BadField> {
    required(experts, "experts")?.try_into()
}

impl From<LayerShare> for wire::layer_shares_reply::Row {
    fn from(share: LayerShare) -> Self {
        let (layer, experts) = (Some(share.layer.into()), share.experts);
        Self { layer, experts, max_ap: share.max_ap, mean_ap: share.mean_ap }
    }
}

impl TryFrom<wire::layer_shares_reply::Row> for LayerShare {
    type Error = BadField;

    fn try_from(row: wire::layer_shares_reply::Row) -> Result<Self, BadField> {
        let layer = required(row.layer, "layer")?.into();
        Ok(Self { layer, experts: row.experts, max_ap: row.max_ap, mean_ap: row.mean_ap })
    }
}

impl TryFrom<wire::LayerSharesReply> for Vec<LayerShare> {
    type Error = BadField;

    fn try_from(reply: wire::LayerSharesReply) -> Result<Self, BadField> {
        all(reply.rows)
    }
}

impl From<OverlapAnswer> for wire::OverlapReply {
    fn from(answer: OverlapAnswer) -> Self {
        let row = |(first, second): (UnitRow, UnitRow)| wire::overlap_reply::Row {
            first: Some(first.into()),
            second: Some(second.into()),
        };
        Self {
            first_experts: answer.first_experts,
            second_experts: answer.second_experts,
            jaccard: answer.jaccard,
            correlation: answer.correlation,
            shared: answer.shared.into_iter().map(row).collect(),
        }
    }
}

impl TryFrom<wire::OverlapReply> for OverlapAnswer {
    type Error = BadField;

    fn try_from(reply: wire::OverlapReply) -> Result<Self, BadField> {
        let row = |row: wire::overlap_reply::Row| {
            Ok((required(row.first, "first")?.into(), required(row.second, "second")?.into()))
        };
        Ok(Self {
            first_experts: reply.first_experts,
            second_experts: reply.second_experts,
            jaccard: reply.jaccard,
            correlation: reply.correlation,
            shared: reply.shared.into_iter().map(row).collect::<Result<_, BadField>>()?,
        })
    }
}

impl From<Neighbour> for wire::nearest_reply::Row {
    fn from(neighbour: Neighbour) -> Self {
        Self {
            concept: Some(neighbour.concept.into()),
            shared: neighbour.shared,
            jaccard: neighbour.jaccard,
            correlation: neighbour.correlation,
        }
    }
}

impl TryFrom<wire::nearest_reply::Row> for Neighbour {
    type Error = BadField;

    fn try_from(row: wire::nearest_reply::Row) -> Result<Self, BadField> {
        Ok(Self {
            concept: words::concept(row.concept)?,
            shared: row.shared,
            jaccard: row.jaccard,
            correlation: row.correlation,
        })
    }
}

impl TryFrom<wire::NearestReply> for Vec<Neighbour> {
    type Error = BadField;

    fn try_from(reply: wire::NearestReply) -> Result<Self, BadField> {
        all(reply.rows)
    }
}

impl From<ExportHeader> for wire::export_event::Header {
    fn from(header: ExportHeader) -> Self {
        Self { model: Some(header.model.into()), concept: Some(header.concept.into()) }
    }
}

impl TryFrom<wire::export_event::Header> for ExportHeader {
    type Error = BadField;

    fn try_from(header: wire::export_event::Header) -> Result<Self, BadField> {
        Ok(Self {
            model: required(header.model, "model")?.try_into()?,
            concept: required(header.concept, "concept")?.try_into()?,
        })
    }
}
