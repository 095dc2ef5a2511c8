//! The failure matrix: what can break, at every moment that matters, on real processes. After each, the job finishes, every
//! concept counts once, and the exports are byte for byte those of an undisturbed run.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    net::{SocketAddr, TcpListener},
    process::Command,
};

use lode_tests::{Cluster, Expected, Flags, Proxy, binary, demo_model, status_of, wait_until};

/// Before a shard's first block, amid its blocks, and after the last one, before the coordinator knows.
const MOMENTS: [&str; 3] = ["worker-first-block", "worker-mid-stream", "worker-last-block"];

fn expected() -> Expected {
    Expected::of(9, 60)
}

/// A dead worker is noticed within a second or so.
fn flags() -> Flags {
    let coordinator = ["--lease", "1", "--shard-deadline", "20"].map(str::to_owned).to_vec();
    Flags { coordinator, ..Flags::default() }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A cluster of three workers, the first of which holds at `moment` and is reached through a proxy.
fn cluster(moment: &str) -> (Cluster, Proxy) {
    let mut cluster = Cluster::start_with(flags(), 0, &demo_model());
    let listen = free_address();
    let proxy = Proxy::to(listen);
    let (listen, advertise) = (listen.to_string(), format!("http://{}", proxy.address()));
    cluster.start_worker_pausing(&demo_model(), moment, &["--listen", &listen, "--advertise", &advertise]);
    cluster.start_worker(&demo_model());
    cluster.start_worker(&demo_model());
    (cluster, proxy)
}

/// What happens to the first worker while it holds.
fn break_worker(fault: impl Fn(&mut Cluster, &Proxy), mend: impl Fn(&mut Cluster, &Proxy)) {
    let expected = expected();
    for moment in MOMENTS {
        for split in ["never", "always"] {
            let (mut cluster, proxy) = cluster(moment);
            let job = expected.submit(&cluster, &["--split", split]);
            cluster.workers[0].wait_for("paused for a test");
            fault(&mut cluster, &proxy);
            expected.check(&cluster, &job);
            // What comes back does no harm, and the cluster works on.
            mend(&mut cluster, &proxy);
            let again = expected.submit(&cluster, &["--split", split]);
            expected.check(&cluster, &again);
        }
    }
}

#[test]
fn a_worker_is_killed() {
    break_worker(|cluster, _| cluster.workers[0].kill(), |_, _| {});
}

#[test]
fn a_worker_freezes_and_comes_back() {
    break_worker(
        |cluster, _| cluster.workers[0].freeze(),
        |cluster, _| {
            cluster.let_go();
            cluster.workers[0].thaw();
        },
    );
}

#[test]
fn a_worker_is_asked_to_stop() {
    break_worker(
        |cluster, _| cluster.workers[0].terminate(),
        |cluster, _| {
            cluster.let_go();
            assert!(cluster.workers[0].wait().success(), "{}", cluster.workers[0].log());
        },
    );
}

#[test]
fn a_workers_network_is_cut_and_mended() {
    break_worker(
        |_, proxy| proxy.cut(),
        |cluster, proxy| {
            cluster.let_go();
            proxy.mend();
        },
    );
}

/// A worker whose network is so slow that its shard would take minutes: another one does it, and the first result counts.
#[test]
fn a_slow_workers_shard_is_done_elsewhere() {
    let expected = expected();
    for split in ["never", "always"] {
        let (cluster, proxy) = cluster("nowhere");
        proxy.slow_down(2_000);
        let job = expected.submit(&cluster, &["--split", split]);
        expected.check(&cluster, &job);
        let log = cluster.coordinator.as_ref().unwrap().log();
        assert!(log.contains("a slow shard runs a second time"), "{log}");
    }
}

/// A limit on file size stands for a full disk: the worker cannot spill.
#[test]
fn a_workers_disk_is_full() {
    let expected = expected();
    for split in ["never", "always"] {
        let mut cluster = Cluster::start_with(flags(), 0, &demo_model());
        let mut limited = Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""]).arg(binary("lode-worker"));
        limited.args(cluster.worker_args(&demo_model())).args(["--memory-budget", "0B", "--response-cache", "0B"]);
        cluster.start_worker_as(limited);
        cluster.start_worker(&demo_model());
        cluster.start_worker(&demo_model());
        let job = expected.submit(&cluster, &["--split", split]);
        expected.check(&cluster, &job);
        let log = cluster.coordinator.as_ref().unwrap().log();
        assert!(log.contains("beyond the memory budget"), "{log}");
    }
}

/// The coordinator's disk is full while partial summaries come in: the job says so and how to do without them; what was indexed
/// stays, and the same job without a split still fits.
#[test]
fn the_coordinators_disk_is_full() {
    let expected = expected();
    let mut cluster = Cluster::start_with(flags(), 0, &demo_model());
    cluster.kill_coordinator();
    let mut limited = Command::new("sh");
    // 512-byte blocks: enough for the index, not for the responses to a range of sentences.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 8192; exec \"$0\" \"$@\""]).arg(binary("lode-coordinator"));
    limited.args(cluster.coordinator_args());
    cluster.start_coordinator_as(limited);
    (0..2).for_each(|_| cluster.start_worker(&demo_model()));
    let job = expected.submit(&cluster, &["--split", "always"]);
    let said = cluster.lode(&["watch", &job]).refused();
    assert!(said.contains("partial summaries") && said.contains("--split never"), "{said}");
    assert!(!cluster.data_dir().join("partial/1").exists(), "nothing is left behind");
    expected.check(&cluster, &expected.submit(&cluster, &["--split", "never"]));
}

/// What happens to the coordinator.
#[derive(Clone, Copy, Debug)]
enum Accident {
    /// kill -9, and it is started again.
    Kill,
    /// The same, and a worker with it.
    KillBoth,
    /// SIGTERM, and it is started again: a job is interrupted and goes on.
    Stop,
    /// SIGSTOP for longer than a lease.
    Freeze,
    /// No worker reaches it for longer than a lease.
    Cut,
}

const ACCIDENTS: [Accident; 5] = [Accident::Kill, Accident::KillBoth, Accident::Stop, Accident::Freeze, Accident::Cut];

/// Longer than a lease.
const LONG: std::time::Duration = std::time::Duration::from_secs(3);

/// A cluster of three workers that reach the coordinator through a proxy.
fn cluster_behind_proxy(moment: Option<&'static str>) -> (Cluster, Proxy) {
    let mut cluster = Cluster::start_with(flags(), 0, &demo_model());
    if moment.is_some() {
        cluster.start_coordinator_again(moment);
    }
    let proxy = Proxy::to(cluster.address());
    let (own, through) = (cluster.url(), format!("http://{}", proxy.address()));
    for _ in 0..3 {
        let mut worker = Command::new(binary("lode-worker"));
        worker.args(cluster.worker_args(&demo_model()).iter().map(|arg| if *arg == own { &through } else { arg }));
        cluster.start_worker_as(worker);
    }
    (cluster, proxy)
}

/// Lets it happen; what holds for the test goes on amid it.
fn suffer(accident: Accident, cluster: &mut Cluster, proxy: &Proxy) {
    match accident {
        Accident::Kill => cluster.start_coordinator_again(None),
        Accident::KillBoth => {
            cluster.workers[1].kill();
            cluster.start_coordinator_again(None);
        }
        Accident::Stop => {
            let mut coordinator = cluster.coordinator.take().unwrap();
            coordinator.terminate();
            cluster.let_go();
            assert!(coordinator.wait().success(), "{}", coordinator.log());
            cluster.start_coordinator();
        }
        Accident::Freeze => {
            let coordinator = cluster.coordinator.as_ref().unwrap();
            coordinator.freeze();
            std::thread::sleep(LONG);
            cluster.let_go();
            coordinator.thaw();
        }
        Accident::Cut => {
            proxy.cut();
            std::thread::sleep(LONG);
            cluster.let_go();
            proxy.mend();
        }
    }
}

/// What can happen to the coordinator, at a moment of its own. The job goes on.
fn break_coordinator(split: &str, moment: &'static str, accidents: &[Accident]) {
    let expected = expected();
    for &accident in accidents {
        let (mut cluster, proxy) = cluster_behind_proxy(Some(moment));
        let job = expected.submit(&cluster, &["--split", split]);
        cluster.coordinator.as_mut().unwrap().wait_for("paused for a test");
        // A watcher that was there before is there afterwards.
        let mut watcher = cluster.spawn_lode(&["watch", &job]);
        watcher.wait_for("mining ");
        suffer(accident, &mut cluster, &proxy);
        expected.check(&cluster, &job);
        assert!(watcher.wait().success(), "{accident:?}: {}", watcher.log());
        expected.check(&cluster, &expected.submit(&cluster, &["--split", split]));
    }
}

#[test]
fn accidents_of_a_coordinator_that_merges() {
    break_coordinator("always", "coordinator-merge", &ACCIDENTS);
}

#[test]
fn accidents_of_a_coordinator_that_commits() {
    break_coordinator("never", "coordinator-commit", &ACCIDENTS);
}

#[test]
fn accidents_of_a_coordinator_that_has_committed() {
    break_coordinator("never", "coordinator-committed", &[Accident::Kill, Accident::KillBoth]);
}

/// All of them one after the other, on one cluster: what it did is remembered, and it works on.
#[test]
fn accidents_of_a_coordinator_that_is_idle() {
    let expected = expected();
    let (mut cluster, proxy) = cluster_behind_proxy(None);
    let mut last = expected.submit(&cluster, &[]);
    expected.check(&cluster, &last);
    for accident in ACCIDENTS {
        suffer(accident, &mut cluster, &proxy);
        assert_eq!(status_of(&cluster, &last)["state"], "done", "{accident:?}");
        expected.check_exports(&cluster);
        last = expected.submit(&cluster, &[]);
        expected.check(&cluster, &last);
    }
}

/// A worker and the coordinator die together, at each of the worker's moments.
#[test]
fn worker_and_coordinator_are_killed() {
    let expected = expected();
    for (moment, split) in MOMENTS.into_iter().zip(["never", "always", "never"]) {
        let (mut cluster, _proxy) = cluster(moment);
        let job = expected.submit(&cluster, &["--split", split]);
        cluster.workers[0].wait_for("paused for a test");
        cluster.workers[0].kill();
        cluster.start_coordinator_again(None);
        expected.check(&cluster, &job);
    }
}

#[test]
fn the_coordinator_is_killed_while_ranges_come_in() {
    let expected = expected();
    let (mut cluster, _proxy) = cluster("worker-mid-stream");
    let job = expected.submit(&cluster, &["--split", "always"]);
    cluster.workers[0].wait_for("paused for a test");
    wait_until("another range is there", || ranges_there(&cluster) > 0);
    cluster.start_coordinator_again(None);
    cluster.let_go();
    expected.check(&cluster, &job);
    let log = cluster.coordinator.as_ref().unwrap().log();
    assert!(log.contains("a split goes on with the ranges that are there"), "{log}");
    assert!(!cluster.data_dir().join("partial/1").exists(), "nothing is left behind");
}

fn ranges_there(cluster: &Cluster) -> usize {
    let Ok(entries) = std::fs::read_dir(cluster.data_dir().join("partial/1")) else { return 0 };
    entries.flatten().filter(|entry| entry.path().extension().is_some_and(|is| is == "responses")).count()
}

/// SIGTERM is no accident: the job is interrupted and goes on with the next start.
#[test]
fn the_coordinator_is_stopped_and_started_amid_a_job() {
    let expected = expected();
    let (mut cluster, _proxy) = cluster("worker-mid-stream");
    let job = expected.submit(&cluster, &["--split", "never"]);
    cluster.workers[0].wait_for("paused for a test");
    let mut coordinator = cluster.coordinator.take().unwrap();
    coordinator.terminate();
    assert!(coordinator.wait().success(), "{}", coordinator.log());
    assert!(coordinator.log().contains("it goes on when the coordinator does"), "{}", coordinator.log());
    cluster.start_coordinator();
    cluster.let_go();
    expected.check(&cluster, &job);
}

/// A frozen coordinator: workers wait for it, nothing is lost.
#[test]
fn the_coordinator_freezes_and_comes_back() {
    let expected = expected();
    let (mut cluster, _proxy) = cluster("worker-first-block");
    let job = expected.submit(&cluster, &[]);
    cluster.workers[0].wait_for("paused for a test");
    let coordinator = cluster.coordinator.as_ref().unwrap();
    coordinator.freeze();
    std::thread::sleep(std::time::Duration::from_secs(3));
    cluster.let_go();
    coordinator.thaw();
    expected.check(&cluster, &job);
}

/// What was cancelled stays cancelled, though the coordinator died before it could say so.
#[test]
fn a_cancelled_job_does_not_come_back() {
    let expected = expected();
    let mut cluster = Cluster::start_with(flags(), 0, &demo_model());
    cluster.start_coordinator_again(Some("coordinator-merge"));
    (0..2).for_each(|_| cluster.start_worker(&demo_model()));
    let job = expected.submit(&cluster, &["--split", "always"]);
    cluster.coordinator.as_mut().unwrap().wait_for("paused for a test");
    cluster.lode(&["cancel", &job]).ok();
    cluster.start_coordinator_again(None);
    assert_eq!(status_of(&cluster, &job)["state"], "cancelled");
    assert!(!cluster.data_dir().join("partial/1").exists(), "nothing is left behind");
    wait_until("the workers are back", || cluster.lode(&["--format", "json", "status"]).ok().contains("\"device\""));
    expected.check(&cluster, &expected.submit(&cluster, &["--split", "always"]));
}

/// All workers die; the job waits for new ones.
#[test]
fn all_workers_die() {
    let expected = expected();
    let (mut cluster, _proxy) = cluster("worker-mid-stream");
    let job = expected.submit(&cluster, &["--split", "never"]);
    cluster.workers[0].wait_for("paused for a test");
    cluster.workers.clear();
    assert_eq!(status_of(&cluster, &job)["state"], "running");
    cluster.start_worker(&demo_model());
    expected.check(&cluster, &job);
}

/// A shard that no worker can do is set aside with its error; the rest of the job goes on.
#[test]
fn a_shard_that_fails_everywhere_is_set_aside() {
    let expected = expected();
    let mut cluster = Cluster::start_with(flags(), 0, &demo_model());
    for _ in 0..3 {
        let mut limited = Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""]).arg(binary("lode-worker"));
        // One concept's responses fit, several concepts' do not.
        limited.args(cluster.worker_args(&demo_model())).args(["--memory-budget", "4MB", "--response-cache", "0B"]);
        cluster.start_worker_as(limited);
    }
    let files = expected.files();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let said = cluster.lode(&[&["mine", "--model", "m", "--split", "never"], &files[..]].concat()).refused();
    assert!(said.contains("beyond the memory budget") && said.contains("make room there"), "{said}");
    // A small one can still be done by the same workers.
    cluster.lode(&["mine", "--model", "m", "--split", "never", "--limit-per-class", "20", files[0]]).ok();
}
