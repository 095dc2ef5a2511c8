//! Invariants of ARCHITECTURE.md that a compiler does not check.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use lode_tests::repository;

/// What each package may depend on within the workspace, outside its tests.
const EDGES: [(&str, &[&str]); 12] = [
    ("lode-domain", &[]),
    ("lode-proto", &["lode-domain"]),
    ("lode-ops", &[]),
    ("lode-index", &["lode-domain"]),
    ("lode-model", &["lode-domain"]),
    ("lode-coordinator", &["lode-domain", "lode-index", "lode-ops", "lode-proto"]),
    ("lode-worker", &["lode-domain", "lode-model", "lode-ops", "lode-proto"]),
    (
        "lode-client",
        &["lode-coordinator", "lode-domain", "lode-eval", "lode-guide", "lode-ops", "lode-proto", "lode-worker"],
    ),
    ("lode-demo", &[]),
    ("lode-eval", &[]),
    ("lode-guide", &["lode-domain"]),
    ("lode-tests", &[]),
];

/// Packages that only some may name, with the reason in ARCHITECTURE.md.
const FENCED: [(&str, &[&str]); 12] = [
    ("sled", &["lode-index"]),
    ("candle-core", &["lode-model", "lode-demo", "lode-guide"]),
    ("hf-hub", &["lode-model"]),
    ("tonic", &["lode-proto", "lode-coordinator", "lode-worker", "lode-client"]),
    ("tonic-prost", &["lode-proto"]),
    ("prost", &["lode-proto"]),
    ("axum", &["lode-ops", "lode-coordinator"]),
    ("minijinja", &["lode-coordinator"]),
    ("metrics", &["lode-ops"]),
    ("tokio", &["lode-ops", "lode-proto", "lode-coordinator", "lode-worker", "lode-client", "lode-tests"]),
    ("governor", &["lode-proto"]),
    ("opentelemetry-otlp", &["lode-ops"]),
];

/// The normal dependencies of every package of the workspace.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(repository())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let list = |value: &serde_json::Value| value.as_array().expect("a list").clone();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let normal = list(&package["dependencies"]).into_iter().filter(|d| d["kind"].is_null());
            (text(&package["name"]), normal.map(|d| text(&d["name"])).collect())
        })
        .collect()
}

#[test]
fn dependencies_run_in_one_direction() {
    let found = dependencies();
    assert_eq!(
        found.keys().map(String::as_str).collect::<BTreeSet<_>>(),
        EDGES.iter().map(|(name, _)| *name).collect()
    );
    for (package, allowed) in EDGES {
        let own: BTreeSet<&str> =
            found[package].iter().map(String::as_str).filter(|name| found.contains_key(*name)).collect();
        let extra: Vec<_> = own.iter().filter(|name| !allowed.contains(*name)).collect();
        assert!(extra.is_empty(), "{package} must not depend on {extra:?}");
    }
}

#[test]
fn libraries_stay_behind_their_fences() {
    let found = dependencies();
    for (library, allowed) in FENCED {
        let users: Vec<&String> =
            found.iter().filter(|(_, names)| names.contains(library)).map(|(name, _)| name).collect();
        let extra: Vec<_> = users.iter().filter(|name| !allowed.contains(&name.as_str())).collect();
        assert!(extra.is_empty(), "{extra:?} must not name {library}");
        assert!(!users.is_empty(), "nobody names {library}: drop it from this list");
    }
}

/// Rust files of the repository, by path from its root.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, found);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(&repository(), &mut paths);
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("the file can be read");
        (path.strip_prefix(repository()).expect("it lies in the repository").to_owned(), text)
    };
    paths.into_iter().map(read).collect()
}

/// Only the conversions, the server files, the stubs and the registration know generated types.
#[test]
fn the_wire_stops_at_the_door() {
    let doors = ["server.rs", "registry_server.rs", "worker_client.rs", "registration.rs", "stub.rs"];
    for (path, text) in sources() {
        let name = path.file_name().expect("it has a name").to_string_lossy().into_owned();
        let is_door = doors.contains(&name.as_str()) || path.starts_with("proto/src") || path.starts_with("tests/fuzz");
        // Workers that are made up serve the wire themselves.
        let is_door = is_door || path.ends_with("tests/tests/memory/fake.rs");
        // Whoever runs a server names the service it adds.
        let names_wire = text.lines().any(|line| line.contains("wire::") && !line.contains("_server::"));
        assert!(is_door || !names_wire || path.ends_with("tidy.rs"), "{} names the wire", path.display());
    }
}

#[test]
fn files_hold_one_noun() {
    for (path, text) in sources() {
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines = code.lines().count();
        assert!(
            lines <= 500 || path.starts_with("tests"),
            "{} has {lines} lines: is there a second noun?",
            path.display()
        );
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled in pieces so that this file does not find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("un", "implemented!("), concat!("#[ig", "nore")];
    for (path, text) in sources() {
        for word in words {
            assert!(!text.contains(word), "{} says {word}", path.display());
        }
    }
}

/// Unsafe code needs a reason that stands beside its `allow`.
#[test]
fn unsafe_code_gives_its_reason() {
    for (path, text) in sources() {
        for line in text.lines().filter(|line| line.contains(concat!("allow(", "unsafe_code"))) {
            assert!(line.contains("reason ="), "{}: {line}", path.display());
        }
    }
}
