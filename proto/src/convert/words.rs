//! What several services share.

use lode_domain::{
    concept::ConceptId,
    criterion::{Criterion, Intervals, Measures},
    expertise::{Column, ExpertiseBlock, Recipe},
    holdout::Holdout,
    id::ModelHash,
    intervention::{Coverage, Positions},
    lint::Finding,
    pooling::{Pooling, Tokens},
    record::ModelRecord,
    sampling::Sampling,
    unit::{Layer, LayerName, UnitSpace},
};

use super::{BadField, all, each, parsed, required, same_enum};
use crate::wire;

same_enum!(Pooling, Pooling, "pooling", Max, Mean, Last);
same_enum!(Tokens, Tokens, "tokens", Own, Selfcond);

impl From<Criterion> for wire::Criterion {
    fn from(criterion: Criterion) -> Self {
        match criterion {
            Criterion::Ap => Self::Ap,
            Criterion::Auroc => Self::Auroc,
            Criterion::CohensD => Self::CohensD,
            Criterion::L1 => Self::L1,
        }
    }
}

/// A criterion from its number in a message; older clients, which know of none, mean AP.
pub(super) fn criterion(number: i32) -> Result<Criterion, BadField> {
    match wire::Criterion::try_from(number) {
        Ok(wire::Criterion::Unspecified | wire::Criterion::Ap) => Ok(Criterion::Ap),
        Ok(wire::Criterion::Auroc) => Ok(Criterion::Auroc),
        Ok(wire::Criterion::CohensD) => Ok(Criterion::CohensD),
        Ok(wire::Criterion::L1) => Ok(Criterion::L1),
        Err(_) => Err(BadField::new("criterion", format!("{number} is of a newer version"))),
    }
}

/// Measures as they stand in a message: nothing for AP alone.
pub(super) fn measures_to_wire(measures: Measures) -> Option<wire::Measures> {
    let criteria = measures.criteria.iter().map(|criterion| wire::Criterion::from(criterion).into()).collect();
    let holdout = measures.holdout.map_or(0, |holdout| holdout.thousandths().into());
    let (intervals, interval_seed) = measures.intervals.map_or((0, 0), |intervals| (intervals.units, intervals.seed));
    (!measures.is_plain()).then_some(wire::Measures { criteria, holdout, intervals, interval_seed })
}

/// And back.
pub(super) fn measures(measures: Option<wire::Measures>) -> Result<Measures, BadField> {
    let wire::Measures { criteria, holdout, intervals, interval_seed } = measures.unwrap_or_default();
    let bad = || BadField::new("holdout", format!("is {holdout} thousandths, not 1 to 999"));
    let share = |thousandths: u32| u16::try_from(thousandths).ok().and_then(Holdout::new).ok_or_else(bad);
    Ok(Measures {
        criteria: criteria.into_iter().map(criterion).collect::<Result<_, _>>()?,
        holdout: if holdout == 0 { None } else { Some(share(holdout)?) },
        intervals: (intervals > 0).then_some(Intervals { units: intervals, seed: interval_seed }),
    })
}

/// Positions as they stand in a message: their kind, and the window if that is the kind.
pub(super) fn positions_to_wire(positions: Positions) -> (wire::Positions, Option<wire::Window>) {
    match positions {
        Positions::All => (wire::Positions::All, None),
        Positions::Generated => (wire::Positions::Generated, None),
        Positions::Last => (wire::Positions::Last, None),
        Positions::Window { from, to } => (wire::Positions::Window, Some(wire::Window { from, to })),
    }
}

/// And back.
pub(super) fn positions(kind: wire::Positions, window: Option<wire::Window>) -> Result<Positions, BadField> {
    match (kind, window) {
        (wire::Positions::All, None) => Ok(Positions::All),
        (wire::Positions::Generated, None) => Ok(Positions::Generated),
        (wire::Positions::Last, None) => Ok(Positions::Last),
        (wire::Positions::Window, Some(wire::Window { from, to })) if from < to => Ok(Positions::Window { from, to }),
        (wire::Positions::Window, Some(_)) => {
            Err(BadField::new("window", "is empty: its end must be above its beginning"))
        }
        (wire::Positions::Window, None) => Err(BadField::new("window", "is missing")),
        (wire::Positions::Unspecified, _) => Err(BadField::new("positions", "is not specified, or of a newer version")),
        (_, Some(_)) => Err(BadField::new("window", "is given, but positions says otherwise")),
    }
}

impl From<ConceptId> for wire::ConceptId {
    fn from(id: ConceptId) -> Self {
        Self { group: id.group().to_owned(), name: id.name().to_owned() }
    }
}

impl TryFrom<wire::ConceptId> for ConceptId {
    type Error = BadField;

    fn try_from(id: wire::ConceptId) -> Result<Self, BadField> {
        Self::new(id.group, id.name).map_err(|error| BadField::new("concept", error))
    }
}

impl From<Recipe> for wire::Recipe {
    fn from(recipe: Recipe) -> Self {
        Self { pooling: wire::Pooling::from(recipe.pooling).into(), tokens: wire::Tokens::from(recipe.tokens).into() }
    }
}

impl TryFrom<wire::Recipe> for Recipe {
    type Error = BadField;

    fn try_from(recipe: wire::Recipe) -> Result<Self, BadField> {
        Ok(Self { pooling: recipe.pooling().try_into()?, tokens: recipe.tokens().try_into()? })
    }
}

/// A hash as it stands in a message.
pub(super) fn model_hash(bytes: &[u8]) -> Result<ModelHash, BadField> {
    let bytes = bytes.try_into().map_err(|_| BadField::new("hash", format!("has {} bytes, not 32", bytes.len())))?;
    Ok(ModelHash(bytes))
}

impl From<Layer> for wire::Layer {
    fn from(layer: Layer) -> Self {
        Self { name: layer.name.to_string(), units: layer.units }
    }
}

impl From<wire::Layer> for Layer {
    fn from(layer: wire::Layer) -> Self {
        Self { name: LayerName::new(layer.name), units: layer.units }
    }
}

impl From<ModelRecord> for wire::Model {
    fn from(model: ModelRecord) -> Self {
        Self {
            name: model.name.to_string(),
            hash: model.hash.0.to_vec(),
            family: model.family,
            context_len: model.context_len,
            layers: each(model.layers),
        }
    }
}

impl TryFrom<wire::Model> for ModelRecord {
    type Error = BadField;

    fn try_from(model: wire::Model) -> Result<Self, BadField> {
        let layers: Vec<Layer> = each(model.layers);
        UnitSpace::new(layers.clone()).map_err(|error| BadField::new("layers", error))?;
        Ok(Self {
            name: parsed(&model.name, "name")?,
            hash: model_hash(&model.hash)?,
            family: model.family,
            context_len: model.context_len,
            layers,
        })
    }
}

impl From<ExpertiseBlock> for wire::ExpertiseBlock {
    fn from(block: ExpertiseBlock) -> Self {
        let column = |column| block.column(column).to_vec();
        Self {
            start: block.start,
            ap: column(Column::Ap),
            on_mean: column(Column::OnMean),
            on_p50: column(Column::OnP50),
            on_p90: column(Column::OnP90),
            off_mean: column(Column::OffMean),
            auroc: column(Column::Auroc),
            cohens_d: column(Column::CohensD),
            held_out_ap: column(Column::HeldOutAp),
        }
    }
}

impl TryFrom<wire::ExpertiseBlock> for ExpertiseBlock {
    type Error = BadField;

    fn try_from(block: wire::ExpertiseBlock) -> Result<Self, BadField> {
        let columns = [block.ap, block.on_mean, block.on_p50, block.on_p90, block.off_mean];
        // An extra column without values is one that is not kept.
        let extra =
            [(Column::Auroc, block.auroc), (Column::CohensD, block.cohens_d), (Column::HeldOutAp, block.held_out_ap)];
        let kept = extra.into_iter().filter(|(_, values)| !values.is_empty());
        let whole = Self::from_columns(block.start, columns);
        let whole = kept.fold(whole, |whole, (column, values)| whole?.with(column, values));
        whole.ok_or_else(|| BadField::new("block", "has columns of unequal length"))
    }
}

impl From<Finding> for wire::Finding {
    fn from(finding: Finding) -> Self {
        Self { kind: finding.kind.to_string(), count: finding.count, example: finding.example }
    }
}

impl TryFrom<wire::Finding> for Finding {
    type Error = BadField;

    fn try_from(finding: wire::Finding) -> Result<Self, BadField> {
        Ok(Self { kind: parsed(&finding.kind, "kind")?, count: finding.count, example: finding.example })
    }
}

/// All of a message's findings.
pub(super) fn findings(findings: Vec<wire::Finding>) -> Result<Vec<Finding>, BadField> {
    all(findings)
}

impl From<Sampling> for wire::Sampling {
    fn from(sampling: Sampling) -> Self {
        Self {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            repetition_penalty: sampling.repetition_penalty,
            seed: sampling.seed,
            max_new_tokens: sampling.max_new_tokens,
            stop: sampling.stop,
            logprobs: sampling.logprobs,
            presence_penalty: sampling.presence_penalty,
            frequency_penalty: sampling.frequency_penalty,
            logit_bias: sampling.logit_bias.into_iter().collect(),
        }
    }
}

impl TryFrom<wire::Sampling> for Sampling {
    type Error = BadField;

    fn try_from(sampling: wire::Sampling) -> Result<Self, BadField> {
        let sampling = Self {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            top_k: sampling.top_k,
            repetition_penalty: sampling.repetition_penalty,
            seed: sampling.seed,
            max_new_tokens: sampling.max_new_tokens,
            stop: sampling.stop,
            logprobs: sampling.logprobs,
            presence_penalty: sampling.presence_penalty,
            frequency_penalty: sampling.frequency_penalty,
            logit_bias: sampling.logit_bias.into_iter().collect(),
        };
        sampling.check().map_err(|error| BadField::new("sampling", error))?;
        Ok(sampling)
    }
}

impl From<Coverage> for wire::Coverage {
    fn from(coverage: Coverage) -> Self {
        Self { units: coverage.units, layers: coverage.layers, positions: coverage.positions, writes: coverage.writes }
    }
}

impl From<wire::Coverage> for Coverage {
    fn from(coverage: wire::Coverage) -> Self {
        Self { units: coverage.units, layers: coverage.layers, positions: coverage.positions, writes: coverage.writes }
    }
}

/// A recipe that must be there.
pub(super) fn recipe(recipe: Option<wire::Recipe>) -> Result<Recipe, BadField> {
    required(recipe, "recipe")?.try_into()
}

/// A concept that must be there.
pub(super) fn concept(concept: Option<wire::ConceptId>) -> Result<ConceptId, BadField> {
    required(concept, "concept")?.try_into()
}
