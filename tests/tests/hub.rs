//! Models by hub id, from a hub on the loopback.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{
    path::Path,
    process::{Command, Output},
};

use lode_tests::{Hub, binary, repository};

fn lode(hub: &Hub, home: &Path, args: &[&str]) -> Output {
    Command::new(binary("lode"))
        .args(args)
        .env("HF_ENDPOINT", hub.endpoint())
        .env("HF_HOME", home)
        .env("HF_TOKEN", "a-secret")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// The file that a request asks for.
fn file(request: &str) -> &str {
    request.split_whitespace().nth(1).and_then(|path| path.rsplit('/').next()).unwrap_or_default()
}

fn concept(folder: &Path) -> String {
    let path = folder.join("c.json");
    let text = r#"{"concept": "c", "group": "g", "sentences": {"positive": ["a b", "b a"], "negative": ["c d"]}}"#;
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// One with a single file of weights, one with shards and their index.
#[test]
fn models_come_from_the_hub_once() {
    for case in ["llama", "gpt2_untied_sharded"] {
        let model = repository().join("tests/golden/cases").join(case).join("model");
        let hub = Hub::serve("lab/tiny", &model);
        let home = tempfile::tempdir().unwrap();
        let concept = concept(home.path());
        let mine = ["--embedded", "mine", "--model", "tiny=lab/tiny", &concept];
        let mined = lode(&hub, home.path(), &mine);
        assert!(mined.status.success(), "{}", said(&mined));
        let requests = hub.requests();
        assert!(requests.iter().all(|r| r.to_lowercase().contains("authorization: bearer a-secret")), "{requests:?}");
        assert!(!said(&mined).contains("a-secret"));
        // What was fetched stays in HF_HOME.
        let again = lode(&hub, home.path(), &mine);
        assert!(again.status.success(), "{}", said(&again));
        // A sharded model is asked for its single file each time, which it does not have.
        let held = |request: &&String| request.contains(".safetensors ") && model.join(file(request)).exists();
        let fetched_again: Vec<_> = hub.requests()[requests.len()..].iter().filter(held).cloned().collect();
        assert!(fetched_again.is_empty(), "{fetched_again:?}");
    }
}

#[test]
fn lint_needs_no_weights() {
    let hub = Hub::serve("lab/tiny", &repository().join("tests/golden/cases/llama/model"));
    let home = tempfile::tempdir().unwrap();
    let linted = lode(&hub, home.path(), &["lint", "--model", "tiny=lab/tiny", &concept(home.path())]);
    assert!(linted.status.success(), "{}", said(&linted));
    assert!(!hub.requests().iter().any(|request| request.contains("safetensors")));
}

#[test]
fn an_id_that_the_hub_does_not_have_is_told_with_both_readings() {
    let hub = Hub::serve("lab/tiny", Path::new("/nonexistent"));
    let home = tempfile::tempdir().unwrap();
    let refused = lode(&hub, home.path(), &["--embedded", "mine", "--model", "m=lab/other", &concept(home.path())]);
    assert!(!refused.status.success());
    for part in ["lab/other", "404", "folder"] {
        assert!(said(&refused).contains(part), "{part}: {}", said(&refused));
    }
}
