//! A large cluster without a model: one real coordinator, and workers that make expertise up. What is measured is the
//! coordinator: its processor time and memory, what goes over the wire, and how long a job takes when forward passes cost
//! nothing.
//!
//!     cargo run --release -p lode-tests --example scale -- WORKERS CONCEPTS UNITS [--split]
//!
//! The coordinator is the program beside this one: build it first, `cargo build --release -p lode-coordinator`.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a measurement that fails says so")]

use std::{
    net::SocketAddr,
    path::Path,
    pin::Pin,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt as _};
use lode_client::Client;
use lode_domain::{
    cluster::{PROTOCOL_VERSION, ShardSpec, Summaries, WorkerCard},
    concept::Concept,
    event::{JobEvent, JobSpec, JobState, PartialUnits, Progress, Scored, ShardEvent},
    expertise::{ExpertiseBlock, Recipe},
    id::ModelHash,
    job::Job,
    plan::SplitMode,
    record::ModelRecord,
    unit::{Layer, LayerName},
};
use lode_proto::{
    Credentials,
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

/// Units in a block, as a real worker with some thousands of sentences has them.
const BLOCK_UNITS: u32 = 4096;
/// Sentences that every concept draws: from a pool that all share, as negatives are, and of its own.
const POOL: usize = 20_000;
const NEGATIVES: usize = 1000;
const POSITIVES: usize = 100;

struct Fake {
    units: u32,
    sent: Arc<AtomicU64>,
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
                for (start, units) in starts(((1 << 20) / sentences.max(1)).max(1) as u32) {
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
        Err(Status::unimplemented("the measurement scores nothing"))
    }
}

fn concepts(count: usize) -> Vec<Concept> {
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

/// Processor seconds and the largest memory of a process, from the system.
fn usage(pid: u32) -> (f64, u64) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    (ticks as f64 / 100.0, peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10)
}

struct Coordinator(Child);

impl Drop for Coordinator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start_coordinator(folder: &Path, address: SocketAddr) -> Coordinator {
    let program = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("lode-coordinator");
    let mut command = Command::new(&program);
    command.arg("--data-dir").arg(folder).args(["--grpc", &address.to_string(), "--lease", "30"]);
    command.env("RUST_LOG", "warn,lode_coordinator=info").stdin(Stdio::null());
    command.stderr(std::fs::File::create(folder.join("log")).unwrap());
    Coordinator(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display())))
}

async fn register(worker: usize, units: u32, coordinator: String, sent: Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = WorkerServer::new(Fake { units, sent });
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
            // A coordinator that has gone ends the measurement anyway.
            let _ = registry.heartbeat(HeartbeatRequest { worker: id, url: url.clone() }).await;
        }
    });
}

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| args.get(place).and_then(|text| text.parse().ok()).expect("WORKERS CONCEPTS UNITS");
    let (workers, count, units) = (number(0), number(1), number(2) as u32);
    let split = if args.iter().any(|arg| arg == "--split") { SplitMode::Always } else { SplitMode::Never };
    let folder = tempfile::tempdir().unwrap();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let coordinator = start_coordinator(folder.path(), address);
    let pid = coordinator.0.id();
    let url = format!("http://{address}");
    let sent = Arc::new(AtomicU64::new(0));
    for worker in 0..workers {
        register(worker, units, url.clone(), sent.clone()).await;
    }
    let (idle_seconds, idle_bytes) = usage(pid);

    let started = Instant::now();
    let job = Job::new(&concepts(count)).unwrap();
    println!("{workers} workers, {count} concepts, {units} units, {} distinct sentences", job.sentences.len());
    let client = Client::connect(&url, &Credentials::default()).await.unwrap();
    let recipe = Recipe::default();
    let (model, limit_per_class) = ("fake".parse().unwrap(), 1000);
    let spec = JobSpec { model, recipe, limit_per_class, seed: 0, strict: false, split, measures: Default::default() };
    let asked = Instant::now();
    let estimate = client.estimate_job(spec.clone(), job.clone()).await.unwrap();
    println!(
        "dry run: {:.1} s; {} sentences run of {} unshared",
        asked.elapsed().as_secs_f64(),
        estimate.run_sentences,
        estimate.unshared_sentences
    );
    let submitted = Instant::now();
    let id = client.submit_job(spec, job).await.unwrap();
    let mut events = client.watch(id, 0).await.unwrap();
    let (mut planned, mut indexed, mut first) = (0.0, 0u32, 0.0);
    while let Some(event) = events.next().await {
        match event.unwrap() {
            JobEvent::Planned(_) => planned = submitted.elapsed().as_secs_f64(),
            JobEvent::ConceptIndexed(_) => {
                indexed += 1;
                if indexed == 1 {
                    first = submitted.elapsed().as_secs_f64();
                }
                if indexed % 100 == 0 {
                    let (_, peak) = usage(pid);
                    eprintln!(
                        "{indexed} indexed, {:.0} s, {} MB at most",
                        submitted.elapsed().as_secs_f64(),
                        peak >> 20
                    );
                }
            }
            JobEvent::ConceptFailed { concept, error } => panic!("{concept}: {error}"),
            JobEvent::Ended { state, error } => assert_eq!(state, JobState::Done, "{error}"),
            JobEvent::Progress(_) | JobEvent::ShardRetried { .. } => {}
        }
    }
    let took = submitted.elapsed().as_secs_f64();
    let (seconds, peak) = usage(pid);
    let index_bytes = client.status().await.unwrap().index_bytes;
    println!("planned after {planned:.1} s, first concept after {first:.1} s, all {indexed} after {took:.1} s");
    println!(
        "coordinator: {:.1} processor seconds, {:.0} ms a concept, {:.2} cores on average",
        seconds - idle_seconds,
        1e3 * (seconds - idle_seconds) / f64::from(indexed),
        (seconds - idle_seconds) / took
    );
    println!("memory: {} MB at most, {} MB before the job", peak >> 20, idle_bytes >> 20);
    let wire = sent.load(Ordering::Relaxed);
    println!("wire: {:.2} GB from workers, {:.0} MB/s", wire as f64 / 1e9, wire as f64 / 1e6 / took);
    println!("index: {:.2} GB on disk", index_bytes as f64 / 1e9);
    println!("in all {:.1} s", started.elapsed().as_secs_f64());
}
