//! A request is one request in the logs, errors and traces of all processes.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lode_tests::{Cluster, Flags, Raw, demo_concepts, demo_model, message};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value as Attribute},
    trace::v1::Span,
};
use serde_json::Value;
use tokio_stream::wrappers::TcpListenerStream;

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn cluster(flags: &str) -> Cluster {
    let (coordinator, worker) = (words(flags), words(flags));
    Cluster::start_with(Flags { coordinator, worker, client: Vec::new() }, 1, &demo_model())
}

fn mine(cluster: &Cluster) {
    let concept = demo_concepts().join("gender/woman.json").display().to_string();
    cluster.lode(&["mine", "--model", "m", &concept]).ok();
}

/// The request that a line of a JSON log belongs to.
fn request(log: &str, message: &str) -> String {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut found = lines.filter(|line| line["fields"]["message"] == message);
    let line = found.next().unwrap_or_else(|| panic!("nobody said {message:?}:\n{log}"));
    let spans = line["spans"].as_array().unwrap();
    let call = spans.iter().find(|span| span["name"] == "call").unwrap_or_else(|| panic!("no call in {line}"));
    call["request"].as_str().unwrap().to_owned()
}

#[test]
fn a_job_is_one_request_from_its_submission_to_the_workers() {
    let mut cluster = cluster("--log-format json");
    mine(&cluster);
    let coordinator = cluster.coordinator.as_ref().unwrap().log();
    let submitted = request(&coordinator, "job submitted");
    assert_eq!(submitted.len(), 16, "{submitted}");
    assert_eq!(request(&coordinator, "job ended"), submitted);
    // The worker says so when it has sent everything: that may be a moment after the job's end.
    cluster.workers[0].wait_for("shard mined");
    assert_eq!(request(&cluster.workers[0].log(), "shard mined"), submitted);
}

#[test]
fn an_error_that_users_cannot_mend_names_the_request() {
    let mut cluster = cluster("");
    mine(&cluster);
    cluster.workers[0].terminate();
    cluster.workers[0].wait();
    let said = cluster.lode(&["generate", "--model", "m", "--prompt", "Once"]).refused();
    let (_, id) = said.split_once("(request ").unwrap_or_else(|| panic!("no request in {said}"));
    let id = id.split(')').next().unwrap();
    let log = cluster.coordinator.as_ref().unwrap().log();
    let line = log.lines().find(|line| line.contains(id) && line.contains("the call failed"));
    assert!(line.is_some_and(|line| line.contains("no worker has model")), "{id} is not in\n{log}");
    // A mistake of the user's needs no log.
    let said = cluster.lode(&["units", "top", "--model", "m", "--concept", "gender/nobody"]).refused();
    assert!(!said.contains("(request "), "{said}");
}

#[test]
fn the_clients_own_id_is_kept_if_it_can_be_logged() {
    let cluster = cluster("");
    let ask = async |id: &str| {
        let raw = Raw::connect(cluster.address()).await;
        let ended = raw.call("/lode.v1.Lode/TopUnits", &[("x-request-id", id)], message(&[])).await;
        ended.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        assert_eq!(ask("nightly-7").await, "nightly-7");
        assert_ne!(ask("line} forged=\"yes").await, "line} forged=\"yes");
        assert_eq!(ask(&"x".repeat(65)).await.len(), 16);
    });
}

/// As much of an OpenTelemetry collector as keeps what it gets: spans by the name of their service.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<BTreeMap<String, Vec<Span>>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let mut spans = self.0.lock().unwrap();
        for resource in request.into_inner().resource_spans {
            let name = text(&resource.resource.unwrap().attributes, "service.name").unwrap();
            let own = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.entry(name).or_default().extend(own);
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    match attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()? {
        Attribute::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

impl Collector {
    /// Starts to collect, as long as the runtime is there.
    fn start(&self, runtime: &tokio::runtime::Runtime) -> SocketAddr {
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(self.clone()));
        runtime.spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        address
    }

    fn of(&self, service: &str) -> Vec<Span> {
        self.0.lock().unwrap().get(service).cloned().unwrap_or_default()
    }
}

#[test]
fn traces_run_through_all_processes() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let collector = Collector::default();
    let address = collector.start(&runtime);
    let mut cluster = cluster(&format!("--otlp http://{address}"));
    mine(&cluster);
    // What is left is sent when they end.
    cluster.workers[0].terminate();
    assert!(cluster.workers[0].wait().success());
    let coordinator = cluster.coordinator.as_mut().unwrap();
    coordinator.terminate();
    assert!(coordinator.wait().success());

    let (coordinator, worker) = (collector.of("lode-coordinator"), collector.of("lode-worker"));
    let call = |spans: &[Span], rpc: &str| {
        let found = spans.iter().find(|span| text(&span.attributes, "rpc").as_deref() == Some(rpc)).cloned();
        found.unwrap_or_else(|| panic!("no call of {rpc} in {spans:#?}"))
    };
    let submitted = call(&coordinator, "Lode/SubmitJob");
    let mined = call(&worker, "Worker/Mine");
    assert_eq!(mined.trace_id, submitted.trace_id, "one trace");
    assert_eq!(text(&mined.attributes, "request"), text(&submitted.attributes, "request"));
    // Up from the worker's call, through the coordinator's shard and job, to what the client asked for.
    let by_id: BTreeMap<_, _> = coordinator.iter().map(|span| (span.span_id.clone(), span)).collect();
    let mut way = Vec::new();
    let mut parent = mined.parent_span_id;
    while let Some(span) = by_id.get(&parent) {
        way.push(span.name.as_str());
        parent = span.parent_span_id.clone();
    }
    assert_eq!(way, ["shard", "job", "call"]);
    let names: BTreeSet<_> = worker.iter().map(|span| span.name.as_str()).collect();
    assert!(names.contains("shard"), "{names:?}");
}

#[test]
fn a_collector_that_is_not_there_costs_nothing_but_spans() {
    let cluster = cluster("--otlp http://127.0.0.1:1");
    let start = Instant::now();
    mine(&cluster);
    assert!(start.elapsed() < Duration::from_secs(60));

    let bad = ["--data-dir", "data", "--otlp", "not a url"];
    let mut coordinator = lode_tests::Program::start("lode-coordinator", cluster.folder(), bad);
    assert!(!coordinator.wait().success());
    assert!(coordinator.log().contains("--otlp takes"), "{}", coordinator.log());
}
