//! The events of a request's prompts, as one stream of its choices. Text comes from the same dispatch as over gRPC.

use std::{pin::Pin, sync::Arc};

use futures::{
    Stream, StreamExt as _,
    future::{ready, try_join_all},
    stream,
};
use lode_domain::generation::{FinishReason, GenerateEvent, GenerateRequest};
use lode_proto::{Fault, FaultKind};

use super::error::ApiError;
use crate::{Coordinator, dispatch};

/// An event, and the first choice of its prompt.
type Numbered = (u32, Result<GenerateEvent, Fault>);
type Events = Pin<Box<dyn Stream<Item = Result<GenerateEvent, Fault>> + Send>>;

/// Everything that happens to the choices of a request, by choice number; choice `prompt * n + sample`.
///
/// Who drops it cancels what is left. The end means that all choices are complete.
pub(super) struct Choices {
    events: Pin<Box<dyn Stream<Item = Numbered> + Send>>,
    /// Choices that are not complete.
    open: u32,
}

impl Choices {
    /// Begins to generate for all prompts; returns when each has its first event, so that what is wrong with one is known
    /// before anything is answered.
    ///
    /// # Errors
    /// If one of the requests cannot be done.
    pub(super) async fn begin(
        coordinator: &Arc<Coordinator>,
        requests: Vec<GenerateRequest>,
    ) -> Result<Self, ApiError> {
        let open = requests.iter().map(|request| request.samples).sum();
        let begun = requests.into_iter().zip(0u32..).map(|(request, prompt)| async move {
            let samples = request.samples;
            let mut events: Events = Box::pin(dispatch::generate(coordinator, request).await?);
            let first = events.next().await.unwrap_or_else(|| Err(cut_short()))?;
            let events = stream::once(ready(Ok(first))).chain(events);
            Ok::<_, Fault>(events.map(move |event| (prompt * samples, event)).boxed())
        });
        let events = Box::pin(stream::select_all(try_join_all(begun).await.map_err(blame)?));
        Ok(Self { events, open })
    }

    /// The next event and its choice; `None` when all is complete.
    pub(super) async fn next(&mut self) -> Option<Result<(u32, GenerateEvent), ApiError>> {
        let Some((first, event)) = self.events.next().await else {
            let is_whole = std::mem::take(&mut self.open) == 0;
            return (!is_whole).then(|| Err(cut_short().into()));
        };
        let event = match event {
            Ok(event) => event,
            Err(fault) => return Some(Err(blame(fault))),
        };
        let sample = match &event {
            GenerateEvent::Token { sample, .. } => *sample,
            GenerateEvent::Finished { finished, .. } if finished.reason == FinishReason::NotFinite => {
                return Some(Err(ApiError::not_finite()));
            }
            GenerateEvent::Finished { sample, .. } => {
                self.open = self.open.saturating_sub(1);
                *sample
            }
        };
        Some(Ok((first + sample, event)))
    }
}

fn cut_short() -> Fault {
    Fault::unavailable("the cluster ended the stream before the text was complete: try again")
}

/// The model is known to be there by now: what was not found is a concept or a unit.
fn blame(fault: Fault) -> ApiError {
    ApiError::from(fault).blame(FaultKind::NotFound, "condition", Some("concept_not_found"))
}
