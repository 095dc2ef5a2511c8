//! What operators see: probes, metrics, logs and reflection of real processes.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use lode_tests::{Cluster, Front, Program, binary, demo_concepts, demo_model};
use serde_json::Value;

const HTTP: [&str; 2] = ["--http", "127.0.0.1:0"];

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited a minute for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A coordinator with more arguments.
fn coordinator(cluster: &mut Cluster, more: &[&str]) {
    let mut command = Command::new(binary("lode-coordinator"));
    command.args(cluster.coordinator_args()).args(more);
    cluster.start_coordinator_as(command);
}

/// A worker with more arguments, not waited for.
fn worker(cluster: &Cluster, more: &[&str]) -> Program {
    let more = more.iter().map(|arg| (*arg).to_owned());
    Program::start("lode-worker", cluster.folder(), cluster.worker_args(&demo_model()).into_iter().chain(more))
}

fn concept(path: &str) -> String {
    demo_concepts().join(path).display().to_string()
}

fn has_series(scraped: &str, metric: &lode_ops::Metric) {
    let (name, help) = (metric.name, metric.help);
    assert!(scraped.contains(&format!("# HELP {name} {help}\n")), "no help for {name} in\n{scraped}");
    let samples = scraped.lines().filter(|line| !line.starts_with('#') && line.starts_with(name)).count();
    assert!(samples >= metric.outcomes.len().max(1), "no values of {name} in\n{scraped}");
}

#[test]
fn metrics_move_with_the_work() {
    let mut cluster = Cluster::empty();
    coordinator(&mut cluster, &HTTP);
    let front = cluster.coordinator.as_mut().unwrap().front();
    assert_eq!(front.get("/healthz").status, 200);
    assert_eq!(front.get("/readyz").status, 200, "a coordinator needs no worker to be ready");
    let mut worker = worker(&cluster, &HTTP);
    let worker_front = worker.front();
    wait_until("the worker is ready", || worker_front.get("/readyz").status == 200);
    assert_eq!(worker_front.get("/healthz").status, 200);
    assert_eq!(front.get("/nothing").status, 404);

    // Everything that is documented is there from the start, so that a rate has a beginning.
    let scraped = front.get("/metrics").body;
    lode_coordinator::METRICS.iter().for_each(|metric| has_series(&scraped, metric));
    let scraped = worker_front.get("/metrics").body;
    lode_worker::METRICS.iter().for_each(|metric| has_series(&scraped, metric));
    assert_eq!(front.metric("lode_workers"), 1.0);
    assert_eq!(front.metric("lode_tokens_mined_total"), 0.0);

    cluster.lode(&["mine", "--model", "m", &concept("gender/woman.json"), &concept("gender/man.json")]).ok();
    let generate = ["generate", "--model", "m", "--prompt", "Yesterday", "--max-new-tokens", "8", "--num", "2"];
    cluster.lode(&generate).ok();
    cluster.lode(&[&generate[..], &["--concept", "gender/nobody", "--k", "5"]].concat()).refused();

    assert_eq!(front.metric("lode_jobs_running"), 0.0);
    assert_eq!(front.metric("lode_concepts_total{outcome=\"indexed\"}"), 2.0);
    assert_eq!(front.metric("lode_concepts_total{outcome=\"failed\"}"), 0.0);
    assert!(front.metric("lode_shards_total{outcome=\"done\"}") >= 1.0);
    assert_eq!(front.metric("lode_shard_retries_total"), 0.0);
    assert!(front.metric("lode_tokens_mined_total") > 0.0);
    assert_eq!(front.metric("lode_commit_seconds_count"), 2.0);
    assert!(front.metric("lode_commit_seconds_sum") > 0.0);
    assert!(front.metric("lode_index_bytes") > 0.0);
    assert_eq!(front.metric("lode_generate_requests_total{outcome=\"done\"}"), 1.0);
    assert_eq!(front.metric("lode_generate_requests_total{outcome=\"refused\"}"), 1.0);
    assert_eq!(front.metric("lode_generate_seconds_count"), 1.0);
    assert_eq!(front.metric("lode_generate_first_token_seconds_count"), 1.0);
    let generated = front.metric("lode_tokens_generated_total");
    assert!((1.0..=16.0).contains(&generated), "{generated}");

    assert!(worker_front.metric("lode_worker_tokens_total") >= front.metric("lode_tokens_mined_total"));
    assert!(worker_front.metric("lode_worker_batch_seconds_count") > 0.0);
    // It is counted when the last summary is sent; whoever receives that may be done before.
    wait_until("the worker has counted its shard", || worker_front.metric("lode_worker_shards_total") >= 1.0);
    assert_eq!(worker_front.metric("lode_worker_spilled_bytes_total"), 0.0);
    assert_eq!(worker_front.metric("lode_worker_tokens_generated_total"), generated);
    wait_until("no sample is being generated", || worker_front.metric("lode_worker_sequences_active") == 0.0);

    // A job while it runs, and a shard that is tried again: its only worker dies.
    let mined = front.metric("lode_tokens_mined_total");
    cluster.lode(&["mine", "--model", "m", "--detach", &demo_concepts().display().to_string()]).ok();
    wait_until("a shard of the job runs", || front.metric("lode_tokens_mined_total") > mined);
    assert_eq!(front.metric("lode_jobs_running"), 1.0);
    worker.kill();
    wait_until("the shard is tried again", || front.metric("lode_shard_retries_total") >= 1.0);
    assert_eq!(front.metric("lode_shards_total{outcome=\"retried\"}"), front.metric("lode_shard_retries_total"));
    wait_until("the worker is gone", || front.metric("lode_workers") == 0.0);
    cluster.lode(&["cancel", "2"]).ok();
    wait_until("the job is over", || front.metric("lode_jobs_running") == 0.0);
}

/// A client that says hello and never listens to a farewell: its connection holds the drain open.
fn deaf_client(url: &str) -> TcpStream {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    let empty_settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    stream.write_all(&empty_settings).unwrap();
    // The server has seen it once it answers.
    stream.read_exact(&mut [0; 9]).unwrap();
    stream
}

#[test]
fn a_draining_coordinator_is_alive_and_not_ready() {
    let mut cluster = Cluster::empty();
    coordinator(&mut cluster, &HTTP);
    let front = cluster.coordinator.as_mut().unwrap().front();
    wait_until("the coordinator is ready", || front.get("/readyz").status == 200);
    let deaf = deaf_client(&cluster.url());
    cluster.coordinator.as_ref().unwrap().terminate();
    wait_until("it drains", || front.get("/readyz").status == 503);
    assert_eq!(front.get("/readyz").body, "draining\n");
    assert_eq!(front.get("/healthz").status, 200);
    assert!(cluster.coordinator.as_mut().unwrap().wait().success(), "the deaf client does not hold it for ever");
    drop(deaf);
}

#[test]
fn a_worker_without_a_coordinator_is_alive_and_not_ready() {
    let mut cluster = Cluster::empty();
    let mut worker = worker(&cluster, &HTTP);
    let front = worker.front();
    assert_eq!(front.get("/healthz").status, 200);
    wait_until("it looks for its coordinator", || front.get("/readyz").body.contains("not registered"));
    assert_eq!(front.get("/readyz").status, 503);
    cluster.start_coordinator();
    wait_until("it is registered", || front.get("/readyz").status == 200);
    cluster.kill_coordinator();
    assert_eq!(front.get("/healthz").status, 200, "alive asks nobody");
}

#[test]
fn an_embedded_cluster_has_one_front() {
    let cluster = Cluster::empty();
    let model = format!("m={}", demo_model().display());
    let mut up = Command::new(binary("lode"));
    up.args(["up", "--model", &model, "--workers", "2", "--device", "cpu", "--grpc", "127.0.0.1:0", "--data-dir"]);
    up.arg(cluster.data_dir()).args(HTTP);
    let mut up = Program::spawn("lode", cluster.folder(), up);
    let front: Front = up.front();
    wait_until("it is ready with its workers", || {
        front.get("/readyz").status == 200 && front.metric("lode_workers") == 2.0
    });
    let scraped = front.get("/metrics").body;
    lode_coordinator::METRICS.iter().chain(lode_worker::METRICS).for_each(|metric| has_series(&scraped, metric));
}

/// The log as objects, one a line.
fn json(program: &Program) -> Vec<Value> {
    let log = program.log();
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    log.lines().map(parse).collect()
}

#[track_caller]
fn line<'l>(log: &'l [Value], message: &str) -> &'l Value {
    let found = log.iter().find(|line| line["fields"]["message"] == message);
    found.unwrap_or_else(|| panic!("nobody said {message:?}: {log:#?}"))
}

#[test]
fn json_logs_carry_job_and_shard() {
    let mut cluster = Cluster::empty();
    coordinator(&mut cluster, &["--log-format", "json"]);
    let mut worker = worker(&cluster, &["--log-format", "json"]);
    worker.wait_for("\"registered\"");
    cluster.lode(&["mine", "--model", "m", &concept("gender/woman.json")]).ok();
    // Written before the client hears of the job's end.
    let said = json(cluster.coordinator.as_ref().unwrap());
    let ended = line(&said, "job ended");
    assert_eq!((&ended["span"]["name"], &ended["span"]["job"]), (&"job".into(), &"job-1".into()));
    // The worker's, when it has sent everything: that may be a moment later.
    worker.wait_for("shard mined");
    let said = json(&worker);
    let mined = line(&said, "shard mined");
    assert_eq!(mined["span"]["job"], "job-1");
    assert!(mined["span"]["shard"].is_string(), "{mined}");
}

/// The services that a server names to whoever asks it.
fn services(url: &str) -> Vec<String> {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let ask = async {
        let channel = tonic::transport::Endpoint::from_shared(url.to_owned()).unwrap().connect().await.unwrap();
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let request = ServerReflectionRequest { host: String::new(), message_request };
        let requests = tokio_stream::once(request);
        let mut answers =
            ServerReflectionClient::new(channel).server_reflection_info(requests).await.unwrap().into_inner();
        match answers.message().await.unwrap().unwrap().message_response {
            Some(MessageResponse::ListServicesResponse(list)) => list.service.into_iter().map(|s| s.name).collect(),
            other => panic!("{other:?}"),
        }
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(ask)
}

#[test]
fn servers_describe_themselves() {
    let cluster = Cluster::start(1, &demo_model());
    let names = services(&cluster.url());
    assert!(names.contains(&"lode.v1.Lode".to_owned()), "{names:?}");
    let log = cluster.workers[0].log();
    let url = log.split(" url=").nth(1).unwrap().split_whitespace().next().unwrap().trim_matches('"').to_owned();
    assert!(services(&url).contains(&"lode.v1.Worker".to_owned()));
}
