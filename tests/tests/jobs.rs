//! Jobs from the outside: detached, watched, cancelled, and with a worker that dies.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use lode_client::{Client, Credentials};
use lode_tests::{Cluster, Expected, Program, demo_concepts, demo_model, status_of, wait_until};
use serde_json::Value;

fn submit(cluster: &Cluster) -> String {
    submit_with(cluster, &[])
}

fn submit_with(cluster: &Cluster, flags: &[&str]) -> String {
    let concepts = demo_concepts().display().to_string();
    let ask = [&["--format", "json", "mine", "--model", "m", "--detach", &concepts], flags].concat();
    let said = cluster.lode(&ask).ok();
    let said: Value = serde_json::from_str(&said).unwrap();
    said["job"].as_str().unwrap().to_owned()
}

/// The only job of the cluster.
fn job(cluster: &Cluster) -> Value {
    let said = cluster.lode(&["--format", "json", "jobs"]).ok();
    serde_json::from_str::<Value>(&said).unwrap()[0].clone()
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

/// A worker that is asked to stop while it registers leaves in good order all the same.
#[test]
fn a_worker_that_stops_while_it_registers_leaves_no_ghost() {
    let mut cluster = Cluster::start(0, &demo_model());
    cluster.start_coordinator_again(Some("coordinator-registered"));
    let mut worker = Program::start("lode-worker", cluster.folder(), cluster.worker_args(&demo_model()));
    cluster.coordinator.as_mut().unwrap().wait_for("paused for a test");
    worker.terminate();
    std::thread::sleep(Duration::from_millis(300));
    cluster.let_go();
    assert!(worker.wait().success(), "{}", worker.log());
    // Without a goodbye it would be there until its lease of ten seconds ends.
    let start = Instant::now();
    let status: Value = serde_json::from_str(&cluster.lode(&["--format", "json", "status"]).ok()).unwrap();
    assert_eq!(status["workers"].as_array().unwrap().len(), 0, "{status}");
    assert!(start.elapsed() < Duration::from_secs(5));
    let log = cluster.coordinator.as_ref().unwrap().log();
    assert!(log.contains("registered worker=") && log.contains("it said goodbye"), "{log}");
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

/// Cancels jobs of a cluster over a connection that is open: starting a process for every question would take most of a second.
struct Canceller {
    runtime: tokio::runtime::Runtime,
    client: Client,
}

impl Canceller {
    fn of(cluster: &Cluster) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(Client::connect(&cluster.url(), &Credentials::default())).unwrap();
        Self { runtime, client }
    }

    fn mining(&self) -> usize {
        let status = self.runtime.block_on(self.client.status()).unwrap();
        status.workers.iter().filter(|worker| worker.mining.is_some()).count()
    }

    /// How long it takes until no worker mines and something more is so.
    fn cancel(&self, job: &str, also: impl Fn() -> bool) -> Duration {
        let start = Instant::now();
        self.runtime.block_on(self.client.cancel(job.parse().unwrap())).unwrap();
        wait_until("no worker mines", || self.mining() == 0 && also());
        start.elapsed()
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// A cancelled job's workers are free within a second: the coordinator says so, and who ran sentences has stopped.
#[test]
fn cancel_frees_workers_within_a_second() {
    let cluster = Cluster::start(3, &demo_model());
    let given_up =
        || -> usize { cluster.workers.iter().map(|worker| worker.log().matches("shard given up").count()).sum() };
    let canceller = Canceller::of(&cluster);
    let mut took = Vec::new();
    for _ in 0..3 {
        let (id, before) = (submit(&cluster), given_up());
        wait_until("sentences run", || status_of(&cluster, &id)["tokens_done"].as_u64() > Some(0));
        took.push(canceller.cancel(&id, || given_up() > before));
    }
    took.sort();
    // What else the machine does may hold up one of them.
    assert!(took[1] < SECOND, "{took:?}");
}

/// Nor does it wait for a summary, a commit or a merge that is under way.
#[test]
fn cancel_does_not_wait_for_what_is_under_way() {
    let expected = Expected::of(6, 40);
    for (place, split) in
        [("worker-mid-stream", "never"), ("coordinator-commit", "never"), ("coordinator-merge", "always")]
    {
        let mut cluster = Cluster::start(0, &demo_model());
        if place.starts_with("coordinator") {
            cluster.start_coordinator_again(Some(place));
            (0..3).for_each(|_| cluster.start_worker(&demo_model()));
        } else {
            (0..3).for_each(|_| cluster.start_worker_pausing(&demo_model(), place, &[]));
        }
        let canceller = Canceller::of(&cluster);
        let job = expected.submit(&cluster, &["--split", split]);
        let is_held = |cluster: &Cluster| {
            let coordinator = cluster.coordinator.as_ref().unwrap().log();
            cluster
                .workers
                .iter()
                .map(|worker| worker.log())
                .chain([coordinator])
                .any(|log| log.contains("paused for a test"))
        };
        wait_until("it is held", || is_held(&cluster));
        let took = canceller.cancel(&job, || true);
        assert!(took < SECOND, "{place}: {took:?}");
        cluster.let_go();
        wait_until("the job is cancelled", || status_of(&cluster, &job)["state"] == "cancelled");
        expected.check(&cluster, &expected.submit(&cluster, &["--split", split]));
    }
}

/// What a job would cost, and that the job then costs it.
#[test]
fn a_dry_run_says_what_the_job_will_do_and_does_nothing() {
    a_dry_run_on(1);
    a_dry_run_on(2);
}

fn a_dry_run_on(workers: usize) {
    let expected = Expected::of(6, 40);
    let files = expected.files();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let cluster = Cluster::start(workers, &demo_model());
    let plan = |cluster: &Cluster| -> Value {
        let ask = [&["--format", "json", "mine", "--model", "m", "--split", "never", "--dry-run"], &files[..]].concat();
        serde_json::from_str(&cluster.lode(&ask).ok()).unwrap()
    };
    let number = |plan: &Value, field: &str| plan[field].as_u64().unwrap_or_else(|| panic!("{field}: {plan}"));
    let first = plan(&cluster);
    assert_eq!((number(&first, "concepts"), number(&first, "sentences_listed")), (6, 480));
    assert!(number(&first, "sentences_distinct") < 480 && number(&first, "sentences_held") == 0, "{first}");
    assert!(first["estimated_seconds"].as_f64() > Some(0.0));
    assert_eq!(first["workers"].as_array().unwrap().len(), workers);
    let none: Value = serde_json::from_str(&cluster.lode(&["--format", "json", "jobs"]).ok()).unwrap();
    assert_eq!(none.as_array().unwrap().len(), 0);
    let summary = expected.check(&cluster, &expected.submit(&cluster, &["--split", "never"]));
    assert_eq!(number(&summary, "sentences_run"), number(&first, "sentences_run"));
    // The plan gives each worker its shards. Of two workers one that is free sooner takes both, and runs what they share once.
    let least = if workers == 1 { "tokens_run" } else { "tokens_distinct" };
    let planned = number(&first, least)..=number(&first, "tokens_run");
    assert!(planned.contains(&number(&summary, "tokens")), "{first} {summary}");
    // Everything is held now.
    let second = plan(&cluster);
    assert_eq!((number(&second, "sentences_run"), number(&second, "tokens_run")), (0, 0), "{second}");
}

/// Sentences that a worker has run before are not run again: for one more concept, for a concept that grew, and after the
/// worker itself was started again.
#[test]
fn only_what_is_new_runs() {
    let expected = Expected::of(4, 40);
    let files = expected.files();
    let mut cluster = Cluster::start(0, &demo_model());
    let cache = cluster.folder().join("cache").display().to_string();
    let start_worker = |cluster: &mut Cluster| {
        let mut command = std::process::Command::new(lode_tests::binary("lode-worker"));
        command.args(cluster.worker_args(&demo_model())).args(["--cache-dir", &cache]);
        cluster.start_worker_as(command);
    };
    start_worker(&mut cluster);
    let mine = |cluster: &Cluster, files: &[String]| -> (u64, u64) {
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let ask = [&["--format", "json", "mine", "--model", "m"], &files[..]].concat();
        let said: Value = serde_json::from_str(&cluster.lode(&ask).ok()).unwrap();
        (said["sentences_run"].as_u64().unwrap(), said["tokens"].as_u64().unwrap())
    };
    let (three, _) = mine(&cluster, &files[..3]);
    let (more, tokens) = mine(&cluster, &files);
    let four = distinct(&files);
    assert_eq!(three, distinct(&files[..3]));
    assert_eq!(more, four - three);
    assert!(tokens > 0);
    expected.check_exports(&cluster);
    cluster.workers.clear();
    start_worker(&mut cluster);
    assert_eq!(mine(&cluster, &files), (0, 0));
    expected.check_exports(&cluster);
    // A concept with one more sentence.
    let mut grown: Value = serde_json::from_str(&std::fs::read_to_string(&files[0]).unwrap()).unwrap();
    grown["sentences"]["positive"].as_array_mut().unwrap().push("A sentence that nobody has seen before.".into());
    let path = cluster.folder().join("grown.json");
    std::fs::write(&path, grown.to_string()).unwrap();
    assert_eq!(mine(&cluster, &[path.display().to_string()]).0, 1);
}

/// Distinct sentences of some concept files.
fn distinct(files: &[String]) -> u64 {
    let mut all = BTreeSet::new();
    for file in files {
        let concept: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for class in ["positive", "negative"] {
            all.extend(concept["sentences"][class].as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()));
        }
    }
    all.len() as u64
}

/// Two jobs at once share the workers; neither waits for the other's end.
#[test]
fn jobs_share_the_workers() {
    let expected = Expected::of(6, 40);
    let cluster = Cluster::start(2, &demo_model());
    // Under another pooling: both have concepts of the same names, and whoever ends last would have the last word.
    let long = submit_with(&cluster, &["--pooling", "mean"]);
    let short = expected.submit(&cluster, &[]);
    expected.check(&cluster, &short);
    cluster.lode(&["watch", &long]).ok();
    assert_eq!(status_of(&cluster, &long)["state"], "done");
    let log = cluster.coordinator.as_ref().unwrap().log();
    let ended: Vec<&str> = log.lines().filter(|line| line.contains("job ended")).collect();
    let place = |job: &str| ended.iter().position(|line| line.contains(&format!("job={job}}}")));
    assert_eq!((place(&short), place(&long)), (Some(0), Some(1)), "the short job did not wait for the long one: {log}");
}

/// Partial summaries of two jobs are merged one after the other: a merge takes all cores, and memory for each.
#[test]
fn merges_wait_for_each_other() {
    let expected = Expected::of(4, 40);
    let mut cluster = Cluster::start(0, &demo_model());
    cluster.start_coordinator_again(Some("coordinator-merge"));
    (0..2).for_each(|_| cluster.start_worker(&demo_model()));
    let first = expected.submit(&cluster, &["--split", "always"]);
    cluster.coordinator.as_mut().unwrap().wait_for("paused for a test");
    let second = expected.submit(&cluster, &["--split", "always"]);
    let sidecars = |job: &str| {
        let folder = cluster.data_dir().join("partial").join(job.trim_start_matches("job-"));
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
        files.filter(|name| name.to_string_lossy().ends_with(".json") && *name != *"split.json").count()
    };
    let ranges = sidecars(&first);
    assert!(ranges > 1, "{first} has {ranges} ranges");
    wait_until("all of the second job is there", || sidecars(&second) == ranges);
    std::thread::sleep(Duration::from_millis(500));
    let pauses = cluster.coordinator.as_ref().unwrap().log().matches("paused for a test").count();
    assert_eq!(pauses, 1, "both are merged at once");
    cluster.let_go();
    for job in [first, second] {
        expected.check(&cluster, &job);
    }
}
