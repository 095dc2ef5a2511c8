//! The coordinator's memory stays below the bound that ARCHITECTURE.md states, whatever passes through it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod fake;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
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

const CACHE_MIB: u64 = 16;

/// Workers, and concepts of 6 MB: more than the bound in all.
const WORKERS: usize = 4;
const CONCEPTS: usize = 32;
const UNITS: u32 = 300_000;

/// Mines on made-up workers; returns the coordinator's memory at most and the bytes that came.
async fn mined() -> (u64, u64) {
    let coordinator = ["--index-cache".to_owned(), format!("{CACHE_MIB}MiB")].to_vec();
    let cluster = Cluster::start_with(Flags { coordinator, ..Flags::default() }, 0, Path::new("no worker has one"));
    let sent = Arc::new(AtomicU64::new(0));
    for worker in 0..WORKERS {
        register(Fake { units: UNITS, sent: sent.clone() }, worker, cluster.url()).await;
    }
    let client = Client::connect(&cluster.url(), &Credentials::default()).await.unwrap();
    let job = Job::new(&concepts(CONCEPTS)).unwrap();
    let (model, recipe) = ("fake".parse().unwrap(), Recipe::default());
    let spec = JobSpec {
        model,
        recipe,
        limit_per_class: 1000,
        seed: 0,
        strict: false,
        split: SplitMode::Never,
        measures: Default::default(),
    };
    let id = client.submit_job(spec, job).await.unwrap();
    let mut events = client.watch(id, 0).await.unwrap();
    let mut indexed = 0;
    while let Some(event) = events.next().await {
        match event.unwrap() {
            JobEvent::ConceptIndexed(_) => indexed += 1,
            JobEvent::Ended { state, error } => assert_eq!(state, JobState::Done, "{error}"),
            _ => {}
        }
    }
    assert_eq!(indexed, CONCEPTS);
    (cluster.coordinator.as_ref().unwrap().peak_memory(), sent.load(Ordering::Relaxed))
}

/// What ARCHITECTURE.md says ("How large"), without what a large index adds.
const BOUND: u64 = (128 << 20) + 2 * (CACHE_MIB << 20) + WORKERS as u64 * (1 << 20);

#[tokio::test(flavor = "multi_thread")]
async fn more_expertise_than_the_bound_passes_through_it() {
    let (peak, sent) = mined().await;
    println!("{} MB at most of {} MB; {} MB came", peak >> 20, BOUND >> 20, sent >> 20);
    assert!(sent > BOUND, "what came would not show it");
    assert!(peak < BOUND, "{} MB of memory, more than {} MB", peak >> 20, BOUND >> 20);
}
