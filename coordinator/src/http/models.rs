//! `/v1/models`: the models that text can be had from.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::extract::{Path, State};
use lode_domain::{cluster::ModelStatus, concept::ConceptId, id::ModelName, query::ConceptRef, record::ModelRecord};
use lode_proto::{Fault, FaultKind};
use serde_json::{Value, json};

use super::{body::Json, error::ApiError, model_ref::ModelRef};
use crate::{Coordinator, fault::of_index, queries};

/// The models that workers have.
pub(super) async fn list(State(coordinator): State<Arc<Coordinator>>) -> Result<Json<Value>, ApiError> {
    let statuses = statuses(&coordinator).await?;
    let served = statuses.iter().filter(|status| status.workers > 0);
    let models: Vec<Value> = served.map(|status| described(&coordinator, status, status.model.name.as_str())).collect();
    Ok(Json(json!({"object": "list", "data": models})))
}

/// One model, with the conditions of its name if it has any.
pub(super) async fn one(
    State(coordinator): State<Arc<Coordinator>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    let wanted = read(&id)?;
    let model = find(&coordinator, &wanted.name).await?;
    for (concept, _) in wanted.concepts {
        known(&coordinator, &wanted.name, concept).await?;
    }
    let statuses = statuses(&coordinator).await?;
    let status = statuses.iter().find(|status| status.model.hash == model.hash);
    let status = status.ok_or_else(|| unknown(&wanted.name))?;
    Ok(Json(described(&coordinator, status, &id)))
}

/// Reads a model's name.
pub(super) fn read(text: &str) -> Result<ModelRef, ApiError> {
    text.parse().map_err(|problem: String| ApiError::field("model", format!("`model`: {problem}")))
}

/// A model of the index.
pub(super) async fn find(coordinator: &Coordinator, name: &ModelName) -> Result<ModelRecord, ApiError> {
    let wanted = name.clone();
    let found = coordinator.ask(move |index| index.model_named(&wanted).map_err(of_index)).await;
    found.map_err(|fault| ApiError::from(fault).blame(FaultKind::NotFound, "model", Some("model_not_found")))
}

/// Checks that a concept was mined.
async fn known(coordinator: &Coordinator, model: &ModelName, concept: ConceptId) -> Result<(), ApiError> {
    let of = ConceptRef { model: model.clone(), concept, recipe: Default::default() };
    let checked = coordinator.ask(move |index| queries::header(index, &of)).await;
    checked
        .map(drop)
        .map_err(|fault| ApiError::from(fault).blame(FaultKind::NotFound, "model", Some("concept_not_found")))
}

async fn statuses(coordinator: &Arc<Coordinator>) -> Result<Vec<ModelStatus>, Fault> {
    let registry = coordinator.registry.clone();
    coordinator.ask(move |index| queries::models(index, &registry).map_err(of_index)).await
}

fn unknown(name: &ModelName) -> ApiError {
    Fault::not_found(format!("there is no model `{name}`")).into()
}

fn described(coordinator: &Coordinator, status: &ModelStatus, id: &str) -> Value {
    let model = &status.model;
    json!({
        "id": id,
        "object": "model",
        "created": seconds(coordinator.started),
        "owned_by": "lode",
        "context_length": model.context_len,
        "family": model.family,
        "hash": model.hash.to_string(),
        "units": model.units(),
        "concepts": status.concepts,
        "workers": status.workers,
        "chat": coordinator.registry.chat_template(model.hash).is_some(),
    })
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
