//! The coordinator's end of a worker's gRPC service.

use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use lode_domain::{
    cluster::ShardSpec,
    event::ShardEvent,
    generation::{GenerateEvent, ResolvedRequest},
    job::Job,
};
use lode_proto::{
    Fault,
    convert::job_parts,
    wire::{self, mine_request::Message},
};
use tonic::transport::{Channel, Endpoint};

/// How long a worker may take to accept a connection.
const REACH: Duration = Duration::from_secs(3);
/// Bytes of one message at most; blocks are about a megabyte.
const MESSAGE_BYTES: usize = 64 << 20;

/// A lazily connected worker.
#[derive(Clone)]
pub(crate) struct WorkerClient {
    endpoint: Endpoint,
    stub: wire::worker_client::WorkerClient<Channel>,
}

impl WorkerClient {
    /// A client of the worker at `url`; nothing is connected yet.
    pub(crate) fn new(url: &str) -> Result<Self, Fault> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| Fault::invalid(format!("`{url}` is not a worker's URL: {error}")))?
            .connect_timeout(REACH)
            .tcp_nodelay(true)
            // A peer that is frozen or cut off is noticed while a stream is open.
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10));
        let stub = wire::worker_client::WorkerClient::new(endpoint.connect_lazy());
        Ok(Self { endpoint, stub: stub.max_decoding_message_size(MESSAGE_BYTES) })
    }

    /// Whether somebody accepts connections there.
    ///
    /// # Errors
    /// If nobody does within a few seconds.
    pub(crate) async fn reach(&self) -> Result<(), Fault> {
        let url = self.endpoint.uri();
        match tokio::time::timeout(REACH, self.endpoint.connect()).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Fault::unavailable(format!(
                "the coordinator cannot reach the worker at {url}: --advertise must name it as others see it"
            ))),
        }
    }

    /// Has a shard mined.
    ///
    /// # Errors
    /// If the worker cannot be reached or refuses; later faults are in the stream.
    pub(crate) async fn mine(
        &self,
        spec: ShardSpec,
        shard: Job,
    ) -> Result<impl Stream<Item = Result<ShardEvent, Fault>> + Send + Unpin + use<>, Fault> {
        let first = stream::iter([Message::Spec(spec.into())]);
        let messages = first.chain(stream::iter(job_parts(shard).map(Message::Part)));
        let requests = messages.map(|message| wire::MineRequest { message: Some(message) });
        let events = self.stub.clone().mine(requests).await?.into_inner();
        Ok(events.map(|event| Ok(ShardEvent::try_from(event?)?)))
    }

    /// Has text generated.
    ///
    /// # Errors
    /// If the worker cannot be reached or refuses; later faults are in the stream.
    pub(crate) async fn generate(
        &self,
        request: ResolvedRequest,
    ) -> Result<impl Stream<Item = Result<GenerateEvent, Fault>> + Send + Unpin + use<>, Fault> {
        let events = self.stub.clone().generate(wire::WorkerGenerateRequest::from(request)).await?.into_inner();
        Ok(events.map(|event| Ok(GenerateEvent::try_from(event?)?)))
    }
}
