//! Ports and names agree: who calls somebody calls where that one listens.

use serde_json::Value;

use crate::{
    commands::{Command, of_list},
    files::{list, object, only, string, yaml},
};

const COORDINATOR: &str = "kubernetes/base/coordinator.yaml";
const WORKER: &str = "kubernetes/base/worker.yaml";

fn pod(file: &str, kind: &str) -> Value {
    object(file, kind)["spec"]["template"].clone()
}

/// The command of a pod's one container.
fn command(file: &str, pod: &Value) -> Command {
    of_list(file, &pod["spec"]["containers"][0]["args"]).expect("the container runs one of our programs")
}

/// The port that a container declares under a name.
fn declared(pod: &Value, name: &str) -> u64 {
    let ports = list(&pod["spec"]["containers"][0]["ports"]);
    let port = ports.iter().find(|port| port["name"] == name).unwrap_or_else(|| panic!("no port {name}"));
    port["containerPort"].as_u64().unwrap()
}

/// `http://HOST:PORT` as (HOST, PORT).
fn host_and_port(url: &str) -> (&str, u64) {
    let (host, port) = url.split("://").last().unwrap().rsplit_once(':').unwrap();
    (host, port.parse().unwrap())
}

#[test]
fn kubernetes_ports_agree() {
    for (file, kind, grpc) in [(COORDINATOR, "StatefulSet", "--grpc"), (WORKER, "Deployment", "--listen")] {
        let pod = pod(file, kind);
        let command = command(file, &pod);
        assert_eq!(declared(&pod, "grpc"), command.port(grpc), "{file}");
        assert_eq!(declared(&pod, "http"), command.port("--http"), "{file}");
        let annotated = string(&pod["metadata"]["annotations"]["prometheus.io/port"]);
        assert_eq!(annotated.parse(), Ok(command.port("--http")), "{file}");
        let policies = yaml("kubernetes/base/network.yaml");
        let labels = &pod["metadata"]["labels"];
        let policy = policies.iter().find(|policy| policy["spec"]["podSelector"]["matchLabels"] == *labels);
        let rules = list(&policy.expect("a policy for these pods")["spec"]["ingress"]);
        let open: Vec<u64> =
            rules.iter().flat_map(|rule| list(&rule["ports"])).map(|port| port["port"].as_u64().unwrap()).collect();
        assert_eq!(open, [command.port(grpc), command.port("--http")], "{file}");
    }
    let worker = command(WORKER, &pod(WORKER, "Deployment"));
    assert_eq!(worker.port("--advertise"), worker.port("--listen"));
}

#[test]
fn kubernetes_names_agree() {
    let (service, coordinator) = (object(COORDINATOR, "Service"), pod(COORDINATOR, "StatefulSet"));
    let port = &list(&service["spec"]["ports"])[0];
    assert_eq!(port["port"], declared(&coordinator, string(&port["targetPort"])));
    assert_eq!(service["spec"]["selector"], coordinator["metadata"]["labels"]);
    assert_eq!(object(COORDINATOR, "StatefulSet")["spec"]["serviceName"], service["metadata"]["name"]);

    let worker = pod(WORKER, "Deployment");
    let command = command(WORKER, &worker);
    let called = host_and_port(command.value("--coordinator").unwrap());
    assert_eq!(called, (string(&service["metadata"]["name"]), port["port"].as_u64().unwrap()));
    let budget = object("kubernetes/base/disruption.yaml", "PodDisruptionBudget");
    assert_eq!(budget["spec"]["selector"]["matchLabels"], worker["metadata"]["labels"]);
}

/// Token files lie where the programs look for them, and come from the secrets that the example shows.
#[test]
fn kubernetes_secrets_agree() {
    let secrets = yaml("kubernetes/secret.example.yaml");
    for (file, kind) in [(COORDINATOR, "StatefulSet"), (WORKER, "Deployment")] {
        let pod = pod(file, kind);
        let command = command(file, &pod);
        let (folder, key) = command.value("--token-file").unwrap().rsplit_once('/').unwrap();
        let mounts = list(&pod["spec"]["containers"][0]["volumeMounts"]);
        let mount = mounts.iter().find(|mount| mount["mountPath"] == folder).expect("the token's folder is mounted");
        let volumes = list(&pod["spec"]["volumes"]);
        let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).expect("the volume is there");
        let name = &volume["secret"]["secretName"];
        let secret = secrets.iter().find(|secret| secret["metadata"]["name"] == *name);
        let secret = secret.unwrap_or_else(|| panic!("{file}: no example of {name}"));
        let example = string(&secret["stringData"][key]);
        assert!(lode_domain::access::grants(example).is_err(), "an example that opens a door: {example}");
    }
}

fn service<'c>(compose: &'c Value, name: &str) -> (&'c Value, Command) {
    let service = &compose["services"][name];
    let command = of_list("compose.yaml", &service["command"]);
    (service, command.unwrap_or_else(|| panic!("no service {name}")))
}

#[test]
fn compose_agrees() {
    let compose = only("compose/compose.yaml");
    let (coordinator, grpc) = service(&compose, "coordinator");
    let published = string(&list(&coordinator["ports"])[0]);
    assert_eq!(host_and_port(published).1, grpc.port("--grpc"));
    let names: Vec<&String> = compose["services"].as_object().unwrap().keys().collect();
    assert!(names.len() >= 3, "a coordinator and two workers: {names:?}");
    for name in names {
        let (one, command) = service(&compose, name);
        let probe = list(&one["healthcheck"]["test"]).last().map(string).unwrap();
        assert!(probe.starts_with(&format!("http://127.0.0.1:{}/", command.port("--http"))), "{name}: {probe}");
        let secret = command.value("--token-file").unwrap().strip_prefix("/run/secrets/").unwrap();
        assert!(list(&one["secrets"]).iter().any(|given| *given == secret), "{name} is not given {secret}");
        assert!(compose["secrets"][secret].is_object(), "{secret}");
        if command.program == "lode-worker" {
            let called = host_and_port(command.value("--coordinator").unwrap());
            assert_eq!(called, ("coordinator", grpc.port("--grpc")), "{name}");
            assert_eq!(host_and_port(command.value("--advertise").unwrap()), (name.as_str(), command.port("--listen")));
        }
    }
}

#[test]
fn prometheus_scrapes_what_compose_serves() {
    let (compose, prometheus) = (only("compose/compose.yaml"), only("prometheus/prometheus.yaml"));
    let mut scraped = Vec::new();
    for job in list(&prometheus["scrape_configs"]) {
        for target in list(&job["static_configs"][0]["targets"]) {
            let (host, port) = host_and_port(string(target));
            let (_, command) = service(&compose, host);
            assert_eq!((job["job_name"].as_str(), port), (Some(command.program.as_str()), command.port("--http")));
            scraped.push(host.to_owned());
        }
    }
    scraped.sort();
    let services: Vec<&String> = compose["services"].as_object().unwrap().keys().collect();
    assert!(scraped.iter().eq(services), "{scraped:?}");
}
