//! The client's side of the gRPC service: pack, ask, unpack. The only file here that names wire types.

use std::{pin::Pin, time::Duration};

use futures::{Stream, StreamExt as _};
use lode_domain::{
    chat::ChatMessage,
    cluster::ClusterStatus,
    compare::{Experts, LayerShare},
    concept::ConceptId,
    estimate::Estimate,
    event::{JobEvent, JobSpec, JobState, JobStatus},
    expertise::{ExpertiseBlock, Recipe},
    generation::{GenerateEvent, GenerateRequest},
    id::{JobId, ModelName},
    job::Job,
    likelihood::{ScoreRequest, ScoredPassage},
    query::{ConceptRef, ExportHeader, IndexedConcept, Neighbour, OverlapAnswer, TopQuery, TopUnits, UnitInConcept},
    unit::UnitName,
};
use lode_proto::{
    BadCredentials, BearerChannel, Credentials, Fault,
    convert::{BadField, job_parts, scored_passages, top_request},
    distrust,
    wire::{self, export_event, lode_client::LodeClient, submit_job_request::Message},
};

/// How long a coordinator may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of one reply at most: the list of units of a large model is a few.
const MESSAGE_BYTES: usize = 256 << 20;

/// What comes one by one until it ends or fails.
pub type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Fault>> + Send>>;

/// A connection to a coordinator; clones share it.
#[derive(Clone, Debug)]
pub struct Client {
    lode: LodeClient<BearerChannel>,
}

/// A concept's whole expertise, on its way.
pub struct Export {
    /// What it is of.
    pub header: ExportHeader,
    /// All units, in unit order.
    pub blocks: Events<ExpertiseBlock>,
}

impl Client {
    /// Connects to the coordinator at `url`; every call shows the token of `credentials`.
    ///
    /// # Errors
    /// If `url` is none or needs other credentials, or nobody answers there who can be trusted; the message says what to
    /// do.
    pub async fn connect(url: &str, credentials: &Credentials) -> Result<Self, Fault> {
        let bad = |error: BadCredentials| match error {
            BadCredentials::Url(reason) => {
                Fault::invalid(format!("`{url}` is not a coordinator's URL ({reason}); it looks like http://HOST:7400"))
            }
            other => Fault::invalid(format!("cannot connect to {url}: {other}")),
        };
        let bearer = credentials.bearer().map_err(bad)?;
        let endpoint = credentials.endpoint(url).map_err(bad)?;
        let endpoint = endpoint.connect_timeout(CONNECT_PATIENCE).http2_keep_alive_interval(Duration::from_secs(20));
        let channel = endpoint.connect().await.map_err(|error| {
            if let Some(fault) = distrust(&error) {
                return Fault { message: format!("cannot connect to {url}: {fault}"), ..fault };
            }
            let cause = innermost(&error);
            Fault::unavailable(format!(
                "no coordinator at {url} ({cause}): start one with `lode up --model NAME=PATH` or \
                 `lode-coordinator --data-dir DIR`, or use --embedded"
            ))
        })?;
        Ok(Self { lode: LodeClient::with_interceptor(channel, bearer).max_decoding_message_size(MESSAGE_BYTES) })
    }

    /// Starts a mining job.
    ///
    /// # Errors
    /// If the model is unknown or no worker has it.
    pub async fn submit_job(&self, spec: JobSpec, job: Job) -> Result<JobId, Fault> {
        let messages = std::iter::once(Message::Spec(spec.into())).chain(job_parts(job).map(Message::Part));
        let messages = messages.map(|message| wire::SubmitJobRequest { message: Some(message) });
        let reply = self.stub().submit_job(futures::stream::iter(messages)).await?;
        Ok(JobId(reply.into_inner().job))
    }

    /// What a mining job would cost; nothing is run.
    ///
    /// # Errors
    /// If the model is unknown or no worker has it.
    pub async fn estimate_job(&self, spec: JobSpec, job: Job) -> Result<Estimate, Fault> {
        let messages = std::iter::once(Message::Spec(spec.into())).chain(job_parts(job).map(Message::Part));
        let messages = messages.map(|message| wire::SubmitJobRequest { message: Some(message) });
        Ok(self.stub().estimate_job(futures::stream::iter(messages)).await?.into_inner().into())
    }

    /// Everything that has happened to a job, and what will until it ends; without the first `after` events, progress not
    /// counted.
    ///
    /// # Errors
    /// If there is no such job; later faults are in the stream.
    pub async fn watch(&self, job: JobId, after: u64) -> Result<Events<JobEvent>, Fault> {
        let stream = self.stub().watch_job(wire::WatchJobRequest { job: job.0, after }).await?;
        Ok(events(stream.into_inner()))
    }

    /// All jobs since the coordinator started.
    ///
    /// # Errors
    /// If the coordinator fails to answer.
    pub async fn jobs(&self) -> Result<Vec<JobStatus>, Fault> {
        let reply = self.stub().list_jobs(wire::ListJobsRequest {}).await?.into_inner();
        each(reply.jobs)
    }

    /// Stops a job and gives the state it is in afterwards.
    ///
    /// # Errors
    /// If there is no such job, or it has ended.
    pub async fn cancel(&self, job: JobId) -> Result<JobState, Fault> {
        let reply = self.stub().cancel_job(wire::CancelJobRequest { job: job.0 }).await?.into_inner();
        one(reply.state())
    }

    /// The cluster at this moment.
    ///
    /// # Errors
    /// If the coordinator fails to answer.
    pub async fn status(&self) -> Result<ClusterStatus, Fault> {
        one(self.stub().get_status(wire::GetStatusRequest {}).await?.into_inner())
    }

    /// What was mined in a model.
    ///
    /// # Errors
    /// If the model is unknown.
    pub async fn concepts(&self, model: &ModelName) -> Result<Vec<IndexedConcept>, Fault> {
        let request = wire::ListConceptsRequest { model: model.to_string() };
        each(self.stub().list_concepts(request).await?.into_inner().concepts)
    }

    /// A concept's units by AP.
    ///
    /// # Errors
    /// If model or concept are unknown, or the glob cannot be read.
    pub async fn top(&self, of: ConceptRef, query: TopQuery) -> Result<TopUnits, Fault> {
        Ok(self.stub().top_units(top_request(of, query)).await?.into_inner().into())
    }

    /// A unit in all concepts mined under `recipe`, by falling AP.
    ///
    /// # Errors
    /// If the model does not have the unit.
    pub async fn show(&self, model: &ModelName, unit: &UnitName, recipe: Recipe) -> Result<Vec<UnitInConcept>, Fault> {
        let (model, unit) = (model.to_string(), unit.to_string());
        let request = wire::ShowUnitRequest { model, unit, recipe: Some(recipe.into()) };
        one(self.stub().show_unit(request).await?.into_inner())
    }

    /// How a concept's experts spread over the layers, in forward order.
    ///
    /// # Errors
    /// If model or concept are unknown, or a top k does not fit.
    pub async fn layers(&self, of: ConceptRef, experts: Experts) -> Result<Vec<LayerShare>, Fault> {
        let request = wire::LayerSharesRequest { of: Some(of.into()), experts: Some(experts.into()) };
        one(self.stub().layer_shares(request).await?.into_inner())
    }

    /// Two concepts of a model compared.
    ///
    /// # Errors
    /// If model or concepts are unknown, or a top k does not fit.
    pub async fn overlap(
        &self,
        first: ConceptRef,
        second: ConceptId,
        experts: Experts,
    ) -> Result<OverlapAnswer, Fault> {
        let (first, second) = (Some(first.into()), Some(second.into()));
        let request = wire::OverlapRequest { first, second, experts: Some(experts.into()) };
        one(self.stub().overlap(request).await?.into_inner())
    }

    /// The concepts that share most experts with one, at most `limit`.
    ///
    /// # Errors
    /// If model or concept are unknown, or a top k does not fit.
    pub async fn nearest(&self, of: ConceptRef, experts: Experts, limit: u32) -> Result<Vec<Neighbour>, Fault> {
        let request = wire::NearestRequest { of: Some(of.into()), experts: Some(experts.into()), limit };
        one(self.stub().nearest(request).await?.into_inner())
    }

    /// A concept's whole expertise.
    ///
    /// # Errors
    /// If model or concept are unknown; later faults are in the stream.
    pub async fn export(&self, of: ConceptRef) -> Result<Export, Fault> {
        use export_event::Event;
        let mut stream = self.stub().export(wire::ExportRequest { of: Some(of.into()) }).await?.into_inner();
        let Some(wire::ExportEvent { event: Some(Event::Header(header)) }) = stream.message().await? else {
            return Err(Fault::internal("the coordinator sent an export without a header"));
        };
        let blocks = stream.map(|event| match event?.event {
            Some(Event::Block(block)) => one(block),
            _ => Err(Fault::internal("the coordinator sent something else than a block of an export")),
        });
        Ok(Export { header: one(header)?, blocks: Box::pin(blocks) })
    }

    /// Continues a text, with units forced as the request's conditions say.
    ///
    /// # Errors
    /// If model or concepts are unknown, a k does not fit, or no worker has the model; later faults are in the stream.
    pub async fn generate(&self, request: GenerateRequest) -> Result<Events<GenerateEvent>, Fault> {
        let stream = self.stub().generate(wire::GenerateRequest::from(request)).await?;
        Ok(events(stream.into_inner()))
    }

    /// A conversation as the model wants it written out, ready for the assistant's next words.
    ///
    /// # Errors
    /// If the model is unknown, was not made for conversations ([`FaultKind::Precondition`](crate::FaultKind::Precondition)), or does
    /// not take this one.
    pub async fn render_chat(&self, model: &ModelName, messages: Vec<ChatMessage>) -> Result<String, Fault> {
        let messages = messages.into_iter().map(Into::into).collect();
        let request = wire::RenderChatRequest { model: model.to_string(), messages };
        Ok(self.stub().render_chat(request).await?.into_inner().prompt)
    }

    /// How probable given continuations are, `[passage]`, with units forced as the request's conditions say.
    ///
    /// # Errors
    /// If model or concepts are unknown, a k does not fit, a passage does not fit the model's context, or no worker has it.
    pub async fn score(&self, request: ScoreRequest) -> Result<Vec<ScoredPassage>, Fault> {
        let asked: Vec<usize> = request.passages.iter().map(|passage| passage.continuations.len()).collect();
        let reply = self.stub().score(wire::ScoreRequest::from(request)).await?.into_inner();
        scored_passages(reply, &asked).map_err(unexpected)
    }

    /// A call needs a stub of its own; they share the connection.
    fn stub(&self) -> LodeClient<BearerChannel> {
        self.lode.clone()
    }
}

fn one<W, D: TryFrom<W, Error = BadField>>(message: W) -> Result<D, Fault> {
    D::try_from(message).map_err(unexpected)
}

fn each<W, D: TryFrom<W, Error = BadField>>(messages: Vec<W>) -> Result<Vec<D>, Fault> {
    messages.into_iter().map(one).collect()
}

fn events<W: Send + 'static, D: TryFrom<W, Error = BadField>>(stream: tonic::Streaming<W>) -> Events<D> {
    Box::pin(stream.map(|message| one(message?)))
}

/// Here it is the coordinator that said something wrong, not the user.
fn unexpected(bad: BadField) -> Fault {
    Fault::internal(format!("the coordinator's answer cannot be read ({bad}); is it of another version?"))
}

/// "Connection refused" and not "transport error".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
