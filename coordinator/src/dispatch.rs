//! Generation requests: conditions are resolved in the index, then a worker gets the request.

use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use lode_domain::generation::{GenerateEvent, GenerateRequest};
use lode_proto::Fault;

use crate::{Coordinator, metrics::Generation};

/// Hands a request to the least loaded worker that has the model, and counts what becomes of it.
///
/// # Errors
/// If the model or a concept is unknown, a k does not fit, or there is no worker; later faults are in the stream.
pub(crate) async fn generate(
    coordinator: &Arc<Coordinator>,
    request: GenerateRequest,
) -> Result<impl Stream<Item = Result<GenerateEvent, Fault>> + Send + use<>, Fault> {
    let mut generation = Generation::arrives(request.samples);
    let events = hand_over(coordinator, request).await.inspect_err(|_| generation.is_refused())?;
    Ok(events.inspect(move |event| generation.sees(event)))
}

async fn hand_over(
    coordinator: &Arc<Coordinator>,
    request: GenerateRequest,
) -> Result<impl Stream<Item = Result<GenerateEvent, Fault>> + Send + use<>, Fault> {
    let (own, model) = (coordinator.clone(), request.model.clone());
    let resolved = tokio::task::spawn_blocking(move || own.resolver.resolve(&own.index, request))
        .await
        .map_err(|error| Fault::internal(format!("resolving the conditions failed: {error}")))??;
    loop {
        let worker = coordinator
            .registry
            .least_loaded(resolved.model)
            .ok_or_else(|| Fault::unavailable(format!("no worker has model `{model}` at the moment: start one")))?;
        let guard = worker.count_request();
        match worker.client.generate(resolved.clone()).await {
            Ok(events) => {
                return Ok(events.map(move |event| {
                    let _counted = &guard;
                    event
                }));
            }
            // Nothing was streamed yet, so another worker can take the request; this one comes back by itself if it lives.
            Err(fault) if fault.is_retryable() => {
                tracing::warn!(fault = %worker.fault(fault), "generation goes to another worker");
                coordinator.registry.remove(worker.id, "it did not take a request");
            }
            Err(fault) => return Err(fault),
        }
    }
}
