//! The door that the tests of this crate go through.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod tiny;

use std::path::{Path, PathBuf};

use lode_domain::pooling::Tokens;
use lode_model::{DeviceChoice, LoadOptions, Model, Prepared};

/// A path from the workspace's root.
pub fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// All golden cases: the repository's own, and the shared ones where they are there.
pub fn cases() -> Vec<PathBuf> {
    let folders = [root("tests/golden/cases"), root("../shared/golden")];
    let mut cases: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| folder.read_dir().ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("expected/meta.json").exists())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "there are no golden cases in {folders:?}");
    cases
}

/// Loads a model on the CPU in f32.
pub fn load(folder: &Path) -> Model {
    let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
    Model::load(folder, &options).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

/// The sentences that are not dropped, ready for mining.
pub fn prepare_all(model: &Model, sentences: &[String], tokens: Tokens) -> Vec<Prepared> {
    sentences.iter().filter_map(|text| model.text().prepare(text, tokens).unwrap().ok()).collect()
}
