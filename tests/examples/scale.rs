//! A large cluster without a model: one real coordinator, and workers that make expertise up. What is measured is the
//! coordinator: its processor time and memory, what goes over the wire, and how long a job takes when forward passes cost
//! nothing.
//!
//!     cargo run --release -p lode-tests --example scale -- WORKERS CONCEPTS UNITS [--split]
//!
//! The coordinator is the program beside this one: build it first, `cargo build --release -p lode-coordinator`.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr, reason = "a measurement that fails says so")]

#[path = "../tests/memory/fake.rs"]
mod fake;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use fake::{Fake, concepts, register};
use futures::StreamExt as _;
use lode_client::Client;
use lode_domain::{
    event::{JobEvent, JobSpec, JobState},
    expertise::Recipe,
    job::Job,
    plan::SplitMode,
};
use lode_proto::Credentials;
use lode_tests::{Cluster, Flags};

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| args.get(place).and_then(|text| text.parse().ok()).expect("WORKERS CONCEPTS UNITS");
    let (workers, count, units) = (number(0), number(1), number(2) as u32);
    let split = if args.iter().any(|arg| arg == "--split") { SplitMode::Always } else { SplitMode::Never };
    let coordinator = ["--lease", "30"].map(str::to_owned).to_vec();
    let cluster = Cluster::start_with(Flags { coordinator, ..Flags::default() }, 0, Path::new("no worker has one"));
    let (coordinator, url) = (cluster.coordinator.as_ref().unwrap(), cluster.url());
    let sent = Arc::new(AtomicU64::new(0));
    for worker in 0..workers {
        register(Fake { units, sent: sent.clone() }, worker, url.clone()).await;
    }
    let (idle_seconds, idle_bytes) = (coordinator.processor_seconds(), coordinator.peak_memory());

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
                    let (seconds, peak) = (submitted.elapsed().as_secs_f64(), coordinator.peak_memory());
                    eprintln!("{indexed} indexed, {seconds:.0} s, {} MB at most", peak >> 20);
                }
            }
            JobEvent::ConceptFailed { concept, error } => panic!("{concept}: {error}"),
            JobEvent::Ended { state, error } => assert_eq!(state, JobState::Done, "{error}"),
            JobEvent::Progress(_) | JobEvent::ShardRetried { .. } => {}
        }
    }
    let took = submitted.elapsed().as_secs_f64();
    let (seconds, peak) = (coordinator.processor_seconds(), coordinator.peak_memory());
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
