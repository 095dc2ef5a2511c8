//! A worker computes its next shard while it still delivers the one before. Whatever breaks then, every concept counts once, and the
//! exports are byte for byte those of an undisturbed run.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use lode_client::{Client, Credentials};
use lode_tests::{Cluster, Expected, Flags, Proxy, demo_model, status_of, wait_until};

/// A cluster whose only worker, which is reached through a proxy, has both ranges of a split job computed and neither delivered: it
/// holds before their first word.
struct Held {
    cluster: Cluster,
    proxy: Proxy,
    job: String,
}

fn held(expected: &Expected) -> Held {
    let coordinator = ["--lease", "1", "--shard-deadline", "20"].map(str::to_owned).to_vec();
    let mut cluster = Cluster::start_with(Flags { coordinator, ..Flags::default() }, 0, &demo_model());
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::to(listen);
    let (listen, advertise) = (listen.to_string(), format!("http://{}", proxy.address()));
    let flags = ["--listen", &listen, "--advertise", &advertise];
    cluster.start_worker_pausing(&demo_model(), "worker-first-block", &flags);
    let job = expected.submit(&cluster, &["--split", "always"]);
    // A summary begins only after its forward passes.
    wait_until("both ranges are computed", || pauses(&cluster) == 2);
    let status = status_of(&cluster, &job);
    assert_eq!(status["tokens_done"], status["tokens_total"], "{status}");
    let folder = cluster.data_dir().join("partial/1");
    let files = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    assert_eq!(
        files.filter(|path| path.extension().is_some_and(|is| is == "responses")).count(),
        0,
        "none is delivered"
    );
    Held { cluster, proxy, job }
}

fn pauses(cluster: &Cluster) -> usize {
    cluster.workers[0].log().matches("paused for a test").count()
}

#[test]
fn both_shards_come_in_when_they_are_let_go() {
    let expected = Expected::of(4, 40);
    let Held { cluster, job, .. } = held(&expected);
    cluster.let_go();
    expected.check(&cluster, &job);
    let log = cluster.coordinator.as_ref().unwrap().log();
    assert!(!log.contains("shard broke off"), "{log}");
}

#[test]
fn a_worker_is_lost_with_two_shards() {
    let expected = Expected::of(4, 40);
    let faults: [fn(&mut Cluster, &Proxy); 4] = [
        |cluster, _| cluster.workers[0].kill(),
        |cluster, _| cluster.workers[0].terminate(),
        |cluster, _| cluster.workers[0].freeze(),
        |_, proxy| proxy.cut(),
    ];
    for fault in faults {
        let Held { mut cluster, proxy, job } = held(&expected);
        fault(&mut cluster, &proxy);
        cluster.start_worker(&demo_model());
        expected.check(&cluster, &job);
    }
}

#[test]
fn a_cancelled_job_gives_up_both_shards() {
    let expected = Expected::of(4, 40);
    let Held { cluster, job, .. } = held(&expected);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(Client::connect(&cluster.url(), &Credentials::default())).unwrap();
    let start = Instant::now();
    runtime.block_on(client.cancel(job.parse().unwrap())).unwrap();
    wait_until("the worker is free", || runtime.block_on(client.status()).unwrap().workers[0].mining.is_none());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    cluster.let_go();
    expected.check(&cluster, &expected.submit(&cluster, &["--split", "always"]));
}
