//! The coordinator's end of a worker's gRPC service.

use std::time::Duration;

use futures::{Stream, StreamExt as _, stream};
use lode_domain::{
    cluster::ShardSpec,
    event::ShardEvent,
    generation::{GenerateEvent, ResolvedRequest},
    id::ModelHash,
    job::Job,
    likelihood::{ResolvedScore, ScoredPassage},
    sentence::SentenceKey,
};
use lode_proto::{
    BadCredentials, BearerChannel, Credentials, Fault, FaultKind,
    convert::{find_held, job_parts, scored_passages},
    distrust,
    wire::{self, mine_request::Message},
};
use tonic::transport::Endpoint;

use crate::sent::{Named, Sent};

/// How long a worker may take to accept a connection.
const REACH: Duration = Duration::from_secs(3);
/// Bytes of one message at most; blocks are about a megabyte.
const MESSAGE_BYTES: usize = 64 << 20;

/// A lazily connected worker.
#[derive(Clone)]
pub(crate) struct WorkerClient {
    endpoint: Endpoint,
    stub: wire::worker_client::WorkerClient<BearerChannel>,
    /// What the worker was sent and should hold.
    sent: Sent,
}

impl WorkerClient {
    /// A client of the worker at `url`; nothing is connected yet.
    ///
    /// # Errors
    /// If it is no URL, or one that needs other credentials.
    pub(crate) fn new(url: &str, credentials: &Credentials) -> Result<Self, Fault> {
        let bad = |error: BadCredentials| Fault::invalid(of_worker(url, &error));
        let bearer = credentials.bearer().map_err(bad)?;
        let endpoint = credentials
            .endpoint(url)
            .map_err(bad)?
            .connect_timeout(REACH)
            .tcp_nodelay(true)
            // A peer that is frozen or cut off is noticed while a stream is open.
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10));
        let stub = wire::worker_client::WorkerClient::with_interceptor(endpoint.connect_lazy(), bearer);
        let stub = stub.max_decoding_message_size(MESSAGE_BYTES);
        Ok(Self { endpoint, stub, sent: Sent::default() })
    }

    /// Whether somebody accepts connections there.
    ///
    /// # Errors
    /// If nobody does within a few seconds.
    pub(crate) async fn reach(&self) -> Result<(), Fault> {
        let url = self.endpoint.uri();
        let unreachable = || {
            Fault::unavailable(format!(
                "the coordinator cannot reach the worker at {url}: --advertise must name it as others see it"
            ))
        };
        match tokio::time::timeout(REACH, self.endpoint.connect()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(distrust(&error).unwrap_or_else(unreachable)),
            Err(_) => Err(unreachable()),
        }
    }

    /// Whether the worker there knows the credentials, and has the model. Whoever registers an address shows a token: this tells
    /// that it is the worker's own, for a worker lets only its own in.
    ///
    /// # Errors
    /// If it does not, or cannot be reached.
    pub(crate) async fn recognise(&self, model: ModelHash) -> Result<(), Fault> {
        let silent = || Fault::unavailable(format!("the worker at {} does not answer", self.endpoint.uri()));
        match tokio::time::timeout(REACH, self.find_held(model, &[])).await.unwrap_or_else(|_| Err(silent())) {
            Ok(_) => Ok(()),
            Err(fault) if matches!(fault.kind, FaultKind::Unauthenticated | FaultKind::Denied) => {
                Err(Fault::denied(format!(
                    "the worker at {} does not know the token that was shown: each worker registers itself, under its own \
                     --advertise and with its own token",
                    self.endpoint.uri()
                )))
            }
            Err(fault) => Err(fault),
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

    /// How many tokens each of `sentences` has, `[sentence]`; 0 for one that is dropped.
    ///
    /// # Errors
    /// If the worker cannot be reached or refuses.
    pub(crate) async fn count_tokens(&self, spec: ShardSpec, sentences: Vec<String>) -> Result<Vec<u32>, Fault> {
        let expected = sentences.len();
        let first = stream::iter([Message::Spec(spec.into())]);
        let parts = job_parts(Job { sentences, concepts: Vec::new() });
        let messages = first.chain(stream::iter(parts.map(Message::Part)));
        let requests = messages.map(|message| wire::MineRequest { message: Some(message) });
        let tokens = self.stub.clone().count_tokens(requests).await?.into_inner().tokens;
        if tokens.len() != expected {
            return Err(Fault::internal(format!("it counted {} of {expected} sentences", tokens.len())));
        }
        Ok(tokens)
    }

    /// For each key, whether the worker holds the sentence's responses.
    ///
    /// # Errors
    /// If the worker cannot be reached or refuses.
    pub(crate) async fn find_held(&self, model: ModelHash, keys: &[SentenceKey]) -> Result<Vec<bool>, Fault> {
        let held = self.stub.clone().find_held(find_held(model, keys)).await?.into_inner().held;
        if held.len() != keys.len() {
            return Err(Fault::internal(format!("it answered for {} of {} sentences", held.len(), keys.len())));
        }
        Ok(held.into_iter().map(|byte| byte != 0).collect())
    }

    /// Has text generated. Resolved conditions that the worker holds from before are only named.
    ///
    /// # Errors
    /// If the worker cannot be reached or refuses; later faults are in the stream.
    pub(crate) async fn generate(
        &self,
        request: ResolvedRequest,
    ) -> Result<impl Stream<Item = Result<GenerateEvent, Fault>> + Send + Unpin + use<>, Fault> {
        let (short, named) = self.sent.shorten(&request);
        let ask = |request: ResolvedRequest| async {
            Ok::<_, Fault>(self.stub.clone().generate(wire::WorkerGenerateRequest::from(request)).await?.into_inner())
        };
        let events = match ask(short).await {
            // It was started anew, or had to make room.
            Err(fault) if fault.kind == FaultKind::NotFound && named == Named::Some => {
                self.sent.forget(&request);
                ask(request.clone()).await?
            }
            events => events?,
        };
        self.sent.learn(&request);
        Ok(events.map(|event| Ok(GenerateEvent::try_from(event?)?)))
    }

    /// Has continuations scored, `[passage]`.
    ///
    /// # Errors
    /// If the worker cannot be reached or refuses.
    pub(crate) async fn score(&self, request: ResolvedScore) -> Result<Vec<ScoredPassage>, Fault> {
        let asked: Vec<usize> = request.passages.iter().map(|passage| passage.continuations.len()).collect();
        let reply = self.stub.clone().score(wire::WorkerScoreRequest::from(request)).await?.into_inner();
        scored_passages(reply, &asked).map_err(|bad| Fault::internal(format!("its answer cannot be read: {bad}")))
    }
}

/// Why a worker's URL cannot be called.
fn of_worker(url: &str, error: &BadCredentials) -> String {
    match error {
        BadCredentials::NoAuthority => {
            format!("the worker at {url} speaks TLS, but the coordinator has no --tls-client-ca to check it with")
        }
        error => format!("`{url}` is not a worker's URL: {error}"),
    }
}
