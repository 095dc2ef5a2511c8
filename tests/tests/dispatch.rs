//! Requests to generate on their way to a worker: whose turn it is, what happens when there is no room, when somebody dies, and
//! when it takes too long. On real processes, one of which is held at the moment that matters.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use lode_tests::{Cluster, Ended, Flags, Front, Raw, binary, demo_model, message, wait_until};
use tokio::{runtime::Runtime, task::JoinHandle};

const GENERATE: &str = "/lode.v1.Lode/Generate";
const OK: u16 = 0;
const DEADLINE_EXCEEDED: u16 = 4;
const RESOURCE_EXHAUSTED: u16 = 8;
const UNAVAILABLE: u16 = 14;

const ONE: &str = "one-5f1d8a0c";
const OTHER: &str = "other-1b7e44d2";

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A cluster whose coordinator knows two clients, each worker generating one sample at a time.
struct Scene {
    _tokens: tempfile::TempDir,
    cluster: Cluster,
    front: Front,
    runtime: Runtime,
}

impl Scene {
    /// With one worker that holds at `place`.
    fn new(flags: &str, place: &str) -> Self {
        let tokens = tempfile::tempdir().unwrap();
        let file = tokens.path().join("tokens");
        std::fs::write(&file, format!("reader {ONE}\nreader {OTHER}\nworker w-77b2e6d3\n")).unwrap();
        let file = words(&format!("--token-file {}", file.display()));
        let coordinator = [words("--lease 1 --http 127.0.0.1:0"), file.clone(), words(flags)].concat();
        let worker = [words("--max-sequences 1"), file].concat();
        let flags = Flags { coordinator, worker, client: words(&format!("--token {ONE}")) };
        let mut cluster = Cluster::start_with(flags, 0, &demo_model());
        cluster.kill_coordinator();
        let mut command = Command::new(binary("lode-coordinator"));
        command.args(cluster.coordinator_args()).env("RUST_LOG", "info,lode_coordinator=debug");
        cluster.start_coordinator_as(command);
        let front = cluster.coordinator.as_mut().unwrap().front();
        cluster.start_worker_pausing(&demo_model(), place, &[]);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        Self { _tokens: tokens, cluster, front, runtime }
    }

    /// Asks for a text of a few tokens under an id that the coordinator logs.
    fn ask(&self, token: &str, id: &str) -> JoinHandle<Ended> {
        self.ask_with(token, id, "1M")
    }

    /// The same for a caller who does not wait for ever.
    fn ask_with(&self, token: &str, id: &str, patience: &str) -> JoinHandle<Ended> {
        let (address, token) = (self.cluster.address(), format!("Bearer {token}"));
        let (id, patience) = (id.to_owned(), patience.to_owned());
        self.runtime.spawn(async move {
            let headers = [("authorization", &*token), ("x-request-id", &*id), ("grpc-timeout", &*patience)];
            Raw::connect(address).await.call(GENERATE, &headers, request()).await
        })
    }

    /// The same, once it waits.
    fn ask_in_line(&self, token: &str, id: &str) -> JoinHandle<Ended> {
        let before = self.waiting();
        let asked = self.ask(token, id);
        wait_until("the request waits", || self.waiting() == before + 1);
        asked
    }

    /// A request that the worker holds.
    fn ask_and_hold(&mut self, token: &str, id: &str) -> JoinHandle<Ended> {
        let asked = self.ask(token, id);
        self.cluster.workers[0].wait_for("paused for a test");
        asked
    }

    #[track_caller]
    fn end(&self, asked: JoinHandle<Ended>) -> Ended {
        self.runtime.block_on(asked).unwrap()
    }

    fn waiting(&self) -> u32 {
        self.front.metric("lode_generate_waiting") as u32
    }

    /// The requests that had places, in the order in which they had them.
    fn turns(&self) -> Vec<String> {
        let log = self.cluster.coordinator.as_ref().unwrap().log();
        let line = |line: &str| {
            let turn: u64 = line.split("turn=").nth(1)?.split_whitespace().next()?.parse().ok()?;
            let id = line.split("request=").nth(1)?.split([' ', '}']).next()?;
            Some((turn, id.to_owned()))
        };
        let mut turns: Vec<_> = log.lines().filter(|line| line.contains("has its place")).filter_map(line).collect();
        turns.sort();
        turns.into_iter().map(|(_, id)| id).collect()
    }
}

/// A request for a sample of eight tokens, as it travels.
fn request() -> Vec<u8> {
    let one = 1f32.to_le_bytes();
    // top_p, repetition_penalty, max_new_tokens
    let sampling = [&[0x15], &one[..], &[0x25], &one[..], &[0x30, 8]].concat();
    let prompt = b"Yesterday";
    let bytes = [
        &[0x0a, 1, b'm', 0x12, prompt.len() as u8],
        &prompt[..],
        &[0x22, sampling.len() as u8],
        &sampling[..],
        &[0x28, 1],
    ];
    message(&bytes.concat())
}

#[track_caller]
fn is(ended: &Ended, status: u16, parts: &[&str]) {
    assert_eq!(ended.status, Some(status), "{ended:?}");
    parts.iter().for_each(|part| assert!(ended.message.contains(part), "{part:?} is not in {ended:?}"));
}

/// Who comes with one request does not wait for all of another's.
#[test]
fn clients_take_turns() {
    let mut scene = Scene::new("", "worker-first-token");
    let first = scene.ask_and_hold(ONE, "one-1");
    let more: Vec<_> = ["one-2", "one-3", "one-4"].map(|id| scene.ask_in_line(ONE, id)).into_iter().collect();
    let other = scene.ask_in_line(OTHER, "other-1");
    scene.cluster.let_go();
    for asked in [first, other].into_iter().chain(more) {
        is(&scene.end(asked), OK, &[]);
    }
    assert_eq!(scene.turns(), ["one-1", "other-1", "one-2", "one-3", "one-4"]);
    assert_eq!(scene.waiting(), 0);
    assert_eq!(scene.front.metric("lode_generate_wait_seconds_count"), 5.0);
}

/// When too many wait, the one who has most of them hears when to come again; others still find room.
#[test]
fn a_full_queue_refuses_whoever_fills_it() {
    let mut scene = Scene::new("--max-waiting 2", "worker-first-token");
    let first = scene.ask_and_hold(ONE, "one-1");
    let second = scene.ask_in_line(ONE, "one-2");
    let third = scene.ask_in_line(ONE, "one-3");
    let refused = scene.end(scene.ask(ONE, "one-4"));
    is(&refused, RESOURCE_EXHAUSTED, &["2 requests wait for a worker with model `m` already"]);
    assert!(refused.headers.contains_key("grpc-status-details-bin"), "when to try again: {refused:?}");
    let other = scene.ask(OTHER, "other-1");
    is(&scene.end(third), RESOURCE_EXHAUSTED, &["nobody has more of them than you"]);
    assert_eq!(scene.waiting(), 2);
    let said = scene.cluster.lode(&["generate", "--model", "m", "--prompt", "We", "--max-new-tokens", "2"]).refused();
    assert!(said.contains("try again in"), "{said}");
    scene.cluster.let_go();
    for asked in [first, second, other] {
        is(&scene.end(asked), OK, &[]);
    }
    assert_eq!(scene.front.metric("lode_generate_requests_total{outcome=\"busy\"}"), 3.0);
}

#[test]
fn nobody_waits_for_ever() {
    let mut scene = Scene::new("--max-wait 1", "worker-first-token");
    let first = scene.ask_and_hold(ONE, "one-1");
    let refused = scene.end(scene.ask(OTHER, "other-1"));
    is(&refused, RESOURCE_EXHAUSTED, &["no worker with model `m` was free within 1 s"]);
    // A caller who goes is not served.
    scene.ask_in_line(OTHER, "other-2").abort();
    wait_until("the queue is empty", || scene.waiting() == 0);
    scene.cluster.let_go();
    is(&scene.end(first), OK, &[]);
    assert_eq!(scene.turns(), ["one-1"]);
}

/// A worker that dies, or is cut off, before it has generated anything costs nothing but time.
#[test]
fn another_worker_takes_over_before_the_first_token() {
    for is_frozen in [false, true] {
        let mut scene = Scene::new("", "worker-first-token");
        scene.cluster.start_worker(&demo_model());
        let asked = scene.ask_and_hold(ONE, "one-1");
        if is_frozen {
            scene.cluster.workers[0].freeze();
        } else {
            scene.cluster.workers[0].kill();
        }
        is(&scene.end(asked), OK, &[]);
        assert_eq!(scene.turns(), ["one-1", "one-1"]);
        let log = scene.cluster.coordinator.as_ref().unwrap().log();
        assert!(log.contains("generation goes to another worker"), "{log}");
    }
}

/// Afterwards the text ends with an error that says so, and the next request is served.
#[test]
fn a_worker_that_dies_amid_a_text_ends_it_with_an_error() {
    let mut scene = Scene::new("", "worker-mid-text");
    scene.cluster.start_worker(&demo_model());
    let asked = scene.ask_and_hold(ONE, "one-1");
    wait_until("some of it has come", || scene.front.metric("lode_tokens_generated_total") >= 1.0);
    scene.cluster.workers[0].kill();
    let ended = scene.end(asked);
    is(&ended, UNAVAILABLE, &["worker-", "tokens: the text is not complete; ask for it again"]);
    is(&scene.end(scene.ask(ONE, "one-2")), OK, &[]);
    assert_eq!(scene.front.metric("lode_generate_requests_total{outcome=\"failed\"}"), 1.0);
}

/// SIGTERM: a worker takes nothing new, and ends the texts that it is at.
#[test]
fn a_worker_that_stops_ends_its_texts() {
    let mut scene = Scene::new("", "worker-mid-text");
    let asked = scene.ask_and_hold(ONE, "one-1");
    scene.cluster.workers[0].terminate();
    scene.cluster.coordinator.as_mut().unwrap().wait_for("it said goodbye");
    let refused = scene.end(scene.ask(ONE, "one-2"));
    is(&refused, UNAVAILABLE, &["no worker has model `m` at the moment"]);
    scene.cluster.let_go();
    is(&scene.end(asked), OK, &[]);
    assert!(scene.cluster.workers[0].wait().success());
}

/// SIGTERM: a coordinator lets texts end, and tells those who wait.
#[test]
fn a_coordinator_that_stops_lets_texts_end() {
    let mut scene = Scene::new("", "worker-mid-text");
    let asked = scene.ask_and_hold(ONE, "one-1");
    let waits = scene.ask_in_line(OTHER, "other-1");
    scene.cluster.coordinator.as_ref().unwrap().terminate();
    is(&scene.end(waits), UNAVAILABLE, &["the coordinator is stopping"]);
    scene.cluster.let_go();
    is(&scene.end(asked), OK, &[]);
    assert!(scene.cluster.coordinator.as_mut().unwrap().wait().success());
}

/// A deadline of the caller's own, and the coordinator's: the text ends, and the place is free again.
#[test]
fn deadlines_end_texts() {
    let mut scene = Scene::new("--generation-timeout 3", "worker-mid-text");
    let start = Instant::now();
    let own = scene.ask_with(ONE, "one-1", "1500m");
    scene.cluster.workers[0].wait_for("paused for a test");
    is(&scene.end(own), DEADLINE_EXCEEDED, &[]);
    assert!(start.elapsed() >= Duration::from_millis(1450));
    scene.cluster.let_go();
    is(&scene.end(scene.ask(ONE, "one-2")), OK, &[]);

    // Before the first token, too, where the worker lives and says nothing.
    let mut scene = Scene::new("--generation-timeout 2", "worker-first-token");
    let asked = scene.ask_and_hold(ONE, "one-1");
    is(&scene.end(asked), DEADLINE_EXCEEDED, &["after 0 tokens", "--generation-timeout"]);
    let body = r#"{"model": "m", "prompt": "Yesterday"}"#;
    let late = scene.front.ask("POST /v1/completions", &format!("authorization: Bearer {ONE}\r\n"), body);
    assert_eq!((late.status, late.json()["error"]["code"].as_str()), (504, Some("timeout")));
    scene.cluster.let_go();
    is(&scene.end(scene.ask(ONE, "one-3")), OK, &[]);

    let mut scene = Scene::new("--generation-timeout 3", "worker-mid-text");
    let asked = scene.ask_and_hold(ONE, "one-1");
    is(&scene.end(asked), DEADLINE_EXCEEDED, &["tokens, the text was not complete", "--generation-timeout"]);
    scene.cluster.let_go();
    is(&scene.end(scene.ask(ONE, "one-2")), OK, &[]);
}
