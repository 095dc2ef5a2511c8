//! The gRPC service that the coordinator speaks to.

use std::{num::NonZeroU32, pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _};
use lode_domain::{
    cluster::{ShardSpec, Summaries},
    generation::ResolvedRequest,
    guide::Reader,
    id::ModelHash,
    job::Job,
    likelihood::ResolvedScore,
};
use lode_model::{Model, SequenceRequest};
use lode_proto::{
    Fault,
    convert::{BadField, JobAssembly, held_question, score_reply},
    wire::{self, mine_request::Message, worker_server},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use crate::{
    conditions::Kept,
    device::{Device, GenerateTask},
    fault::{device_died, of_model},
    held::Held,
    scoring::score,
    shard::{PreparedShard, Room, count_tokens, prepare},
};

/// Events of a shard between the device and the stream; a full channel blocks the scoring thread.
const IN_FLIGHT: usize = 16;
/// Samples of one request at most.
const MOST_SAMPLES: u32 = 1024;

/// See [`worker_server::Worker`].
pub(crate) struct Desk {
    model: Arc<Model>,
    device: Device,
    held: Held,
    kept: Kept,
    room: Room,
    seats: Seats,
    stop: Stop,
}

/// A permit for every sample that may be generated.
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    most: u32,
}

impl Seats {
    pub(crate) fn new(most: NonZeroU32) -> Self {
        Self { free: Arc::new(Semaphore::new(most.get() as usize)), most: most.get() }
    }

    /// Seats for `samples`; a request for more than there ever are takes all of them.
    fn take(&self, samples: u32) -> Result<OwnedSemaphorePermit, Fault> {
        let taken = self.free.clone().try_acquire_many_owned(samples.min(self.most));
        taken.map_err(|_| {
            let free = self.free.available_permits();
            Fault::exhausted(format!("{samples} samples are asked for, and {free} of {} places are free", self.most))
        })
    }
}

/// What ends open streams.
#[derive(Clone)]
pub(crate) struct Stop {
    pub(crate) mining: CancellationToken,
    pub(crate) generating: CancellationToken,
}

type Events<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Desk {
    pub(crate) fn new(model: Arc<Model>, device: Device, held: Held, room: Room, seats: Seats, stop: Stop) -> Self {
        let kept = Kept::new(model.clone());
        Self { model, device, held, kept, room, seats, stop }
    }

    /// What is sent must be meant for this model.
    fn check_model(&self, hash: ModelHash) -> Result<(), Fault> {
        if hash == self.model.hash() {
            return Ok(());
        }
        let (own, asked) = (self.model.hash().short(), hash.short());
        Err(Fault::precondition(format!("this worker has model {own}, the request is for {asked}")))
    }

    /// Puts a shard's messages together; what a finished summary asks for has concepts, what a partial one does has none.
    async fn receive(&self, mut messages: Streaming<wire::MineRequest>) -> Result<(ShardSpec, JobAssembly), Status> {
        let Some(wire::MineRequest { message: Some(Message::Spec(spec)) }) = messages.message().await? else {
            return Err(Fault::invalid("the first message of a shard must be its spec").into());
        };
        let spec = ShardSpec::try_from(spec).map_err(bad)?;
        self.check_model(spec.model)?;
        let mut assembly = JobAssembly::default();
        while let Some(message) = messages.message().await? {
            let Some(Message::Part(part)) = message.message else {
                return Err(Fault::invalid("after its spec a shard has only parts").into());
            };
            assembly.take(part).map_err(bad)?;
        }
        Ok((spec, assembly))
    }

    /// Tokenises a shard on the threads that may block.
    async fn prepare(&self, spec: ShardSpec, shard: Job) -> Result<PreparedShard, Fault> {
        let (model, room) = (self.model.clone(), self.room.clone());
        let prepared = tokio::task::spawn_blocking(move || prepare(&model, spec, &shard, &room)).await;
        prepared.map_err(|error| Fault::internal(format!("tokenising the shard failed: {error}")))?
    }
}

/// The events as a stream that ends when the worker stops.
fn stream<D, W>(
    events: impl Stream<Item = Result<D, Fault>> + Send + 'static,
    stop: &CancellationToken,
) -> Response<Events<W>>
where
    D: Send + 'static,
    W: From<D> + Send + 'static,
{
    let stopped = futures::stream::once(stop.clone().cancelled_owned())
        .map(|()| Err(Fault::unavailable("the worker is shutting down").into()));
    let events = events.map(|event| Ok(W::from(event?)));
    // Whichever comes first; after the stop nothing more is read.
    let ended = events.map(Some).chain(futures::stream::once(async { None }));
    let both = futures::stream::select(ended, stopped.map(Some));
    let until_end = both.take_while(|event| std::future::ready(event.is_some())).filter_map(std::future::ready);
    Response::new(Box::pin(until_end))
}

fn bad(field: BadField) -> Status {
    Fault::from(field).into()
}

#[tonic::async_trait]
impl worker_server::Worker for Desk {
    type MineStream = Events<wire::MineEvent>;

    async fn mine(&self, request: Request<Streaming<wire::MineRequest>>) -> Result<Response<Self::MineStream>, Status> {
        let (spec, assembly) = self.receive(request.into_inner()).await?;
        let shard = match spec.summaries {
            Summaries::Finished => assembly.finish().map_err(bad)?,
            Summaries::Partial => Job { sentences: assembly.finish_sentences().map_err(bad)?, concepts: Vec::new() },
        };
        let span = tracing::info_span!("shard", job = %spec.job, shard = %spec.shard);
        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        async {
            let prepared = self.prepare(spec, shard).await?;
            self.device.mine(prepared, sender)
        }
        .instrument(span)
        .await?;
        Ok(stream(ReceiverStream::new(receiver), &self.stop.mining))
    }

    async fn count_tokens(
        &self,
        request: Request<Streaming<wire::MineRequest>>,
    ) -> Result<Response<wire::CountTokensReply>, Status> {
        let (spec, assembly) = self.receive(request.into_inner()).await?;
        let sentences = assembly.finish_sentences().map_err(bad)?;
        let model = self.model.clone();
        let counted = tokio::task::spawn_blocking(move || count_tokens(&model, &spec, &sentences)).await;
        let tokens = counted.map_err(|error| Fault::internal(format!("tokenising failed: {error}")))??;
        Ok(Response::new(wire::CountTokensReply { tokens }))
    }

    async fn find_held(
        &self,
        request: Request<wire::FindHeldRequest>,
    ) -> Result<Response<wire::FindHeldReply>, Status> {
        let (model, keys) = held_question(&request.into_inner()).map_err(bad)?;
        self.check_model(model)?;
        let held = self.held.find(&keys).into_iter().map(u8::from).collect();
        Ok(Response::new(wire::FindHeldReply { held }))
    }

    type GenerateStream = Events<wire::GenerateEvent>;

    async fn generate(
        &self,
        request: Request<wire::WorkerGenerateRequest>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        let request = ResolvedRequest::try_from(request.into_inner()).map_err(bad)?;
        self.check_model(request.model)?;
        if request.samples > MOST_SAMPLES {
            let asked = request.samples;
            return Err(Fault::invalid(format!("{asked} samples are asked for: at most {MOST_SAMPLES}")).into());
        }
        // Long prompts take a while, and other calls and heartbeats share the runtime's threads.
        let (model, text) = (self.model.clone(), request.prompt.clone());
        let encode = move || model.text().encode_prompt(&text).map_err(of_model);
        let prompt = tokio::task::spawn_blocking(encode).await.map_err(|_| device_died())??.into();
        let conditions = Arc::new(self.kept.conditions(request.interventions)?);
        let watch = Arc::new(self.kept.watch(request.observations)?);
        // A token each step, and the end.
        let steps = (request.sampling.max_new_tokens as usize).min(self.model.context_len()) + 2;
        let samples = 0..request.samples;
        let (events, receiver) = mpsc::channel(steps * samples.len());
        let seats = self.seats.take(request.samples)?;
        let guide = request.guide.map(|guide| Reader::new(guide).map(Arc::new)).transpose().map_err(Fault::invalid)?;
        let request = SequenceRequest { prompt, conditions, watch, guide, sampling: request.sampling, samples };
        self.device.generate(GenerateTask { request, events })?;
        let events = ReceiverStream::new(receiver).inspect(move |_| {
            let _held = &seats;
        });
        Ok(stream(events, &self.stop.generating))
    }
    async fn score(&self, request: Request<wire::WorkerScoreRequest>) -> Result<Response<wire::ScoreReply>, Status> {
        let request = ResolvedScore::try_from(request.into_inner()).map_err(bad)?;
        self.check_model(request.model)?;
        Ok(Response::new(score_reply(score(&self.model, &self.device, request).await?)))
    }
}
