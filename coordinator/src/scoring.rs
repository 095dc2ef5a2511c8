//! Scoring requests: conditions are resolved in the index, then a worker gets the request.

use std::sync::Arc;

use lode_domain::{
    held::Given,
    likelihood::{ResolvedScore, ScoreRequest, ScoredPassage},
};
use lode_proto::{Caller, Fault};

use crate::{Coordinator, fault::of_index, places::Wanted};

/// How many workers a request may lose.
const MOST_LOSSES: u32 = 5;

/// Hands a request to the least loaded worker that has the model, when it is the caller's turn.
///
/// # Errors
/// If the model or a concept is unknown, a k does not fit, a passage does not fit the context, or there is no worker.
pub(crate) async fn score(coordinator: &Arc<Coordinator>, request: ScoreRequest) -> Result<Vec<ScoredPassage>, Fault> {
    let (own, name) = (coordinator.clone(), request.model.clone());
    let resolved = tokio::task::spawn_blocking(move || resolve(&own, request))
        .await
        .map_err(|error| Fault::internal(format!("resolving the conditions failed: {error}")))??;
    // It runs beside generation, and weighs about as much as one sample.
    let wanted = Wanted { model: resolved.model, name, samples: 1, caller: Caller::current() };
    let mut losses = 0;
    loop {
        let place = coordinator.places.find(wanted.clone()).await?;
        match place.worker.client().score(resolved.clone()).await {
            Ok(scored) => return Ok(scored),
            // Nothing was answered yet, so another worker can take the request; this one comes back by itself if it lives.
            Err(fault) if fault.is_retryable() && losses < MOST_LOSSES => {
                losses += 1;
                tracing::warn!(fault = %place.worker.fault(fault), "scoring goes to another worker");
                coordinator.registry.remove(place.worker.id, "it did not take a request");
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
    let ScoreRequest { passages, guide, residual, .. } = request;
    Ok(ResolvedScore { model: model.hash, interventions, passages, guide, residual })
}
