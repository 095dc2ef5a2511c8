//! Who may do a shard, and whose result counts: two workers at once, one that has failed at it, one that computes otherwise.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::process::Command;

use lode_tests::{Cluster, Expected, Flags, binary, demo_model, status_of, wait_until};

/// A dead worker is noticed within a second or so.
fn flags() -> Flags {
    let coordinator = ["--lease", "1"].map(str::to_owned).to_vec();
    Flags { coordinator, ..Flags::default() }
}

fn log(cluster: &Cluster) -> String {
    cluster.coordinator.as_ref().unwrap().log()
}

/// Ranges of the first job that are on the coordinator's disk.
fn ranges_there(cluster: &Cluster) -> usize {
    let Ok(entries) = std::fs::read_dir(cluster.data_dir().join("partial/1")) else { return 0 };
    entries.flatten().filter(|entry| entry.path().extension().is_some_and(|is| is == "responses")).count()
}

/// Two workers have done all of a shard but its last word, and say that in the same moment: the concept counts once.
#[test]
fn two_attempts_end_in_the_same_moment() {
    let expected = Expected::of(1, 40);
    let mut cluster = Cluster::start_with(flags(), 0, &demo_model());
    cluster.start_worker_pausing(&demo_model(), "worker-last-block", &[]);
    let job = expected.submit(&cluster, &["--split", "never"]);
    cluster.workers[0].wait_for("paused for a test");
    cluster.start_worker_pausing(&demo_model(), "worker-last-block", &[]);
    cluster.workers[1].wait_for("paused for a test");
    assert!(log(&cluster).contains("a slow shard runs a second time"), "{}", log(&cluster));
    cluster.let_go();
    expected.check(&cluster, &job);
    // And nobody is stuck.
    expected.check(&cluster, &expected.submit(&cluster, &["--split", "never"]));
}

/// A job whose shard has failed on the only free worker waits for another one; meanwhile, that worker does other jobs.
#[test]
fn a_shard_avoids_the_only_free_worker() {
    let expected = Expected::of(9, 60);
    let files = expected.files();
    // Under another pooling, so that they stand beside what the large job mines.
    let small = |cluster: &Cluster, file: &str| {
        let ask = ["--format", "json", "mine", "--model", "m", "--detach", "--split", "never", "--pooling", "mean"];
        let ask = [&ask[..], &["--limit-per-class", "20", file]].concat();
        let said: serde_json::Value = serde_json::from_str(&cluster.lode(&ask).ok()).unwrap();
        said["job"].as_str().unwrap().to_owned()
    };
    let mut cluster = Cluster::start_with(flags(), 0, &demo_model());
    // Its memory is full with the first shard, so it cannot compute another while it holds.
    cluster.start_worker_pausing(&demo_model(), "worker-first-block", &["--memory-budget", "1MB"]);
    let first = small(&cluster, &files[0]);
    cluster.workers[0].wait_for("paused for a test");
    // One concept's responses fit into its memory, several concepts' need a disk that it does not have.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""]).arg(binary("lode-worker"));
    limited.args(cluster.worker_args(&demo_model())).args(["--memory-budget", "4MB", "--response-cache", "0B"]);
    cluster.start_worker_as(limited);

    let avoiding = expected.submit(&cluster, &["--split", "never"]);
    cluster.coordinator.as_mut().unwrap().wait_for("shard broke off");
    let other = small(&cluster, &files[1]);
    cluster.lode(&["watch", &other]).ok();
    assert_eq!(status_of(&cluster, &avoiding)["state"], "running");
    assert_eq!(status_of(&cluster, &first)["state"], "running");
    cluster.let_go();
    cluster.lode(&["watch", &first]).ok();
    expected.check(&cluster, &avoiding);
}

/// Amid a split its workers go, and one comes that computes in another float type. The split is not finished with responses
/// of another kind; a coordinator that starts again begins it anew.
#[test]
fn another_dtype_amid_a_split() {
    let expected = Expected::of(3, 40);
    let mut cluster = Cluster::start_with(flags(), 0, &demo_model());
    cluster.start_worker_pausing(&demo_model(), "worker-mid-stream", &[]);
    cluster.start_worker(&demo_model());
    let split = expected.submit(&cluster, &["--split", "always"]);
    cluster.workers[0].wait_for("paused for a test");
    wait_until("another range is there", || ranges_there(&cluster) > 0);
    cluster.workers.clear();
    wait_until("they are gone", || !cluster.lode(&["--format", "json", "status"]).ok().contains("\"device\""));
    let mut half = Command::new(binary("lode-worker"));
    half.args(cluster.worker_args(&demo_model())).args(["--dtype", "f16"]);
    cluster.start_worker_as(half);

    // It works, but not for the split.
    let whole = expected.submit(&cluster, &["--split", "never"]);
    cluster.lode(&["watch", &whole]).ok();
    assert_eq!(status_of(&cluster, &split)["state"], "running");
    assert!(ranges_there(&cluster) > 0);
    let in_half = expected.exports_of(&cluster);

    cluster.start_coordinator_again(None);
    cluster.lode(&["watch", &split]).ok();
    assert!(!log(&cluster).contains("a split goes on"), "{}", log(&cluster));
    assert!(expected.exports_of(&cluster) == in_half, "responses of two float types were mixed");
    cluster.workers.clear();
    // In f32 it is something else: the test would have seen a mixture.
    cluster.kill_coordinator();
    cluster.start_coordinator();
    cluster.start_worker(&demo_model());
    expected.check(&cluster, &expected.submit(&cluster, &["--split", "always"]));
    assert!(expected.exports_of(&cluster) != in_half);
}

/// While the coordinator commits, it listens to nobody: a worker that waits for it is not taken for lost.
#[test]
fn a_long_commit_is_not_the_workers_fault() {
    let expected = Expected::of(9, 60);
    let coordinator = ["--shard-deadline", "1"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::start_with(Flags { coordinator, ..Flags::default() }, 0, &demo_model());
    cluster.start_coordinator_again(Some("coordinator-commit"));
    cluster.start_worker(&demo_model());
    let job = expected.submit(&cluster, &["--split", "never"]);
    cluster.coordinator.as_mut().unwrap().wait_for("paused for a test");
    std::thread::sleep(std::time::Duration::from_secs(3));
    cluster.let_go();
    expected.check(&cluster, &job);
    let log = log(&cluster);
    assert!(!log.contains("shard broke off") && !log.contains("removed"), "{log}");
}
