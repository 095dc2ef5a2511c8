//! Controls: models that learned nothing, mined beside those that did.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use lode_tests::{Cluster, demo_concepts, demo_model, lode};

#[test]
fn a_control_stands_beside_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let model = format!("m={}", demo_model().display());
    let concept = demo_concepts().join("sense/bank-river.json").display().to_string();
    let mined = |data: &str, flags: &[&str]| {
        let data = folder.path().join(data).display().to_string();
        let at = ["--embedded", "--data-dir", &data, "--format", "csv"];
        lode(&[&at[..], &["mine", "--model", &model, &concept], flags].concat()).ok();
        move |args: &[&str]| lode(&[&["--embedded", "--data-dir", &data, "--format", "csv"], args].concat())
    };
    let ask = mined("one", &[]);
    let before = ask(&["export", "--model", "m", "--concept", "sense/bank-river"]).ok();
    let ask = mined("one", &["--control", "random-init"]);
    let export = ["export", "--model", "m.random-init", "--concept", "sense/bank-river"];
    let control = ask(&export).ok();
    assert_eq!(before, ask(&["export", "--model", "m", "--concept", "sense/bank-river"]).ok(), "the model's own stays");
    assert_eq!(control, mined("two", &["--control", "random-init"])(&export).ok(), "the same bytes again");
    let other = ["export", "--model", "m.random-init-7", "--concept", "sense/bank-river"];
    assert_ne!(control, mined("two", &["--control", "random-init:7"])(&other).ok());

    let numbers =
        |csv: &str| csv.lines().skip(1).map(|line| line[..line.find(',').unwrap()].to_owned()).collect::<Vec<_>>();
    assert_ne!(numbers(&before), numbers(&control), "other weights, other expertise");
}

#[test]
fn a_control_that_nobody_serves_is_refused_with_what_to_do() {
    let cluster = Cluster::start(1, &demo_model());
    let concept = demo_concepts().join("topic/sea.json").display().to_string();
    let refused = cluster.lode(&["mine", "--model", "m", "--control", "random-init", &concept]).refused();
    assert!(refused.contains("no model `m.random-init`"), "{refused}");
    assert!(refused.contains("lode-worker --control random-init"), "{refused}");
    let refused = cluster.lode(&["mine", "--model", "m", "--control", "shuffled", &concept]).refused();
    assert!(refused.contains("`shuffled` is not one of random-init, random-init:SEED"), "{refused}");
}
