//! Peers that mean no good: they are refused and logged, and honest clients notice nothing.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use lode_tests::{Cluster, Ended, Flags, Front, Raw, demo_concepts, demo_model, lode, message};

const READER: &str = "reader-5f1d8a0c";
const OTHER: &str = "other-reader-1b7e";
const WORKER: &str = "worker-c94a1f58";

/// How long an honest call may take, the start of its process included, while two cores are busy with an attack.
const PROMPT: Duration = Duration::from_secs(5);

/// What an HTTP/2 connection begins with: the preface and empty settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const RESOURCE_EXHAUSTED: u16 = 8;
const UNAUTHENTICATED: u16 = 16;

/// Every RPC but one that never ends, and a path that is none.
fn rpcs() -> Vec<&'static str> {
    let known = lode_domain::access::rpcs().filter(|path| *path != HEALTH);
    known.chain(["/lode.v1.Lode/NoSuchMethod"]).collect()
}

const STATUS: &str = "/lode.v1.Lode/GetStatus";
const HEALTH: &str = "/grpc.health.v1.Health/Watch";

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A cluster with one worker and an HTTP front, its coordinator with more flags.
fn cluster(flags: &str) -> (Cluster, Front) {
    let coordinator = [words("--http 127.0.0.1:0"), words(flags)].concat();
    let mut cluster = Cluster::start_with(Flags { coordinator, ..Flags::default() }, 1, &demo_model());
    let front = cluster.coordinator.as_mut().unwrap().front();
    (cluster, front)
}

/// The same with two readers' tokens and a worker's.
fn guarded(flags: &str) -> (tempfile::TempDir, Cluster) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    std::fs::write(&path, format!("reader {READER}\nreader {OTHER}\nworker {WORKER}\n")).unwrap();
    let tokens = words(&format!("--token-file {}", path.display()));
    let flags = Flags {
        coordinator: [tokens.clone(), words(flags)].concat(),
        worker: tokens,
        client: words(&format!("--token {READER}")),
    };
    (folder, Cluster::start_with(flags, 1, &demo_model()))
}

fn log(cluster: &Cluster) -> String {
    cluster.coordinator.as_ref().unwrap().log()
}

/// An honest client asks, and hears promptly that the worker is there.
#[track_caller]
fn served(cluster: &Cluster) {
    let start = Instant::now();
    let status = cluster.lode(&["--format", "json", "status"]).ok();
    assert!(start.elapsed() < PROMPT, "it took {:?}", start.elapsed());
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["workers"].as_array().unwrap().len(), 1, "{status}");
}

/// The cluster does all it is for.
#[track_caller]
fn works(cluster: &Cluster) {
    served(cluster);
    let concept = demo_concepts().join("gender/woman.json").display().to_string();
    cluster.lode(&["mine", "--model", "m", &concept]).ok();
    cluster.lode(&["generate", "--model", "m", "--prompt", "Once", "--concept", "gender/woman", "--k", "5"]).ok();
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Runs an attack that needs HTTP/2.
fn attack<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
}

/// Opens connections and says nothing over them; as many as the system gives, `most` at most.
fn idle(address: SocketAddr, most: usize) -> Vec<TcpStream> {
    // A file for each, and some for the rest of the process.
    let files = rlimit::increase_nofile_limit(most as u64 + 200).unwrap();
    let most = most.min((files - 200) as usize);
    (0..most).map_while(|_| TcpStream::connect_timeout(&address, Duration::from_secs(10)).ok()).collect()
}

/// Whether the other end has closed; waits for it as long as given.
fn is_closed(stream: &mut TcpStream, patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut bytes = [0; 1024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => {
                return !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            }
        }
    }
}

#[test]
fn ten_thousand_idle_connections() {
    let (cluster, front) = cluster("--max-connections 500");
    let attacker = std::thread::spawn({
        let address = cluster.address();
        move || idle(address, 10_000)
    });
    // While they come, and when they are there.
    while !attacker.is_finished() {
        served(&cluster);
    }
    let connections = attacker.join().unwrap();
    println!("{} idle connections opened", connections.len());
    assert!(connections.len() > 1000, "only {} could be opened: raise ulimit -n", connections.len());
    let held = front.metric("lode_connections");
    assert!((1.0..=500.0).contains(&held), "{held} connections are held");
    works(&cluster);

    // The other end stays in the kernel's queue at most; nearly all were told to go.
    let closed =
        connections.into_iter().filter_map(|mut stream| is_closed(&mut stream, Duration::from_millis(1)).then_some(()));
    assert!(closed.count() > 500);
}

#[test]
fn idle_connections_to_the_http_front() {
    let (cluster, front) = cluster("");
    let address = front.address();
    let _idle = idle(address, 2000);
    for _ in 0..20 {
        assert_eq!(front.get("/healthz").status, 200);
        assert_eq!(front.get("/readyz").status, 200);
    }
    let mut slow = TcpStream::connect(address).unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nx: ").unwrap();
    assert!(is_closed(&mut slow, Duration::from_secs(15)), "a head that does not end");
    served(&cluster);
}

#[test]
fn slow_loris() {
    let (cluster, _) = cluster("--handshake-timeout 2");
    let address = cluster.address();
    let connect = || TcpStream::connect(address).unwrap();
    // Each stops at another place: before the preface, inside it, after it, inside a header block that does not end.
    let endless_headers = b"\0\0\x05\x01\0\0\0\0\x01\x82\x86\x84\x41\x04";
    let beginnings = [&b""[..], &PREFACE[..10], PREFACE, &[PREFACE, endless_headers].concat()];
    let mut stopped: Vec<_> = (0..200).map(|i| (i, connect())).collect();
    for (i, stream) in &mut stopped {
        stream.write_all(beginnings[*i % beginnings.len()]).unwrap();
    }
    // And one says a byte now and then.
    let trickle = std::thread::spawn({
        let mut stream = connect();
        move || {
            PREFACE
                .iter()
                .cycle()
                .take_while(|byte| {
                    std::thread::sleep(Duration::from_millis(200));
                    stream.write_all(&[**byte]).is_ok()
                })
                .count()
        }
    });
    served(&cluster);
    let start = Instant::now();
    for (i, stream) in &mut stopped {
        assert!(is_closed(stream, Duration::from_secs(10)), "connection {i} is still open");
    }
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(trickle.join().unwrap() < 50, "a byte now and then keeps no connection open");
    works(&cluster);
}

#[test]
fn silence_and_noise_instead_of_tls() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(file("pem"), certified.cert.pem()).unwrap();
    std::fs::write(file("key"), certified.signing_key.serialize_pem()).unwrap();
    let show = |path: PathBuf| path.display().to_string();
    let (pem, key) = (show(file("pem")), show(file("key")));
    let coordinator = words(&format!("--tls-cert {pem} --tls-key {key} --handshake-timeout 2"));
    let ca = words(&format!("--ca {pem}"));
    let cluster = Cluster::start_with(Flags { coordinator, worker: ca.clone(), client: ca }, 1, &demo_model());
    let mut silent: Vec<_> = (0..100).map(|_| TcpStream::connect(cluster.address()).unwrap()).collect();
    for _ in 0..100 {
        let mut noisy = TcpStream::connect(cluster.address()).unwrap();
        noisy.write_all(&noise(1, 400)).unwrap();
        assert!(is_closed(&mut noisy, Duration::from_secs(5)));
    }
    served(&cluster);
    for stream in &mut silent {
        assert!(is_closed(stream, Duration::from_secs(10)), "a handshake that never begins");
    }
    let log = log(&cluster);
    assert!(log.contains("refused a connection"), "{log}");
    let lines = log.lines().filter(|line| line.contains("refused a connection")).count();
    assert!(lines < 150, "an attacker fills the disk with {lines} lines");
    works(&cluster);
}

/// Bytes without sense, the same in every run.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn malformed_messages() {
    let (cluster, _) = cluster("--rate-limit 100000");
    let worker = worker_address(&cluster);
    let refused = attack(async {
        let mut refused = 0;
        for address in [cluster.address(), worker] {
            let raw = Raw::connect(address).await;
            for (seed, path) in (0..).zip(rpcs()) {
                let bodies = [
                    noise(seed, 300),
                    message(&noise(seed, 300)),
                    // A field that claims more bytes than there are, and text that is not UTF-8.
                    message(&[0x0a, 0xff, 0x01, b'x']),
                    message(&[0x0a, 0x02, 0xc3, 0x28]),
                    // Fewer bytes than the frame says, and a compressed one where compression was not agreed on.
                    message(&[1; 50])[..20].to_vec(),
                    [&[1][..], &message(&[])[1..]].concat(),
                ];
                for body in bodies {
                    let ended = raw.call(path, &[], body).await;
                    // An empty or unknown field is a valid message; then it is the request that is wrong, or nothing.
                    refused += usize::from(ended.status != Some(0));
                    assert!(ended.status.is_some(), "{path} broke off: {ended:?}");
                }
            }
        }
        refused
    });
    let asked = 2 * 6 * rpcs().len();
    assert!(rpcs().len() > 25 && refused > asked * 4 / 5, "{refused} of {asked} were refused");
    let (coordinator, worker) = (log(&cluster), cluster.workers[0].log());
    assert!(!coordinator.contains("panicked") && !worker.contains("panicked"), "{coordinator}\n{worker}");
    assert!(coordinator.contains("the call failed"), "{coordinator}");
    works(&cluster);
}

#[test]
fn oversized_messages() {
    let (cluster, _) = cluster("");
    /// The head of a message, without the message.
    fn announced(bytes: u32) -> Vec<u8> {
        [&[0], &bytes.to_be_bytes()[..], &[0; 100]].concat()
    }
    let too_large = |ended: &Ended| ended.status.is_some_and(|status| status == RESOURCE_EXHAUSTED || status == 11);
    attack(async {
        let raw = Raw::connect(cluster.address()).await;
        for (path, bytes) in [
            ("/lode.v1.Lode/SubmitJob", 65 << 20),
            ("/lode.v1.Lode/SubmitJob", u32::MAX),
            (STATUS, 2 << 20),
            ("/lode.v1.Registry/Register", 2 << 20),
            ("/grpc.health.v1.Health/Check", 100 << 10),
        ] {
            let ended = raw.call(path, &[], announced(bytes)).await;
            assert!(too_large(&ended), "{path} with {bytes} bytes: {ended:?}");
        }
        let sent = raw.call(STATUS, &[], message(&vec![0; 2 << 20])).await;
        assert!(sent.status.is_none() || too_large(&sent), "{sent:?}");
        // More headers than anybody needs; HTTP/2 itself refuses them.
        let long = "x".repeat(64 << 10);
        let ended = raw.call(STATUS, &[("x-long", &long)], message(&[])).await;
        assert_ne!(ended.status, Some(0), "{ended:?}");
    });
    works(&cluster);
}

#[test]
fn a_flood_of_calls_costs_others_nothing() {
    let (_folder, cluster) = guarded("--rate-limit 5");
    /// Calls as fast as it can while it may go on, and counts the statuses.
    fn flood(cluster: &Cluster, token: &str, go_on: impl Fn(usize) -> bool) -> Flood {
        let token = bearer(token);
        attack(async {
            let mut raw = Raw::connect(cluster.address()).await;
            let mut flood = Flood::default();
            while go_on(flood.calls) {
                let ended = raw.call(STATUS, &[("authorization", &token)], message(&[])).await;
                flood.calls += 1;
                match ended.status {
                    Some(0) => flood.served += 1,
                    Some(RESOURCE_EXHAUSTED) => {
                        assert!(ended.message.contains("5 a second"), "{ended:?}");
                        assert!(ended.headers.contains_key("grpc-status-details-bin"), "when to try again: {ended:?}");
                        flood.exhausted += 1;
                    }
                    Some(UNAUTHENTICATED) => flood.unknown += 1,
                    // HTTP/2 has limits of its own for a peer whose calls are all reset, and throws it out.
                    None => raw = Raw::connect(cluster.address()).await,
                    _ => panic!("{ended:?}"),
                }
            }
            flood
        })
    }
    #[derive(Debug, Default)]
    struct Flood {
        calls: usize,
        served: usize,
        exhausted: usize,
        unknown: usize,
    }

    let is_enough = AtomicBool::new(false);
    let (flooded, said) = std::thread::scope(|scope| {
        let start = Instant::now();
        let flooding = scope.spawn(|| flood(&cluster, OTHER, |_| !is_enough.load(Ordering::Relaxed)));
        let mut said = Vec::new();
        // The other token is not touched by it, nor is the worker's. An honest client keeps to its rate.
        while start.elapsed() < Duration::from_secs(8) {
            served(&cluster);
            let other = lode(&["--coordinator", &cluster.url(), "--token", OTHER, "jobs"]);
            said.extend((!other.status.success()).then(|| other.refused()));
            std::thread::sleep(Duration::from_millis(300));
        }
        is_enough.store(true, Ordering::Relaxed);
        (flooding.join().unwrap(), said)
    });
    println!("{flooded:?}");
    assert!((10..200).contains(&flooded.served) && flooded.exhausted > 500 && flooded.unknown == 0, "{flooded:?}");
    let said = said.first().unwrap();
    assert!(said.contains("too many calls") && said.contains("try again in"), "{said}");

    // Nor by one that guesses tokens, and the log stays short.
    let guesses = flood(&cluster, "guess", |calls| calls < 2000);
    println!("{guesses:?}");
    assert!(guesses.unknown >= 1 && guesses.served == 0 && guesses.exhausted > 1000, "{guesses:?}");
    served(&cluster);
    let (lines, calls) = (log(&cluster).matches("refused").count(), flooded.calls + guesses.calls);
    assert!((1..500).contains(&lines), "{lines} lines about {calls} calls");
}

#[test]
fn streams_that_do_not_end() {
    let (_folder, cluster) = guarded("--max-calls 10");
    attack(async {
        let raw = Raw::connect(cluster.address()).await;
        let watch = async || raw.hold(HEALTH, message(&[])).await;
        // Ten may run, without a token; they never end by themselves.
        let mut watching = Vec::new();
        for _ in 0..10 {
            watching.push(watch().await.unwrap());
        }
        let ended = watch().await.unwrap_err();
        assert_eq!(ended.status, Some(RESOURCE_EXHAUSTED), "{ended:?}");
        assert!(ended.message.contains("at once"), "{ended:?}");
        served(&cluster);
        // What is dropped makes room, as soon as the server has heard of it.
        drop(watching);
        let start = Instant::now();
        while let Err(ended) = watch().await {
            assert_eq!(ended.status, Some(RESOURCE_EXHAUSTED), "{ended:?}");
            assert!(start.elapsed() < PROMPT, "no room was made");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    served(&cluster);
}

/// A stream that never ends and needs no token keeps nobody out: neither of the coordinator nor of a worker, from however many
/// connections it is held.
#[test]
fn endless_streams_over_all_connections() {
    let (_folder, cluster) = guarded("--max-connections 20");
    let worker = worker_address(&cluster);
    attack(async {
        let mut watching = Vec::new();
        // A worker has 64 connections.
        for (address, most) in [(cluster.address(), 40), (worker, 100)] {
            let mut held = 0;
            for _ in 0..most {
                // What is closed to make room, or not let in at all, is what should happen to some.
                let Some(raw) = Raw::try_connect(address).await else { continue };
                if let Ok(stream) = raw.hold(HEALTH, message(&[])).await {
                    watching.push((raw, stream));
                    held += 1;
                }
            }
            assert!(held >= 10, "only {held} streams could be held");
        }
        served(&cluster);
        // The coordinator gets through to its worker, too.
        cluster.lode(&["generate", "--model", "m", "--prompt", "Once"]).ok();
    });
}

/// Where the first worker serves.
fn worker_address(cluster: &Cluster) -> SocketAddr {
    let status: serde_json::Value = serde_json::from_str(&cluster.lode(&["--format", "json", "status"]).ok()).unwrap();
    status["workers"][0]["url"].as_str().unwrap().trim_start_matches("http://").parse().unwrap()
}
