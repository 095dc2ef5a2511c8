//! Jobs from the outside: detached, watched, cancelled, and with a worker that dies.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lode_tests::{Cluster, Program, demo_concepts, demo_model};
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

/// Every worker of a coordinator that was killed comes back, and none is taken for another.
#[test]
fn workers_find_a_restarted_coordinator() {
    let mut cluster = Cluster::start(3, &demo_model());
    let urls = |cluster: &Cluster| {
        let status: Value = serde_json::from_str(&cluster.lode(&["--format", "json", "status"]).ok()).unwrap();
        let workers = status["workers"].as_array().unwrap().clone();
        workers.iter().map(|worker| worker["url"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let before = urls(&cluster);
    assert_eq!(before.len(), 3);
    for _ in 0..3 {
        cluster.kill_coordinator();
        cluster.start_coordinator();
        wait_until("all three are back", || urls(&cluster) == before);
        // Numbers began anew; a heartbeat under an old number must not keep another worker alive.
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(urls(&cluster), before);
    }
}

#[test]
fn a_worker_that_cannot_be_reached_is_not_given_work() {
    let mut cluster = Cluster::start(1, &demo_model());
    let mut args = cluster.worker_args(&demo_model());
    args.extend(["--advertise".to_owned(), "http://127.0.0.1:9".to_owned()]);
    let mut lost = Program::start("lode-worker", cluster.folder(), args);
    lost.wait_for("--advertise must name it as others see it");
    cluster.lode(&["mine", "--model", "m", &demo_concepts().display().to_string()]).ok();
    cluster.workers.push(lost);
}

#[test]
fn generation_goes_round_a_dead_worker() {
    let mut cluster = Cluster::start(2, &demo_model());
    for victim in 0..2 {
        let ask = ["generate", "--model", "m", "--prompt", "We", "--max-new-tokens", "4"];
        for _ in 0..3 {
            cluster.lode(&ask).ok();
        }
        if victim == 0 {
            cluster.workers[0].kill();
        }
    }
    cluster.workers[1].kill();
    let said = cluster.lode(&["generate", "--model", "m", "--prompt", "We"]).refused();
    assert!(said.contains("no worker has model `m`"), "{said}");
}
