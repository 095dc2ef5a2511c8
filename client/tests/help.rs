//! What `lode` says of itself.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::process::Command;

fn lode(args: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lode")).args(args).output().unwrap();
    (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn every_command_has_help_with_an_example() {
    let (_, help) = lode(&["--help"]);
    let commands = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let names: Vec<&str> =
        commands.take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() >= 14, "{help}");
    for name in names.into_iter().filter(|name| !["help", "units", "bench", "eval"].contains(name)) {
        let (success, help) = lode(&[name, "--help"]);
        assert!(success && help.contains("Example") && help.contains(&format!("lode {name}")), "{help}");
    }
    let grouped = [("units", "top"), ("units", "show"), ("units", "layers"), ("bench", "mine"), ("bench", "serve")];
    for (group, name) in grouped.into_iter().chain([("eval", "sweep"), ("eval", "parity"), ("eval", "tcav")]) {
        let (success, help) = lode(&[group, name, "--help"]);
        assert!(success && help.contains("Example"), "{help}");
    }
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let (success, script) = lode(&["completions", shell]);
        assert!(success && script.contains("generate") && script.contains("nearest"), "{shell}");
    }
}

#[test]
fn an_unknown_command_is_refused() {
    let (success, said) = lode(&["dig"]);
    assert!(!success && said.contains("dig"), "{said}");
}
