//! Workers without a model: they make expertise up, as fast as it is taken.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::Stream;
use lode_domain::{
    cluster::{PROTOCOL_VERSION, ShardSpec, Summaries, WorkerCard},
    concept::Concept,
    event::{PartialUnits, Progress, Scored, ShardEvent},
    expertise::ExpertiseBlock,
    id::ModelHash,
    job::Job,
    record::ModelRecord,
    unit::{Layer, LayerName},
};
use lode_proto::{
    convert::JobAssembly,
    wire::{
        self, HeartbeatRequest, RegisterRequest,
        mine_request::Message,
        registry_client::RegistryClient,
        worker_server::{self, WorkerServer},
    },
};
use prost::Message as _;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

/// Units in a block: as many as a real worker sends at most.
const BLOCK_UNITS: u32 = 4096;
/// Responses in a message of a partial summary, as a real worker has them.
const MESSAGE_RESPONSES: usize = 1 << 20;
/// Sentences that every concept draws: from a pool that all share, as negatives are, and of its own.
const POOL: usize = 20_000;
const NEGATIVES: usize = 1000;
const POSITIVES: usize = 100;

/// What a made-up worker is.
#[derive(Clone)]
pub struct Fake {
    /// Units of its model.
    pub units: u32,
    /// Bytes that it and its clones have sent of summaries.
    pub sent: Arc<AtomicU64>,
}

/// A number in [0, 1) that looks like nothing in particular.
fn hash(a: u64, b: u64) -> f32 {
    let mut x = a.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ b.wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 32;
    (x >> 40) as f32 / (1u64 << 24) as f32
}

fn block(concept: u64, start: u32, units: u32) -> ExpertiseBlock {
    let column = |column: u64| (start..start + units).map(|unit| hash(concept * 5 + column, unit.into())).collect();
    ExpertiseBlock::from_columns(start, std::array::from_fn(|number| column(number as u64))).unwrap()
}

impl Fake {
    fn events(&self, spec: &ShardSpec, shard: &Job) -> Vec<Box<dyn FnOnce() -> ShardEvent + Send>> {
        let mut events: Vec<Box<dyn FnOnce() -> ShardEvent + Send>> = Vec::new();
        let (sentences, units) = (shard.sentences.len(), self.units);
        let done = Progress {
            tokens_done: sentences as u64 * 34,
            tokens_total: sentences as u64 * 34,
            sentences_done: sentences as u32,
            sentences_total: sentences as u32,
        };
        events.push(Box::new(move || ShardEvent::Progress(done)));
        let starts = |step: u32| (0..units).step_by(step as usize).map(move |start| (start, step.min(units - start)));
        match spec.summaries {
            Summaries::Finished => {
                for (start, units) in starts(BLOCK_UNITS) {
                    for concept in 0..shard.concepts.len() as u32 {
                        let seed = u64::from(concept) + 1000 * spec.shard.0;
                        events.push(Box::new(move || ShardEvent::Block { concept, block: block(seed, start, units) }));
                    }
                }
                for (concept, labels) in (0..).zip(&shard.concepts) {
                    let (positives, negatives) = (labels.positive.len() as u32, labels.negative.len() as u32);
                    let outcome = Ok(Scored { positives, negatives, ..Scored::default() });
                    events.push(Box::new(move || ShardEvent::ConceptDone { concept, outcome }));
                }
            }
            Summaries::Partial => {
                events.push(Box::new(|| ShardEvent::Dropped(Vec::new())));
                let seed = spec.shard.0;
                for (start, units) in starts((MESSAGE_RESPONSES / sentences.max(1)).max(1) as u32) {
                    events.push(Box::new(move || {
                        let of = |unit| (0..sentences as u64).map(move |sentence| hash(seed << 32 | sentence, unit));
                        let responses = (start..start + units).flat_map(|unit| of(unit.into())).collect();
                        ShardEvent::Partial(PartialUnits { start, units, responses })
                    }));
                }
            }
        }
        events
    }
}

async fn received(mut messages: Streaming<wire::MineRequest>) -> Result<(ShardSpec, Job), Status> {
    let Some(wire::MineRequest { message: Some(Message::Spec(spec)) }) = messages.message().await? else {
        return Err(Status::invalid_argument("no spec"));
    };
    let spec = ShardSpec::try_from(spec).unwrap();
    let mut assembly = JobAssembly::default();
    while let Some(wire::MineRequest { message: Some(Message::Part(part)) }) = messages.message().await? {
        assembly.take(part).unwrap();
    }
    let job = match spec.summaries {
        Summaries::Finished => assembly.finish().unwrap(),
        Summaries::Partial => Job { sentences: assembly.finish_sentences().unwrap(), concepts: Vec::new() },
    };
    Ok((spec, job))
}

#[tonic::async_trait]
impl worker_server::Worker for Fake {
    type MineStream = Pin<Box<dyn Stream<Item = Result<wire::MineEvent, Status>> + Send>>;

    async fn mine(&self, request: Request<Streaming<wire::MineRequest>>) -> Result<Response<Self::MineStream>, Status> {
        let (spec, shard) = received(request.into_inner()).await?;
        let (sender, receiver) = mpsc::channel(4);
        let (events, sent) = (self.events(&spec, &shard), self.sent.clone());
        std::thread::spawn(move || {
            for event in events {
                let event = wire::MineEvent::from(event());
                sent.fetch_add(event.encoded_len() as u64, Ordering::Relaxed);
                if sender.blocking_send(Ok(event)).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn count_tokens(
        &self,
        request: Request<Streaming<wire::MineRequest>>,
    ) -> Result<Response<wire::CountTokensReply>, Status> {
        let (_, shard) = received(request.into_inner()).await?;
        Ok(Response::new(wire::CountTokensReply { tokens: vec![34; shard.sentences.len()] }))
    }

    async fn find_held(
        &self,
        request: Request<wire::FindHeldRequest>,
    ) -> Result<Response<wire::FindHeldReply>, Status> {
        Ok(Response::new(wire::FindHeldReply { held: vec![0; request.into_inner().keys.len() / 16] }))
    }

    type GenerateStream = Pin<Box<dyn Stream<Item = Result<wire::GenerateEvent, Status>> + Send>>;

    async fn generate(
        &self,
        _request: Request<wire::WorkerGenerateRequest>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        Err(Status::unimplemented("it has no model"))
    }

    async fn score(&self, _request: Request<wire::WorkerScoreRequest>) -> Result<Response<wire::ScoreReply>, Status> {
        Err(Status::unimplemented("it has no model"))
    }
}

/// Concepts of 1,100 sentences, most of them drawn from a pool that all share.
pub fn concepts(count: usize) -> Vec<Concept> {
    let negative = |concept: usize, i: usize| {
        let number = (hash(concept as u64, i as u64) * POOL as f32) as usize;
        format!("a sentence of the common pool of about the length that sentences have, number {number}")
    };
    let concept = |number| Concept {
        id: format!("scale/c{number:05}").parse().unwrap(),
        positive: (0..POSITIVES).map(|i| format!("sentence {i} of concept {number}, which no other has")).collect(),
        negative: (0..NEGATIVES).map(|i| negative(number, i)).collect(),
    };
    (0..count).map(concept).collect()
}

/// Has a made-up worker serve, and registers it once the coordinator is there.
pub async fn register(fake: Fake, worker: usize, coordinator: String) {
    let units = fake.units;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = WorkerServer::new(fake);
    tokio::spawn(
        tonic::transport::Server::builder().add_service(server).serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let model = ModelRecord {
        name: "fake".parse().unwrap(),
        hash: ModelHash([7; 32]),
        family: "gpt2".into(),
        context_len: 1024,
        layers: vec![Layer { name: LayerName::new("transformer.h.0.mlp.c_fc"), units }],
    };
    let card = WorkerCard {
        url: url.clone(),
        software_version: "0".into(),
        protocol_version: PROTOCOL_VERSION,
        device: format!("fake {worker}"),
        precision: "f32".into(),
        memory_budget: 1 << 40,
        tokens_per_second: 20_000.0,
        sequences: 1,
        model,
        chat: None,
    };
    let mut registry = loop {
        match RegistryClient::connect(coordinator.clone()).await {
            Ok(registry) => break registry,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let id = registry.register(RegisterRequest::from(card)).await.unwrap().into_inner().worker;
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            // A coordinator that has gone ends it all anyway.
            let _ = registry.heartbeat(HeartbeatRequest { worker: id, url: url.clone() }).await;
        }
    });
}
