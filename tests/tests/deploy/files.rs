//! The files of `deploy/` as data.

use std::path::Path;

use lode_tests::repository;
use serde::Deserialize as _;
use serde_json::Value;

/// A file's text, by its path in `deploy/`.
pub fn text(path: &str) -> String {
    let path = repository().join("deploy").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The documents of a YAML file, anchors and merges resolved.
pub fn yaml(path: &str) -> Vec<Value> {
    let text = text(path);
    let documents = serde_norway::Deserializer::from_str(&text).map(|document| {
        let mut value = serde_norway::Value::deserialize(document).unwrap_or_else(|error| panic!("{path}: {error}"));
        value.apply_merge().unwrap_or_else(|error| panic!("{path}: {error}"));
        serde_json::to_value(value).unwrap_or_else(|error| panic!("{path}: {error}"))
    });
    documents.collect()
}

/// The one document of a YAML file.
pub fn only(path: &str) -> Value {
    let [document] = yaml(path).try_into().unwrap_or_else(|found: Vec<_>| panic!("{path}: {} documents", found.len()));
    document
}

/// The Kubernetes object of some kind in a file.
#[track_caller]
pub fn object(path: &str, kind: &str) -> Value {
    let found = yaml(path).into_iter().find(|object| object["kind"] == kind);
    found.unwrap_or_else(|| panic!("{path}: no {kind}"))
}

/// All files of `deploy/`, by path in it.
pub fn all() -> Vec<String> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            // Tokens are made there, and nothing else.
            if path.file_name().is_some_and(|name| name == "secrets") {
                continue;
            }
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let root = repository().join("deploy");
    let mut found = Vec::new();
    walk(&root, &root, &mut found);
    found.sort();
    found
}

/// A list of a document; empty if there is none.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text of a document.
#[track_caller]
pub fn string(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}
