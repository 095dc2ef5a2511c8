//! The door that the tests of this crate go through.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod tiny;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use lode_domain::{
    guide::{Discriminator, Guide, Reader},
    pooling::Tokens,
};
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

/// A guide that knows tokens 0 to 19.
pub fn guide(strength: f32, candidates: u32) -> Arc<Reader> {
    let number = |place: usize| ((place * 7919 % 97) as f32 - 48.0) / 40.0;
    let numbers = |count: usize| (0..count).map(number).collect::<Vec<f32>>();
    let discriminator = Discriminator {
        tokens: (0..20).collect(),
        vectors: numbers(21 * 3),
        input: numbers(6 * 3),
        input_bias: numbers(6),
        recurrent: numbers(6 * 2),
        recurrent_bias: numbers(6),
        output: vec![2.0, -1.0],
        output_bias: 0.1,
    };
    Arc::new(Reader::new(Guide { discriminator: discriminator.into(), strength, candidates }).unwrap())
}
