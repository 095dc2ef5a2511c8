//! The index queries as JSON: the numbers of `lode --format json`, under the same names.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use lode_domain::{concept::ConceptId, id::ModelName, query::TopQuery, unit::UnitName};
use lode_index::Index;
use lode_proto::{Fault, FaultKind};

use super::{
    answers::{Concept, Layers, Model, Near, Overlap, Unit},
    body::Json,
    error::ApiError,
    params::Params,
};
use crate::{Coordinator, fault::of_index, queries};

type Answer<T> = Result<Json<T>, ApiError>;
type Rows<T> = Answer<Vec<T>>;
type Front = State<Arc<Coordinator>>;

/// Units listed unless told otherwise.
const DEFAULT_TOP: u32 = 50;
/// Neighbours listed unless told otherwise.
const DEFAULT_LIMIT: u32 = 10;

fn model(text: &str) -> Result<ModelName, ApiError> {
    text.parse().map_err(|error| ApiError::field("model", format!("`model`: {error}")))
}

/// Asks the index; what is not there is the model, or else what `blamed` names.
async fn ask<T: Send + 'static>(
    coordinator: &Coordinator,
    name: &ModelName,
    blamed: &str,
    question: impl FnOnce(&Index) -> Result<T, Fault> + Send + 'static,
) -> Result<T, ApiError> {
    super::models::find(coordinator, name).await?;
    let code = if blamed == "unit" { "unit_not_found" } else { "concept_not_found" };
    let answer = coordinator.ask(question).await;
    answer.map_err(|fault| ApiError::from(fault).blame(FaultKind::NotFound, blamed, Some(code)))
}

pub(super) async fn models(State(coordinator): Front, RawQuery(given): RawQuery) -> Rows<Model> {
    Params::read(given.as_deref()).end()?;
    let registry = coordinator.registry.clone();
    let models = coordinator.ask(move |index| queries::models(index, &registry).map_err(of_index)).await?;
    Ok(Json(models.into_iter().map(Model::from).collect()))
}

pub(super) async fn concepts(
    State(coordinator): Front,
    Path(name): Path<String>,
    RawQuery(given): RawQuery,
) -> Rows<Concept> {
    let name = model(&name)?;
    Params::read(given.as_deref()).end()?;
    let wanted = name.clone();
    let concepts = ask(&coordinator, &name, "model", move |index| queries::concepts(index, &wanted)).await?;
    Ok(Json(concepts.into_iter().map(Concept::from).collect()))
}

pub(super) async fn top(State(coordinator): Front, Path(name): Path<String>, RawQuery(given): RawQuery) -> Rows<Unit> {
    let (name, mut params) = (model(&name)?, Params::read(given.as_deref()));
    let of = params.subject(name.clone(), "concept")?;
    let query = TopQuery {
        criterion: params.get("criterion")?.unwrap_or_default(),
        top: params.count("top", DEFAULT_TOP)?,
        layers: params.get("layer")?,
        min_ap: params.min_ap()?,
        bottom: params.get("bottom")?.unwrap_or(false),
    };
    params.end()?;
    let top = ask(&coordinator, &name, "concept", move |index| queries::top(index, &of, &query)).await?;
    Ok(Json(top.rows.into_iter().map(Unit::from).collect()))
}

pub(super) async fn show(State(coordinator): Front, Path(name): Path<String>, RawQuery(given): RawQuery) -> Rows<Unit> {
    let (name, mut params) = (model(&name)?, Params::read(given.as_deref()));
    let unit: UnitName = params.need("unit", "transformer.h.3.mlp.c_fc[1187]")?;
    let recipe = params.recipe()?;
    params.end()?;
    let wanted = name.clone();
    let rows = ask(&coordinator, &name, "unit", move |index| queries::show(index, &wanted, &unit, recipe)).await?;
    Ok(Json(rows.into_iter().map(Unit::from).collect()))
}

pub(super) async fn layers(
    State(coordinator): Front,
    Path(name): Path<String>,
    RawQuery(given): RawQuery,
) -> Answer<Layers> {
    let (name, mut params) = (model(&name)?, Params::read(given.as_deref()));
    let of = params.subject(name.clone(), "concept")?;
    let experts = params.experts()?;
    params.end()?;
    let shares = ask(&coordinator, &name, "concept", move |index| queries::layers(index, &of, experts)).await?;
    Ok(Json(Layers::of(&shares)))
}

pub(super) async fn overlap(
    State(coordinator): Front,
    Path(name): Path<String>,
    RawQuery(given): RawQuery,
) -> Answer<Overlap> {
    let (name, mut params) = (model(&name)?, Params::read(given.as_deref()));
    let first = params.subject(name.clone(), "first")?;
    let second: ConceptId = params.need("second", "topic/sea")?;
    let experts = params.experts()?;
    params.end()?;
    let (one, other) = (first.concept.clone(), second.clone());
    let question = move |index: &Index| queries::overlap_of(index, &first, &second, experts);
    let answer = ask(&coordinator, &name, "first", question).await?;
    Ok(Json(Overlap::of(&one, &other, &answer)))
}

pub(super) async fn nearest(
    State(coordinator): Front,
    Path(name): Path<String>,
    RawQuery(given): RawQuery,
) -> Rows<Near> {
    let (name, mut params) = (model(&name)?, Params::read(given.as_deref()));
    let of = params.subject(name.clone(), "concept")?;
    let experts = params.experts()?;
    let limit = params.count("limit", DEFAULT_LIMIT)?;
    params.end()?;
    let question = move |index: &Index| queries::nearest(index, &of, experts, limit);
    let neighbours = ask(&coordinator, &name, "concept", question).await?;
    Ok(Json(neighbours.into_iter().map(Near::from).collect()))
}
