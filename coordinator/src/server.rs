//! The gRPC service that clients speak to: unpack, ask, pack.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _};
use lode_domain::{
    concept::ConceptId,
    event::JobSpec,
    generation::GenerateRequest,
    id::{JobId, ModelHash, ModelName},
    job::Job,
    likelihood::ScoreRequest,
    unit::UnitName,
};
use lode_proto::{
    Fault,
    convert::{BadField, JobAssembly, chat_request, query_experts, query_subject, score_reply, top_query},
    wire::{self, submit_job_request::Message},
};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use crate::{
    Coordinator, chat, dispatch,
    fault::{self, of_index},
    job_run,
    planning::outline,
    queries, scoring,
};

/// See [`wire::lode_server::Lode`].
pub(crate) struct Front {
    coordinator: Arc<Coordinator>,
    shutdown: CancellationToken,
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Front {
    pub(crate) fn new(coordinator: Arc<Coordinator>, shutdown: CancellationToken) -> Self {
        Self { coordinator, shutdown }
    }

    /// The model that a job is about; somebody must have it.
    async fn mined_model(&self, spec: &JobSpec) -> Result<ModelHash, Status> {
        let name = spec.model.clone();
        let model = self.coordinator.ask(move |index| index.model_named(&name).map_err(of_index)).await?;
        if self.coordinator.registry.with_model(model.hash).is_empty() {
            return Err(Fault::precondition(format!("no worker has model `{}`: start one first", spec.model)).into());
        }
        Ok(model.hash)
    }
}

/// Puts a job's messages together.
async fn receive(mut messages: Streaming<wire::SubmitJobRequest>) -> Result<(JobSpec, Job), Status> {
    let Some(wire::SubmitJobRequest { message: Some(Message::Spec(spec)) }) = messages.message().await? else {
        return Err(Fault::invalid("the first message of a job must be its spec").into());
    };
    let spec = JobSpec::try_from(spec).map_err(bad)?;
    let mut assembly = JobAssembly::default();
    while let Some(message) = messages.message().await? {
        let Some(Message::Part(part)) = message.message else {
            return Err(Fault::invalid("after its spec a job has only parts").into());
        };
        assembly.take(part).map_err(bad)?;
    }
    let job = assembly.finish().map_err(bad)?;
    job.check_form().map_err(Fault::invalid)?;
    Ok((spec, job))
}

/// A text field that the domain reads.
fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(Fault::invalid)
}

/// How long before its deadline a caller hears that it will not be kept: gRPC's own server, which heeds it only until the stream
/// begins, would cut the call off without a reason.
const NOTICE: Duration = Duration::from_millis(20);

/// When the caller of a stream waits no more, by its own word.
fn deadline_of(metadata: &MetadataMap) -> Instant {
    let wait = metadata.get("grpc-timeout").and_then(|value| value.to_str().ok()).and_then(timeout);
    // Who sets no limit has the coordinator's own.
    let wait = wait.unwrap_or(Duration::from_secs(365 * 24 * 60 * 60));
    Instant::now() + wait.saturating_sub(NOTICE)
}

/// A duration as gRPC writes it: at most eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 60 * 60),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

fn bad(field: BadField) -> Status {
    Fault::from(field).into()
}

#[tonic::async_trait]
impl wire::lode_server::Lode for Front {
    async fn submit_job(
        &self,
        request: Request<Streaming<wire::SubmitJobRequest>>,
    ) -> Result<Response<wire::SubmitJobReply>, Status> {
        let (spec, job) = receive(request.into_inner()).await?;
        let model = self.mined_model(&spec).await?;
        let (jobs, concepts) = (self.coordinator.jobs.clone(), job.concepts.len());
        let opened = tokio::task::spawn_blocking(move || jobs.open(spec, &job).map_err(fault::of_journal)).await;
        let handle = opened.map_err(|error| Fault::internal(format!("writing the job down failed: {error}")))??;
        tracing::info!(job = %handle.id, model = %handle.spec.model, concepts, "job submitted");
        job_run::launch(self.coordinator.clone(), handle.clone(), model);
        Ok(Response::new(wire::SubmitJobReply { job: handle.id.0 }))
    }

    async fn estimate_job(
        &self,
        request: Request<Streaming<wire::SubmitJobRequest>>,
    ) -> Result<Response<wire::EstimateJobReply>, Status> {
        let (spec, job) = receive(request.into_inner()).await?;
        let model = self.mined_model(&spec).await?;
        let job = Arc::new(job);
        let Coordinator { registry, data_dir, .. } = &*self.coordinator;
        let outline = outline(registry, data_dir, &spec, model, &job, false).await?;
        Ok(Response::new(outline.estimate(&job).into()))
    }

    type WatchJobStream = Events<wire::JobEvent>;

    async fn watch_job(
        &self,
        request: Request<wire::WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let request = request.into_inner();
        let job = self.coordinator.jobs.get(JobId(request.job))?;
        let events = job.watch(usize::try_from(request.after).unwrap_or(usize::MAX))?.map(|event| Ok(event?.into()));
        let until = self.shutdown.clone().cancelled_owned();
        Ok(Response::new(Box::pin(events.take_until(until))))
    }

    async fn list_jobs(
        &self,
        _request: Request<wire::ListJobsRequest>,
    ) -> Result<Response<wire::ListJobsReply>, Status> {
        let jobs = self.coordinator.jobs.list().into_iter().map(Into::into).collect();
        Ok(Response::new(wire::ListJobsReply { jobs }))
    }

    async fn cancel_job(
        &self,
        request: Request<wire::CancelJobRequest>,
    ) -> Result<Response<wire::CancelJobReply>, Status> {
        let state = self.coordinator.jobs.cancel(JobId(request.into_inner().job))?;
        Ok(Response::new(wire::CancelJobReply { state: wire::JobState::from(state).into() }))
    }

    async fn get_status(
        &self,
        _request: Request<wire::GetStatusRequest>,
    ) -> Result<Response<wire::GetStatusReply>, Status> {
        let coordinator = self.coordinator.clone();
        let status = self.coordinator.ask(move |_| coordinator.status().map_err(of_index)).await?;
        Ok(Response::new(status.into()))
    }

    async fn list_concepts(
        &self,
        request: Request<wire::ListConceptsRequest>,
    ) -> Result<Response<wire::ListConceptsReply>, Status> {
        let model: ModelName = parse(&request.into_inner().model)?;
        let concepts = self.coordinator.ask(move |index| queries::concepts(index, &model)).await?;
        let concepts = concepts.into_iter().map(Into::into).collect();
        Ok(Response::new(wire::ListConceptsReply { concepts }))
    }

    async fn top_units(
        &self,
        request: Request<wire::TopUnitsRequest>,
    ) -> Result<Response<wire::TopUnitsReply>, Status> {
        let (of, query) = top_query(request.into_inner()).map_err(bad)?;
        let top = self.coordinator.ask(move |index| queries::top(index, &of, &query)).await?;
        Ok(Response::new(top.into()))
    }

    async fn show_unit(
        &self,
        request: Request<wire::ShowUnitRequest>,
    ) -> Result<Response<wire::ShowUnitReply>, Status> {
        let request = request.into_inner();
        let model: ModelName = parse(&request.model)?;
        let unit: UnitName = parse(&request.unit)?;
        let recipe = request.recipe.unwrap_or_default().try_into().map_err(bad)?;
        let rows = self.coordinator.ask(move |index| queries::show(index, &model, &unit, recipe)).await?;
        Ok(Response::new(wire::ShowUnitReply { rows: rows.into_iter().map(Into::into).collect() }))
    }

    async fn layer_shares(
        &self,
        request: Request<wire::LayerSharesRequest>,
    ) -> Result<Response<wire::LayerSharesReply>, Status> {
        let request = request.into_inner();
        let of = query_subject(request.of).map_err(bad)?;
        let experts = query_experts(request.experts).map_err(bad)?;
        let rows = self.coordinator.ask(move |index| queries::layers(index, &of, experts)).await?;
        Ok(Response::new(wire::LayerSharesReply { rows: rows.into_iter().map(Into::into).collect() }))
    }

    async fn overlap(&self, request: Request<wire::OverlapRequest>) -> Result<Response<wire::OverlapReply>, Status> {
        let request = request.into_inner();
        let first = query_subject(request.first).map_err(bad)?;
        let second = ConceptId::try_from(request.second.unwrap_or_default()).map_err(bad)?;
        let experts = query_experts(request.experts).map_err(bad)?;
        let answer = self.coordinator.ask(move |index| queries::overlap_of(index, &first, &second, experts)).await?;
        Ok(Response::new(answer.into()))
    }

    async fn nearest(&self, request: Request<wire::NearestRequest>) -> Result<Response<wire::NearestReply>, Status> {
        let request = request.into_inner();
        let of = query_subject(request.of).map_err(bad)?;
        let experts = query_experts(request.experts).map_err(bad)?;
        let rows = self.coordinator.ask(move |index| queries::nearest(index, &of, experts, request.limit)).await?;
        Ok(Response::new(wire::NearestReply { rows: rows.into_iter().map(Into::into).collect() }))
    }

    type ExportStream = Events<wire::ExportEvent>;

    async fn export(&self, request: Request<wire::ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        use wire::export_event::Event;
        let of = query_subject(request.into_inner().of).map_err(bad)?;
        let (header, blocks) = self.coordinator.ask(move |index| queries::export(index, &of)).await?;
        let events = std::iter::once(Event::Header(header.into())).chain(blocks.map(|b| Event::Block(b.into())));
        let events = events.map(|event| Ok(wire::ExportEvent { event: Some(event) }));
        Ok(Response::new(Box::pin(futures::stream::iter(events))))
    }

    async fn render_chat(
        &self,
        request: Request<wire::RenderChatRequest>,
    ) -> Result<Response<wire::RenderChatReply>, Status> {
        let (model, messages) = chat_request(request.into_inner()).map_err(bad)?;
        let prompt = chat::render(&self.coordinator, &model, &messages).await?;
        Ok(Response::new(wire::RenderChatReply { prompt }))
    }

    type GenerateStream = Events<wire::GenerateEvent>;

    async fn generate(
        &self,
        request: Request<wire::GenerateRequest>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        let deadline = deadline_of(request.metadata());
        let request = GenerateRequest::try_from(request.into_inner()).map_err(bad)?;
        let begun = tokio::time::timeout_at(deadline, dispatch::generate(&self.coordinator, request)).await;
        let events = dispatch::until(begun.map_err(|_| dispatch::late())??, deadline);
        Ok(Response::new(Box::pin(events.map(|event| Ok(event?.into())))))
    }
    async fn score(&self, request: Request<wire::ScoreRequest>) -> Result<Response<wire::ScoreReply>, Status> {
        let request = ScoreRequest::try_from(request.into_inner()).map_err(bad)?;
        Ok(Response::new(score_reply(scoring::score(&self.coordinator, request).await?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_read_as_grpc_writes_them() {
        for (text, wait) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("12S", Duration::from_secs(12)),
            ("99999999m", Duration::from_millis(99_999_999)),
            ("5u", Duration::from_micros(5)),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(timeout(text), Some(wait));
        }
        for text in ["", "5", "m", "123456789m", "-1S", "1x", "1\u{e9}"] {
            assert_eq!(timeout(text), None, "{text}");
        }
    }
}
