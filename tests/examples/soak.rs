//! A cluster at saturation: more clients than there is room for, who come, leave, do not read and ask for nonsense; workers that die,
//! freeze and come back.
//!
//! `cargo run --release -p lode-tests --example soak -- MINUTES` (build the programs first, in the same profile). Afterwards nothing may
//! be stuck, every request must have been answered or refused, and memory must be flat: the medians of the first and the last fifth of
//! the time after warm-up differ by 5 % at most. Prints what was seen as JSON and fails if that is not so.

#![allow(clippy::unwrap_used, reason = "a measurement that unwraps in vain has failed, as it should")]
#![allow(clippy::print_stdout, reason = "what it is for")]

use std::{
    io::Read as _,
    net::Shutdown,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use lode_client::{Client, Credentials};
use lode_domain::{
    generation::{GenerateEvent, GenerateRequest},
    intervention::{Condition, ForcingValue, Positions, Rank, Target},
    sampling::Sampling,
};
use lode_tests::{Answer, Cluster, Flags, Front, Program, demo_concepts, demo_model, wait_until};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::json;

/// Clients over HTTP.
const HTTP_CLIENTS: u64 = 24;
/// Clients over gRPC.
const GRPC_CLIENTS: u64 = 8;
/// Workers; the first one lives, and so its memory can be watched.
const WORKERS: usize = 3;
/// Samples that a worker generates at a time: together fewer than clients ask for, so that a queue forms.
const ROOM: u32 = 8;
/// Clients who ask and do not read.
const SILENT_CLIENTS: u64 = 2;
/// Between two deaths.
const DEATHS: Duration = Duration::from_secs(15);
/// How long a worker may freeze: beyond its lease.
const FREEZE: Duration = Duration::from_secs(12);
/// How much memory may grow.
const GROWTH: f64 = 0.05;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What became of requests.
#[derive(Default)]
struct Outcomes {
    done: AtomicU64,
    /// Said no to, with a reason.
    refused: AtomicU64,
    /// Of those, the ones that there was no room for.
    busy: AtomicU64,
    /// Begun, and ended with an error that says why.
    broken: AtomicU64,
    /// Left by the client.
    left: AtomicU64,
    /// Neither answered nor refused.
    lost: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What both kinds of client share.
struct Load {
    stop: AtomicBool,
    outcomes: Outcomes,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

fn main() {
    let minutes: f64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("usage: soak MINUTES");
    let time = Duration::from_secs_f64(minutes * 60.0);
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
    // All clients come from one address.
    let coordinator = words("--http 127.0.0.1:0 --rate-limit 100000 --max-calls 1000 --max-waiting 16 --max-wait 5");
    // Room for some texts only, so that some wait in the worker, too, and pages are used again and again.
    let worker = words(&format!("--http 127.0.0.1:0 --response-cache 0B --max-sequences {ROOM} --kv-budget 8MiB"));
    let flags = Flags { coordinator, worker, client: Vec::new() };
    let mut cluster = Cluster::start_with(flags, WORKERS, &demo_model());
    let file = |path: &str| demo_concepts().join(path).display().to_string();
    cluster.lode(&["mine", "--model", "m", &file("gender/woman.json"), &file("gender/man.json")]).ok();
    let address = cluster.coordinator.as_mut().unwrap().front().address().to_string();
    let watched = [cluster.coordinator.as_ref().unwrap().pid(), cluster.workers[0].pid()];

    let load = Arc::new(Load { stop: AtomicBool::new(false), outcomes: Outcomes::default() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut http = Vec::new();
    for number in 0..HTTP_CLIENTS {
        let (load, front) = (load.clone(), Front::at(&address));
        http.push(std::thread::spawn(move || over_http(&load, &front, StdRng::seed_from_u64(number))));
    }
    for _ in 0..SILENT_CLIENTS {
        let (load, front) = (load.clone(), Front::at(&address));
        http.push(std::thread::spawn(move || without_reading(&load, &front)));
    }
    let mut grpc = Vec::new();
    for number in 0..GRPC_CLIENTS {
        let (load, url) = (load.clone(), cluster.url());
        grpc.push(runtime.spawn(over_grpc(load, url, StdRng::seed_from_u64(1000 + number))));
    }

    let (memory, deaths) = disturb(&mut cluster, watched, time);
    load.stop.store(true, Ordering::Relaxed);
    http.into_iter().for_each(|client| client.join().unwrap());
    grpc.into_iter().for_each(|client| runtime.block_on(client).unwrap());
    // Every place is free again.
    let alive = cluster.workers.iter_mut().rev().take(WORKERS - 1).map(Program::front).collect::<Vec<_>>();
    let first = cluster.workers[0].front();
    for worker in alive.iter().chain([&first]) {
        for gauge in ["active", "waiting"] {
            wait_until("no worker generates", || worker.metric(&format!("lode_worker_sequences_{gauge}")) == 0.0);
        }
        wait_until("all pages are back", || worker.metric("lode_worker_kv_positions") == 0.0);
    }
    wait_until("nobody waits", || Front::at(&address).metric("lode_generate_waiting") == 0.0);
    // And can be taken, all at once.
    let all = (0..WORKERS).map(|_| {
        let front = Front::at(&address);
        std::thread::spawn(move || {
            front.post("/v1/completions", &json!({"model": "m", "prompt": "Yesterday", "n": ROOM}))
        })
    });
    for answer in all.collect::<Vec<_>>() {
        let answer = answer.join().unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    let outcomes = &load.outcomes;
    let seen = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let growth: Vec<f64> = (0..2).map(|place| growth(&memory, place)).collect();
    println!(
        "{:#}",
        json!({
            "minutes": minutes,
            "deaths": deaths,
            "done": seen(&outcomes.done),
            "refused": seen(&outcomes.refused),
            "refused_for_want_of_room": seen(&outcomes.busy),
            "broken": seen(&outcomes.broken),
            "left": seen(&outcomes.left),
            "lost": seen(&outcomes.lost),
            "coordinator": {"mib": memory.last().unwrap()[0] >> 20, "growth": growth[0]},
            "worker": {"mib": memory.last().unwrap()[1] >> 20, "growth": growth[1]},
        })
    );
    assert_eq!(seen(&outcomes.lost), 0, "every request is answered or refused");
    assert!(seen(&outcomes.done) > 0 && seen(&outcomes.left) > 0);
    assert!(seen(&outcomes.busy) > 0, "there was room for all: that was no saturation");
    assert!(growth.iter().all(|growth| *growth <= GROWTH), "memory grows: {growth:?}");
}

/// Kills workers and starts others, and notes the resident bytes of what is watched, a second each.
fn disturb(cluster: &mut Cluster, watched: [u32; 2], time: Duration) -> (Vec<[u64; 2]>, u32) {
    let mut random = StdRng::seed_from_u64(42);
    let (started, mut killed, mut deaths, mut memory) = (Instant::now(), Instant::now(), 0, Vec::new());
    // A fifth of the time, half a minute at least, is for warming up.
    let warm = (time / 5).max(Duration::from_secs(30)).min(time / 2);
    while started.elapsed() < time {
        std::thread::sleep(Duration::from_secs(1));
        if started.elapsed() > warm {
            memory.push(watched.map(resident));
        }
        if killed.elapsed() > DEATHS {
            killed = Instant::now();
            let alive = cluster.workers.len() - (WORKERS - 1)..cluster.workers.len();
            let victim = random.random_range(alive);
            if random.random_bool(0.3) {
                // Long enough to be taken for dead; it comes back by itself.
                cluster.workers[victim].freeze();
                std::thread::sleep(FREEZE);
                cluster.workers[victim].thaw();
            } else {
                let mut victim = cluster.workers.remove(victim);
                victim.kill();
                cluster.start_worker(&demo_model());
            }
            deaths += 1;
        }
    }
    (memory, deaths)
}

/// Bytes that a process has in memory.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// From the median of the first fifth to that of the last.
fn growth(memory: &[[u64; 2]], place: usize) -> f64 {
    let fifth = (memory.len() / 5).max(1);
    let median = |samples: &[[u64; 2]]| {
        let mut values: Vec<u64> = samples.iter().map(|sample| sample[place]).collect();
        values.sort_unstable();
        values[values.len() / 2] as f64
    };
    median(&memory[memory.len() - fifth..]) / median(&memory[..fifth]) - 1.0
}

fn over_http(load: &Load, front: &Front, mut random: StdRng) {
    while load.goes_on() {
        let streams = random.random_bool(0.5);
        let mut body = json!({
            "model": if random.random_bool(0.3) { "m@gender/man:40" } else { "m" },
            "prompt": "so it was ".repeat(random.random_range(1..12)),
            "max_tokens": random.random_range(4..60),
            "n": random.random_range(1..5),
            "seed": random.random::<u32>(),
            "stream": streams,
        });
        if random.random_bool(0.2) {
            body["prompt"] = json!(["Once", "so it was", "The nurse said"]);
        }
        if random.random_bool(0.2) {
            body["observe"] = json!(["gender/woman"]);
        }
        if random.random_bool(0.2) {
            body["logprobs"] = json!(3);
        }
        if random.random_bool(0.2) {
            body["stop"] = json!([".", " the"]);
        }
        if random.random_bool(0.5) {
            body["condition"] = json!({"concept": "gender/woman", "k": random.random_range(1..400)});
        }
        if random.random_bool(0.05) {
            body["condition"] = json!({"concept": "gender/nobody"});
        }
        let mut stream = front.send("POST /v1/completions", "", &body.to_string());
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if random.random_bool(0.3) {
            // Leaves at once, or amid the answer.
            let mut some = vec![0; random.random_range(0..2000)];
            let _ = stream.read(&mut some);
            let _ = stream.shutdown(Shutdown::Both);
            count(&load.outcomes.left);
            continue;
        }
        let mut text = String::new();
        let read = stream.read_to_string(&mut text);
        let is_whole = read.is_ok() && text.contains("\r\n\r\n");
        let counter = match is_whole.then(|| Answer::read(&text)) {
            None => &load.outcomes.lost,
            Some(answer) if answer.status != 200 => {
                if answer.status == 429 {
                    count(&load.outcomes.busy);
                    // As such an answer asks for.
                    std::thread::sleep(Duration::from_millis(random.random_range(0..1000)));
                }
                if answer.json()["error"]["message"].is_string() { &load.outcomes.refused } else { &load.outcomes.lost }
            }
            Some(answer) if !streams => {
                if answer.json()["choices"].is_array() {
                    &load.outcomes.done
                } else {
                    &load.outcomes.lost
                }
            }
            Some(answer) => match answer.pieces() {
                (_, true) => &load.outcomes.done,
                (pieces, false) if pieces.last().is_some_and(|last| last["error"]["message"].is_string()) => {
                    &load.outcomes.broken
                }
                _ => &load.outcomes.lost,
            },
        };
        count(counter);
    }
}

/// Asks for much and reads none of it for a while.
fn without_reading(load: &Load, front: &Front) {
    let body = json!({"model": "m", "prompt": "so it was", "max_tokens": 100, "n": 4, "stream": true, "logprobs": 20});
    while load.goes_on() {
        let stream = front.send("POST /v1/completions", "", &body.to_string());
        std::thread::sleep(Duration::from_secs(3));
        let _ = stream.shutdown(Shutdown::Both);
        count(&load.outcomes.left);
    }
}

async fn over_grpc(load: Arc<Load>, url: String, mut random: StdRng) {
    let client = Client::connect(&url, &Credentials::default()).await.unwrap();
    while load.goes_on() {
        let concept = "gender/woman".parse().unwrap();
        let target = Target::Experts {
            concept,
            recipe: Default::default(),
            k: random.random_range(1..400),
            rank: Rank::Top,
            criterion: Default::default(),
        };
        let condition = Condition { target, value: ForcingValue::Mean, positions: Positions::All };
        let request = GenerateRequest {
            model: "m".parse().unwrap(),
            prompt: "Once upon a time ".repeat(random.random_range(1..6)),
            conditions: vec![condition],
            observe: Vec::new(),
            sampling: Sampling {
                seed: random.random(),
                max_new_tokens: random.random_range(4..60),
                ..Sampling::default()
            },
            samples: random.random_range(1..5),
            guide: None,
        };
        let leaves_after = random.random_bool(0.3).then(|| random.random_range(0..40));
        count(one_over_grpc(&client, request, leaves_after, &load.outcomes).await);
    }
}

/// Where a request counts.
async fn one_over_grpc<'o>(
    client: &Client,
    request: GenerateRequest,
    leaves_after: Option<u32>,
    outcomes: &'o Outcomes,
) -> &'o AtomicU64 {
    let mut open = request.samples;
    let Ok(begun) = tokio::time::timeout(PATIENCE, client.generate(request)).await else { return &outcomes.lost };
    let Ok(mut events) = begun else { return &outcomes.refused };
    let mut seen = 0;
    loop {
        if leaves_after == Some(seen) {
            return &outcomes.left;
        }
        seen += 1;
        match tokio::time::timeout(PATIENCE, events.next()).await {
            Ok(Some(Ok(GenerateEvent::Finished { .. }))) => open -= 1,
            Ok(Some(Ok(GenerateEvent::Token { .. }))) => {}
            Ok(Some(Err(_))) => return &outcomes.broken,
            Ok(None) if open == 0 => return &outcomes.done,
            Ok(None) | Err(_) => return &outcomes.lost,
        }
    }
}
