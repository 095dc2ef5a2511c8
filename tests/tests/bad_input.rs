//! Bad input gets a clear error and loses nothing.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::path::{Path, PathBuf};

use lode_tests::{Cluster, demo_concepts, demo_model, lode, repository};
use serde_json::json;

/// A folder for one test's files.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// A concept `test/NAME` with the given sentences.
    fn concept(&self, name: &str, positive: &[&str], negative: &[&str]) -> String {
        let sentences = json!({ "positive": positive, "negative": negative });
        let concept = json!({ "concept": name, "group": "test", "sentences": sentences });
        self.write(&format!("{name}.json"), &concept.to_string())
    }

    fn data_dir(&self) -> String {
        self.0.path().join("data").display().to_string()
    }
}

fn model_argument(folder: &Path) -> String {
    format!("m={}", folder.display())
}

/// `lode mine` on an embedded cluster with the bundled model; must fail.
fn refused(files: &Files, args: &[&str]) -> String {
    let model = model_argument(&demo_model());
    lode(&[&["--embedded", "--data-dir", &files.data_dir(), "mine", "--model", &model], args].concat()).refused()
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

#[test]
fn concept_files_are_refused_by_file_and_line() {
    let files = Files::new();
    let malformed = files.write("malformed.json", "{\"concept\": \"a\",\n \"group\": \"g\",\n oops}");
    says(&refused(&files, &[&malformed]), &["malformed.json:3:"]);
    let shape = files.write("shape.json", r#"{"concept": "a", "group": "g", "sentences": ["x"]}"#);
    says(&refused(&files, &[&shape]), &["shape.json"]);
    let pool = files.write("pool.jsonl", "{\"text\": \"a\", \"concepts\": [\"g/c\"]}\nnot json\n");
    says(&refused(&files, &[&pool]), &["pool.jsonl:2"]);
    let no_positives = files.concept("no-positives", &[], &["a"]);
    says(&refused(&files, &[&no_positives]), &["no-positives.json", "positive"]);
    let no_negatives = files.concept("no-negatives", &["a"], &[]);
    says(&refused(&files, &[&no_negatives]), &["no-negatives.json", "negative"]);
    says(&refused(&files, &["nowhere.json"]), &["nowhere.json"]);
    let text = files.write("concept.txt", "x");
    says(&refused(&files, &[&text]), &["concept.txt"]);
}

#[test]
fn strict_refuses_what_would_change_the_result() {
    let files = Files::new();
    let good: Vec<String> = (0..6).map(|i| format!("The band played song {i}.")).collect();
    let good: Vec<&str> = good.iter().map(String::as_str).collect();
    let long = "The band played on and on. ".repeat(60);
    let with = |extra: &'static str| [&good[..3], &[extra]].concat();
    let both = files.concept("both", &with("We saw it."), &with("We saw it.")[2..]);
    let empty = files.concept("empty", &with(""), &good[3..]);
    let twice = files.concept("twice", &with("The band played song 0."), &good[3..]);
    let too_long = files.concept("long", &[&good[..3], &[&long]].concat(), &good[3..]);
    for (file, kind) in [(&both, "both-classes"), (&empty, "empty"), (&twice, "duplicate"), (&too_long, "too-long")] {
        says(&refused(&files, &["--strict", file]), &[kind]);
        // Without it the concept is mined, and the finding is told and kept.
        let model = model_argument(&demo_model());
        let at = ["--embedded", "--data-dir", &files.data_dir()];
        let mined = lode(&[&at[..], &["mine", "--model", &model, file]].concat());
        assert!(mined.status.success(), "{mined:?}");
        says(&(mined.stdout + &mined.stderr), &[kind]);
        let listed = lode(&[&at[..], &["--format", "json", "concepts", "--model", "m"]].concat()).ok();
        says(&listed, &[kind]);
    }
}

#[test]
fn nothing_left_to_score_is_an_error_that_names_the_concept() {
    let files = Files::new();
    let long = "The band played on and on. ".repeat(60);
    let gone = files.concept("gone", &[&long], &["A dog sat."]);
    says(&refused(&files, &[&gone]), &["test/gone", "positive", "too-long"]);
}

#[test]
fn broken_models_are_refused_by_name() {
    let bad = repository().join("tests/golden/bad");
    let files = Files::new();
    let concept = files.concept("c", &["a b"], &["c d"]);
    for (folder, parts) in [
        ("nan_weight", &["transformer.h.1.mlp.c_fc.weight", "not finite"][..]),
        ("truncated", &["model.safetensors"]),
        ("missing_tensor", &["transformer.h.1.attn.c_proj.weight"]),
        ("unsupported_family", &["bert", "gpt2"]),
        ("unsupported_rope", &["yarn"]),
        ("wrong_tokenizer", &["tokenizer.json"]),
    ] {
        let model = model_argument(&bad.join(folder));
        let said = lode(&["--embedded", "mine", "--model", &model, &concept]).refused();
        says(&said, parts);
    }
    let said = lode(&["--embedded", "mine", "--model", "m=./no-such-folder", &concept]).refused();
    says(&said, &["no-such-folder"]);
}

/// One cluster with one mined concept, asked all the wrong questions.
#[test]
fn wrong_questions_are_answered_with_what_there_is() {
    let cluster = Cluster::start(1, &demo_model());
    let list = std::fs::read_to_string(demo_concepts().join("concept_list.csv")).unwrap();
    let (group, name) = list.lines().nth(1).unwrap().split_once(',').unwrap();
    let file = demo_concepts().join(group).join(format!("{name}.json"));
    cluster.lode(&["mine", "--model", "m", &file.display().to_string()]).ok();
    let concept = format!("{group}/{name}");
    let ask = |args: &[&str]| cluster.lode(args).refused();

    says(
        &ask(&["units", "top", "--model", "m", "--concept", &format!("{group}/{name}x")]),
        &["did you mean", &concept],
    );
    says(&ask(&["units", "top", "--model", "other", "--concept", &concept]), &["no model `other`", "m"]);
    says(&ask(&["units", "show", "--model", "m", "transformer.h.99.mlp.c_fc[0]"]), &["transformer.h.99.mlp.c_fc"]);
    says(&ask(&["units", "show", "--model", "m", "transformer.h.0.mlp.c_fc[99999]"]), &["512 units"]);
    says(&ask(&["units", "show", "--model", "m", "nonsense"]), &["nonsense", "LAYER[INDEX]"]);
    says(&ask(&["units", "top", "--model", "m", "--concept", &concept, "--layer", "["]), &["layer glob"]);
    says(&ask(&["overlap", "--model", "m", &concept, "no/such"]), &["no/such"]);
    says(&ask(&["overlap", "--model", "m", &concept, &concept, "--top", "9999999"]), &["9999999"]);
    says(&ask(&["export", "--model", "m", "--concept", "no/such", "--format", "csv", "--out", "-"]), &["no/such"]);
    let generate = |args: &[&str]| ask(&[&["generate", "--model", "m", "--prompt", "We"], args].concat());
    says(&generate(&["--concept", &concept, "--k", "0"]), &["k"]);
    says(&generate(&["--concept", &concept, "--k", "1000000"]), &["1000000", "4608 units"]);
    says(&generate(&["--concept", "no/such", "--k", "5"]), &["no/such"]);
    says(&generate(&["--temperature", "-1"]), &["temperature"]);
    says(&generate(&["--concept", &concept, "--k", "5", "--value", "lots"]), &["mean, p50, p90, zero"]);
    let long = "word ".repeat(500);
    says(&ask(&["generate", "--model", "m", "--prompt", &long]), &["the prompt has", "context allows 127"]);
    says(&ask(&["watch", "job-99"]), &["job-99"]);
    says(&ask(&["cancel", "job-99"]), &["job-99"]);
    // After all of that the concept is still whole.
    let top = cluster.lode(&["--format", "json", "units", "top", "--model", "m", "--concept", &concept]).ok();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&top).unwrap().as_array().map(Vec::len), Some(50), "{top}");
}

#[test]
fn no_coordinator_and_no_worker_say_what_to_do() {
    let said = lode(&["--coordinator", "http://127.0.0.1:9", "status"]).refused();
    says(&said, &["http://127.0.0.1:9", "--embedded"]);
    let cluster = Cluster::start(0, &demo_model());
    let files = Files::new();
    let concept = files.concept("c", &["a b"], &["c d"]);
    says(&cluster.lode(&["mine", "--model", "m", &concept]).refused(), &["m"]);
}

#[test]
fn an_index_of_another_format_is_left_alone() {
    let files = Files::new();
    let concept = files.concept("c", &["a b", "a c"], &["c d"]);
    let model = model_argument(&demo_model());
    let at = ["--embedded", "--data-dir", &files.data_dir()];
    lode(&[&at[..], &["mine", "--model", &model, &concept]].concat()).ok();
    let index = PathBuf::from(files.data_dir()).join("index");
    // The crate that owns the format tests an old version's bytes; here a foreign folder stands for the way to the user.
    let foreign = Files::new();
    std::fs::create_dir_all(PathBuf::from(foreign.data_dir()).join("index")).unwrap();
    std::fs::write(PathBuf::from(foreign.data_dir()).join("index/notes.txt"), "mine").unwrap();
    let query = ["concepts", "--model", "m"];
    let said = lode(&[&["--embedded", "--data-dir", &foreign.data_dir()], &query[..]].concat()).refused();
    says(&said, &["not a lode index"]);
    assert!(index.exists());
    lode(&[&at[..], &query].concat()).ok();
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    // A file where a folder should be stops root too.
    let files = Files::new();
    let file = files.write("file", "");
    let said = lode(&["--embedded", "--data-dir", &file, "concepts", "--model", "m"]).refused();
    says(&said, &[&file]);
}

#[test]
fn a_worker_whose_model_differs_is_refused() {
    let cluster = Cluster::start(1, &demo_model());
    let other = repository().join("tests/golden/cases/gpt2/model");
    let mut worker = lode_tests::Program::start("lode-worker", cluster.folder(), cluster.worker_args(&other));
    assert!(!worker.wait().success());
    says(&worker.log(), &["model `m` is", "differ"]);
}
