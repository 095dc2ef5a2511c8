//! What `lode-worker` says to people who start it.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::process::Command;

fn worker(args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lode-worker")).args(args).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn help_shows_examples() {
    let (success, help) = worker(&["--help"]);
    assert!(success && help.contains("Examples:") && help.contains("lode-worker --coordinator"), "{help}");
}

#[test]
fn a_model_without_a_name_is_refused() {
    let (success, said) = worker(&["--model", "./somewhere"]);
    assert!(!success && said.contains("NAME=PATH_OR_HUB_ID"), "{said}");
}

#[test]
fn a_device_and_a_size_that_are_none_are_refused() {
    for (flag, value) in [("--device", "tpu"), ("--dtype", "int8"), ("--memory-budget", "lots")] {
        let (success, said) = worker(&["--model", "m=x", flag, value]);
        assert!(!success && said.contains(value), "{said}");
    }
}
