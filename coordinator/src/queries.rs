//! Answers from the index. All of it is synchronous; the servers call it on blocking threads.

use lode_domain::{
    cluster::ModelStatus,
    compare::{Experts, LayerShare, layer_shares},
    concept::ConceptId,
    expertise::{Column, ExpertiseBlock, Extra, Recipe, UnitExpertise},
    id::ModelName,
    query::{
        ConceptRef, ExportHeader, IndexedConcept, Neighbour, OverlapAnswer, TopQuery, TopUnits, UnitInConcept, UnitRow,
    },
    record::{ConceptHeader, ConceptKey, ModelRecord},
    unit::{UnitId, UnitName, UnitSpace},
};
use lode_index::{Index, IndexError, QueryError};
use lode_proto::Fault;

use crate::{fault::of_index, registry::Registry};

/// Units in one message of an export.
const EXPORT_UNITS: usize = 16_384;

/// The model and the key of what a query is about.
fn subject(index: &Index, of: &ConceptRef) -> Result<(ModelRecord, ConceptKey), Fault> {
    let model = index.model_named(&of.model).map_err(of_index)?;
    let key = ConceptKey { model: model.hash, concept: of.concept.clone(), recipe: of.recipe };
    Ok((model, key))
}

fn space(model: &ModelRecord) -> Result<UnitSpace, Fault> {
    model.unit_space().map_err(Fault::internal)
}

/// What a question that cannot be answered is to who asked.
fn of_query(error: QueryError) -> Fault {
    match error {
        QueryError::Index(error) => of_index(error),
        QueryError::K(bad) => Fault::invalid(bad),
        QueryError::Glob(bad) => Fault::invalid(bad),
    }
}

fn row(space: &UnitSpace, unit: UnitId, expertise: UnitExpertise) -> UnitRow {
    UnitRow { unit, name: space.name(unit), expertise, extra: Extra::default() }
}

/// Models of the index, with their concepts and workers.
pub(crate) fn models(index: &Index, registry: &Registry) -> Result<Vec<ModelStatus>, IndexError> {
    let status = |model: ModelRecord| {
        let concepts = index.concepts(model.hash)?.len() as u32;
        let workers = registry.with_model(model.hash).len() as u32;
        Ok(ModelStatus { model, concepts, workers })
    };
    index.models()?.into_iter().map(status).collect()
}

/// Concepts of a model.
pub(crate) fn concepts(index: &Index, model: &ModelName) -> Result<Vec<IndexedConcept>, Fault> {
    let model = index.model_named(model).map_err(of_index)?;
    let indexed = |(key, header): (ConceptKey, _)| IndexedConcept { concept: key.concept, recipe: key.recipe, header };
    Ok(index.concepts(model.hash).map_err(of_index)?.into_iter().map(indexed).collect())
}

/// What a concept's expertise rests on; above all, whether it is there.
pub(crate) fn header(index: &Index, of: &ConceptRef) -> Result<ConceptHeader, Fault> {
    let (_, key) = subject(index, of)?;
    index.header(&key).map_err(of_index)
}

/// Units of a concept by a criterion.
pub(crate) fn top(index: &Index, of: &ConceptRef, query: &TopQuery) -> Result<TopUnits, Fault> {
    let (model, key) = subject(index, of)?;
    let space = space(&model)?;
    let (units, matching) = index.top(&key, &space, query).map_err(of_query)?;
    let listed = |(unit, expertise, extra)| UnitRow { extra, ..row(&space, unit, expertise) };
    let rows = units.into_iter().map(listed).collect();
    Ok(TopUnits { rows, matching })
}

/// A unit in all concepts, by falling AP.
pub(crate) fn show(
    index: &Index,
    model: &ModelName,
    name: &UnitName,
    recipe: Recipe,
) -> Result<Vec<UnitInConcept>, Fault> {
    let model = index.model_named(model).map_err(of_index)?;
    let unit = space(&model)?.find(name).map_err(Fault::not_found)?;
    let everywhere = index.unit_everywhere(model.hash, recipe, unit).map_err(of_index)?;
    let shown = |(concept, expertise): (ConceptId, UnitExpertise)| UnitInConcept {
        concept,
        row: UnitRow { unit, name: name.clone(), expertise, extra: Extra::default() },
    };
    let mut rows: Vec<UnitInConcept> = everywhere.into_iter().map(shown).collect();
    rows.sort_by(|a, b| b.row.expertise.ap.total_cmp(&a.row.expertise.ap).then_with(|| a.concept.cmp(&b.concept)));
    Ok(rows)
}

/// Experts per layer.
pub(crate) fn layers(index: &Index, of: &ConceptRef, experts: Experts) -> Result<Vec<LayerShare>, Fault> {
    let (model, key) = subject(index, of)?;
    let ap = index.column(&key, Column::Ap).map_err(of_index)?;
    layer_shares(&space(&model)?, &ap, experts).map_err(Fault::invalid)
}

/// Two concepts compared.
pub(crate) fn overlap_of(
    index: &Index,
    first: &ConceptRef,
    second: &ConceptId,
    experts: Experts,
) -> Result<OverlapAnswer, Fault> {
    let (model, first_key) = subject(index, first)?;
    let second_key = ConceptKey { concept: second.clone(), ..first_key.clone() };
    let space = space(&model)?;
    let (found, expertise) = index.overlap(&first_key, &second_key, experts).map_err(of_query)?;
    let pair =
        |(&unit, (a, b)): (&UnitId, (UnitExpertise, UnitExpertise))| (row(&space, unit, a), row(&space, unit, b));
    Ok(OverlapAnswer {
        first_experts: found.first,
        second_experts: found.second,
        jaccard: found.jaccard,
        correlation: found.correlation,
        shared: found.shared.iter().zip(expertise).map(pair).collect(),
    })
}

/// The concepts that share most experts with one, most first; ties by correlation.
pub(crate) fn nearest(index: &Index, of: &ConceptRef, experts: Experts, limit: u32) -> Result<Vec<Neighbour>, Fault> {
    let (_, key) = subject(index, of)?;
    index.nearest(&key, experts, limit).map_err(of_query)
}

/// An export: its header, and its blocks one after the other.
pub(crate) fn export(
    index: &Index,
    of: &ConceptRef,
) -> Result<(ExportHeader, impl Iterator<Item = ExpertiseBlock> + use<>), Fault> {
    let (model, key) = subject(index, of)?;
    let header = index.header(&key).map_err(of_index)?;
    let columns: [Vec<f32>; 5] = {
        let mut read = Vec::with_capacity(5);
        for column in Column::BASE {
            read.push(index.column(&key, column).map_err(of_index)?);
        }
        read.try_into().map_err(|_| Fault::internal("a column is missing"))?
    };
    let extra = header.measures.columns().map(|column| Ok((column, index.column(&key, column).map_err(of_index)?)));
    let extra: Vec<(Column, Vec<f32>)> = extra.collect::<Result<_, Fault>>()?;
    let concept = IndexedConcept { concept: key.concept, recipe: key.recipe, header };
    let units = columns[0].len();
    let blocks = (0..units).step_by(EXPORT_UNITS).filter_map(move |start| {
        let end = (start + EXPORT_UNITS).min(units);
        let base = std::array::from_fn(|c| columns[c][start..end].to_vec());
        let block = ExpertiseBlock::from_columns(start as u32, base);
        extra.iter().fold(block, |block, (column, values)| block?.with(*column, values[start..end].to_vec()))
    });
    Ok((ExportHeader { model, concept }, blocks))
}
