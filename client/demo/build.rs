//! Compiles the crate again when a grammar file changes: `include_dir!` does not tell cargo what it read.
#![allow(clippy::print_stdout, reason = "cargo reads a build script's standard output")]

fn main() {
    println!("cargo::rerun-if-changed=grammar");
}
