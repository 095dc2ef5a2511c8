//! Scoring requests: conditions are resolved in the index, then a worker gets the request.

use std::sync::Arc;

use lode_domain::{
    held::Given,
    likelihood::{ResolvedScore, ScoreRequest, ScoredPassage},
};
use lode_proto::Fault;

use crate::{Coordinator, fault::of_index};

/// Hands a request to the least loaded worker that has the model.
///
/// # Errors
/// If the model or a concept is unknown, a k does not fit, a passage does not fit the context, or there is no worker.
pub(crate) async fn score(coordinator: &Arc<Coordinator>, request: ScoreRequest) -> Result<Vec<ScoredPassage>, Fault> {
    let (own, model) = (coordinator.clone(), request.model.clone());
    let resolved = tokio::task::spawn_blocking(move || resolve(&own, request))
        .await
        .map_err(|error| Fault::internal(format!("resolving the conditions failed: {error}")))??;
    loop {
        let worker = coordinator
            .registry
            .least_loaded(resolved.model)
            .ok_or_else(|| Fault::unavailable(format!("no worker has model `{model}` at the moment: start one")))?;
        let _counted = worker.count_request();
        match worker.client.score(resolved.clone()).await {
            Ok(scored) => return Ok(scored),
            // Nothing was answered yet, so another worker can take the request; this one comes back by itself if it lives.
            Err(fault) if fault.is_retryable() => {
                tracing::warn!(fault = %worker.fault(fault), "scoring goes to another worker");
                coordinator.registry.remove(worker.id, "it did not take a request");
            }
            Err(fault) => return Err(fault),
        }
    }
}

fn resolve(coordinator: &Coordinator, request: ScoreRequest) -> Result<ResolvedScore, Fault> {
    let Coordinator { index, resolver, .. } = coordinator;
    let model = index.model_named(&request.model).map_err(of_index)?;
    let resolved = resolver.interventions(index, &model, (&request.conditions, request.seed))?;
    // A score is one message among few: its conditions always go whole.
    let whole = |given| match given {
        Given::Whole(intervention) => Ok(Arc::unwrap_or_clone(intervention)),
        Given::Held(_) => Err(Fault::internal("a condition was resolved to a name")),
    };
    let interventions = resolved.into_iter().map(whole).collect::<Result<_, _>>()?;
    Ok(ResolvedScore { model: model.hash, interventions, passages: request.passages })
}
