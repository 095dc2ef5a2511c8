//! Probes ask real programs for paths that they serve, and hear what the probe is for.

use std::collections::BTreeSet;

use lode_tests::{Cluster, Program, demo_model};
use serde_json::Value;

use crate::files::{list, object, only, string, text};

/// The paths that are asked for, by what is asked.
#[derive(Debug, Default)]
struct Paths {
    alive: BTreeSet<String>,
    ready: BTreeSet<String>,
    metrics: BTreeSet<String>,
}

/// The path of `http://HOST:PORT/PATH`, whatever HOST:PORT looks like.
fn path(url: &str) -> String {
    let rest = url.split("://").nth(1).unwrap_or_else(|| panic!("{url} is no URL"));
    format!("/{}", rest.split_once('/').expect("a path").1)
}

fn paths() -> Paths {
    let mut paths = Paths::default();
    for (file, kind) in [("coordinator", "StatefulSet"), ("worker", "Deployment")] {
        let object = object(&format!("kubernetes/base/{file}.yaml"), kind);
        let pod = &object["spec"]["template"];
        let container = &pod["spec"]["containers"][0];
        let probe = |name: &str| -> String {
            let get = &container[name]["httpGet"];
            assert_eq!(get["port"], "http", "{file}: {name}");
            string(&get["path"]).to_owned()
        };
        paths.alive.insert(probe("livenessProbe"));
        paths.ready.insert(probe("readinessProbe"));
        paths.metrics.insert(string(&pod["metadata"]["annotations"]["prometheus.io/path"]).to_owned());
    }
    let compose: Value = only("compose/compose.yaml");
    for service in compose["services"].as_object().unwrap().values() {
        paths.ready.insert(path(string(list(&service["healthcheck"]["test"]).last().unwrap())));
    }
    let script = text("slurm/coordinator.sbatch");
    let url = script.split_whitespace().find(|word| word.starts_with("\"http://$http/")).expect("it waits");
    paths.ready.insert(path(url.trim_matches([';', '"'])));
    paths
}

#[test]
fn probes_hear_what_they_ask_for() {
    let paths = paths();
    let mut cluster = Cluster::empty();
    let http = ["--http", "127.0.0.1:0"].map(str::to_owned);
    let arguments = cluster.worker_args(&demo_model()).into_iter().chain(http);
    let mut worker = Program::start("lode-worker", cluster.folder(), arguments);
    // Its coordinator is not there: it lives and is not ready.
    let front = worker.front();
    for path in &paths.alive {
        assert_eq!(front.get(path).status, 200, "{path}");
    }
    for path in &paths.ready {
        assert_eq!(front.get(path).status, 503, "{path}");
    }
    for path in &paths.metrics {
        assert!(front.get(path).body.contains("lode_worker_shards_total 0"), "{path}");
    }
    cluster.start_coordinator();
    worker.wait_for("registered worker");
    for path in paths.alive.iter().chain(&paths.ready) {
        assert_eq!(front.get(path).status, 200, "{path}");
    }
}
