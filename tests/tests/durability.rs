//! kill -9 and a full disk lose nothing that was acknowledged, and leave no half of anything.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};

use lode_tests::{Cluster, binary, demo_concepts, demo_model};
use serde_json::Value;

/// The concepts that stand in the index.
fn indexed(cluster: &Cluster) -> Vec<String> {
    let listed = cluster.lode(&["--format", "json", "concepts", "--model", "m"]).ok();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed.as_array().unwrap().iter().map(|row| row["concept"].as_str().unwrap().to_owned()).collect()
}

fn export(cluster: &Cluster, concept: &str) -> String {
    cluster.lode(&["export", "--model", "m", "--concept", concept, "--format", "csv", "--out", "-"]).ok()
}

fn exports(cluster: &Cluster) -> BTreeMap<String, String> {
    indexed(cluster).into_iter().map(|concept| (concept.clone(), export(cluster, &concept))).collect()
}

fn mine_all(cluster: &Cluster) {
    cluster.lode(&["mine", "--model", "m", &demo_concepts().display().to_string()]).ok();
}

/// Kills the coordinator while concepts are being committed, at several moments; what stands afterwards is whole, what was
/// acknowledged is there, and the job goes on to the same bytes.
#[test]
fn a_killed_coordinator_comes_back_whole() {
    let undisturbed = Cluster::start(1, &demo_model());
    mine_all(&undisturbed);
    let expected = exports(&undisturbed);
    drop(undisturbed);

    for committed in [1, 5, 20] {
        let mut cluster = Cluster::start(1, &demo_model());
        let concepts = demo_concepts().display().to_string();
        let mut client = cluster.spawn_lode(&["mine", "--model", "m", &concepts]);
        let start = Instant::now();
        while indexed(&cluster).len() < committed && start.elapsed() < Duration::from_secs(60) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let acknowledged = indexed(&cluster);
        cluster.kill_coordinator();
        cluster.start_coordinator();
        let found = exports(&cluster);
        for concept in acknowledged {
            assert!(found.contains_key(&concept), "{concept} was acknowledged");
        }
        for (concept, csv) in &found {
            assert!(expected[concept] == *csv, "{concept} is not what an undisturbed run gives");
        }
        // The worker finds its way back by itself, the job goes on, and whoever followed it sees its end.
        assert!(client.wait().success(), "{}", client.log());
        assert!(exports(&cluster) == expected, "after a kill at {committed} concepts");
    }
}

/// A limit on file size stands for a full disk: writes beyond it fail in the same place, and no root is needed.
#[test]
fn a_full_disk_fails_the_job_and_spares_the_index() {
    let mut cluster = Cluster::start(0, &demo_model());
    cluster.start_worker(&demo_model());
    let first = demo_concepts().join("gender/woman.json").display().to_string();
    cluster.lode(&["mine", "--model", "m", &first]).ok();
    let before = exports(&cluster);
    assert_eq!(before.len(), 1);
    cluster.kill_coordinator();

    let mut limited = Command::new("sh");
    // 512-byte blocks: enough to open the index, not to take 34 more concepts.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 8192; exec \"$0\" \"$@\""]);
    limited.arg(binary("lode-coordinator")).args(cluster.coordinator_args());
    cluster.start_coordinator_as(limited);
    cluster.workers.clear();
    cluster.start_worker(&demo_model());
    let said = cluster.lode(&["mine", "--model", "m", &demo_concepts().display().to_string()]).refused();
    assert!(said.contains("full") || said.contains("space"), "{said}");

    cluster.kill_coordinator();
    cluster.start_coordinator();
    let after = exports(&cluster);
    for (concept, csv) in &before {
        assert!(after[concept] == *csv, "{concept} was there before");
    }
    // Whatever else stands there is whole: it is what a coordinator with room gives.
    cluster.workers.clear();
    cluster.start_worker(&demo_model());
    mine_all(&cluster);
    let complete = exports(&cluster);
    assert_eq!(complete.len(), 35);
    for (concept, csv) in &after {
        assert!(complete[concept] == *csv, "{concept} is not whole");
    }
}

/// Ctrl-C and SIGTERM end programs in good order.
#[test]
fn programs_stop_when_they_are_asked_to() {
    let mut cluster = Cluster::start(1, &demo_model());
    let mut worker = cluster.workers.remove(0);
    worker.terminate();
    assert!(worker.wait().success(), "{}", worker.log());
    let mut coordinator = cluster.coordinator.take().unwrap();
    assert!(coordinator.log().contains("it said goodbye"), "{}", coordinator.log());
    coordinator.terminate();
    assert!(coordinator.wait().success(), "{}", coordinator.log());
}
