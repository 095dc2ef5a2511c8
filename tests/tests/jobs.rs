//! Jobs from the outside: detached, watched, cancelled, and with a worker that dies.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::time::{Duration, Instant};

use lode_tests::{Cluster, demo_concepts, demo_model};
use serde_json::Value;

fn submit(cluster: &Cluster) -> String {
    let concepts = demo_concepts().display().to_string();
    let said = cluster.lode(&["--format", "json", "mine", "--model", "m", "--detach", &concepts]).ok();
    let said: Value = serde_json::from_str(&said).unwrap();
    said["job"].as_str().unwrap().to_owned()
}

/// The only job of the cluster.
fn job(cluster: &Cluster) -> Value {
    let said = cluster.lode(&["--format", "json", "jobs"]).ok();
    serde_json::from_str::<Value>(&said).unwrap()[0].clone()
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited a minute for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_detached_job_can_be_watched_to_its_end() {
    let cluster = Cluster::start(2, &demo_model());
    let id = submit(&cluster);
    let summary = cluster.lode(&["--format", "json", "watch", &id]).ok();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((&summary["state"], summary["concepts_indexed"].as_u64()), (&"done".into(), Some(35)));
    // A late watcher hears the same.
    let again: Value = serde_json::from_str(&cluster.lode(&["--format", "json", "watch", &id]).ok()).unwrap();
    assert_eq!(again["concepts"], summary["concepts"]);
    assert_eq!(job(&cluster)["state"], "done");
}

#[test]
fn a_cancelled_job_stops_and_frees_the_worker() {
    let cluster = Cluster::start(1, &demo_model());
    let id = submit(&cluster);
    wait_until("the job runs", || job(&cluster)["tokens_done"].as_u64() > Some(0));
    cluster.lode(&["cancel", &id]).ok();
    let start = Instant::now();
    wait_until("the job is cancelled", || job(&cluster)["state"] == "cancelled");
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(cluster.lode(&["cancel", &id]).refused().contains("cancelled already"));
    assert!(cluster.lode(&["watch", &id]).refused().contains("cancelled"));
    // The worker is free: the next job does not wait for the rest of the first.
    let one = demo_concepts().join("gender/woman.json").display().to_string();
    cluster.lode(&["mine", "--model", "m", &one]).ok();
}

#[test]
fn a_worker_that_dies_costs_only_time() {
    let mut cluster = Cluster::start(2, &demo_model());
    let id = submit(&cluster);
    wait_until("the job runs", || job(&cluster)["tokens_done"].as_u64() > Some(0));
    cluster.workers[0].kill();
    cluster.lode(&["watch", &id]).ok();
    assert_eq!(job(&cluster)["state"], "done");
}
