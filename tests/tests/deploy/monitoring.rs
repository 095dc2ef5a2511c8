//! Dashboard and alerts ask for metrics that the programs have.

use std::collections::BTreeSet;

use lode_ops::{Kind, Metric};
use serde_json::Value;

use crate::files::{list, only, string, text, yaml};

fn metrics() -> impl Iterator<Item = &'static Metric> {
    lode_coordinator::METRICS.iter().chain(lode_worker::METRICS)
}

/// Panels of the dashboard.
fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&text("grafana/lode.json")).unwrap();
    list(&dashboard["panels"]).to_vec()
}

fn alerts() -> Vec<Value> {
    let groups = only("prometheus/alerts.yaml");
    list(&groups["groups"]).iter().flat_map(|group| list(&group["rules"])).cloned().collect()
}

/// All queries: what to call one, and its text.
fn queries() -> Vec<(String, String)> {
    let mut found: Vec<_> =
        alerts().iter().map(|rule| (string(&rule["alert"]).to_owned(), string(&rule["expr"]).to_owned())).collect();
    for panel in panels() {
        for target in list(&panel["targets"]) {
            found.push((string(&panel["title"]).to_owned(), string(&target["expr"]).to_owned()));
        }
    }
    found
}

/// What is wrong with the series that a query names, if something is.
fn wrong(query: &str) -> Option<String> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in query.match_indices("lode_") {
        if query[..at].ends_with(is_of_name) {
            continue;
        }
        let end = query[at..].find(|c| !is_of_name(c)).map_or(query.len(), |length| at + length);
        let (name, rest) = query[at..].split_at(end - at);
        let Some(metric) = metrics().find(|metric| is_series_of(metric, name)) else {
            return Some(format!("nobody counts {name}"));
        };
        let selector = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        if let Some(outcome) = selector.split("outcome=\"").nth(1).and_then(|rest| rest.split('"').next())
            && !metric.outcomes.contains(&outcome)
        {
            return Some(format!("{name} has no outcome {outcome}"));
        }
    }
    None
}

fn is_series_of(metric: &Metric, name: &str) -> bool {
    let suffix = name.strip_prefix(metric.name);
    match metric.kind {
        Kind::Histogram => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
        Kind::Counter | Kind::Gauge => suffix == Some(""),
    }
}

#[test]
fn queries_name_metrics_that_exist() {
    let queries = queries();
    assert!(queries.len() > 20, "{} queries", queries.len());
    for (name, query) in queries {
        assert_eq!(wrong(&query), None, "{name}: {query}");
    }
    assert_eq!(wrong("rate(lode_shard_total[5m])").as_deref(), Some("nobody counts lode_shard_total"));
    assert_eq!(wrong("lode_commit_seconds > 1").as_deref(), Some("nobody counts lode_commit_seconds"));
    let outcome = wrong("lode_shards_total{job=\"x\",outcome=\"lost\"}");
    assert_eq!(outcome.as_deref(), Some("lode_shards_total has no outcome lost"));
}

#[test]
fn queries_name_jobs_that_are_scraped() {
    let prometheus = only("prometheus/prometheus.yaml");
    let jobs: BTreeSet<&str> = list(&prometheus["scrape_configs"]).iter().map(|job| string(&job["job_name"])).collect();
    let mut named = BTreeSet::new();
    for (name, query) in queries() {
        for rest in query.split("job=").skip(1) {
            let value = rest.trim_start_matches('~').trim_start_matches('"').split('"').next().unwrap();
            for job in value.split('|') {
                assert!(jobs.contains(job), "{name}: nobody scrapes {job}");
                named.insert(job.to_owned());
            }
        }
    }
    assert!(named.iter().eq(&jobs), "{named:?}");
}

#[test]
fn the_dashboard_has_the_shape_that_grafana_reads() {
    let dashboard: Value = serde_json::from_str(&text("grafana/lode.json")).unwrap();
    assert!(dashboard["uid"].is_string() && dashboard["title"].is_string() && dashboard["schemaVersion"].is_u64());
    let variables = list(&dashboard["templating"]["list"]);
    assert!(variables.iter().any(|variable| variable["name"] == "datasource" && variable["type"] == "datasource"));

    let mut ids = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in panels() {
        let title = string(&panel["title"]).to_owned();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}: an id twice");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= 24, "{title}: outside of the grid");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title}: over another panel at {cell:?}");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(!list(&panel["targets"]).is_empty(), "{title}: no query");
        let mut letters = BTreeSet::new();
        for target in list(&panel["targets"]) {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(letters.insert(string(&target["refId"]).to_owned()), "{title}: a letter twice");
        }
    }
}

#[test]
fn alerts_say_what_to_do_and_are_tested() {
    let tests = text("prometheus/alerts.test.yaml");
    assert_eq!(yaml("prometheus/alerts.test.yaml").len(), 1);
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = string(&alert["alert"]);
        assert!(names.insert(name.to_owned()), "{name} twice");
        assert!(["info", "warning", "critical"].contains(&string(&alert["labels"]["severity"])), "{name}");
        assert!(!string(&alert["annotations"]["summary"]).is_empty(), "{name}");
        assert!(!string(&alert["annotations"]["description"]).is_empty(), "{name}");
        assert!(tests.contains(&format!("{{alertname=\"{name}\"")), "alerts.test.yaml never lets {name} ring");
    }
}
