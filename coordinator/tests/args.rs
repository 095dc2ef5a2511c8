//! What `lode-coordinator` says to people who start it.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::process::Command;

fn coordinator(args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lode-coordinator")).args(args).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn help_shows_examples() {
    let (success, help) = coordinator(&["--help"]);
    assert!(success && help.contains("Examples:") && help.contains("lode-coordinator --data-dir"), "{help}");
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let (success, said) = coordinator(&["--data-dir", &file.path().display().to_string(), "--grpc", "127.0.0.1:0"]);
    assert!(!success && said.contains(&file.path().display().to_string()), "{said}");
}

#[test]
fn an_address_that_is_none_is_refused() {
    let (success, said) = coordinator(&["--data-dir", "x", "--grpc", "nowhere"]);
    assert!(!success && said.contains("--grpc") && said.contains("nowhere"), "{said}");
}
