//! What the tests share: a model, concepts with known values, and this binary run again as a child process.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part; a failed step fails the test")]

use std::process::Command;

use lode_domain::{
    expertise::{Column, ExpertiseBlock, Recipe},
    id::ModelHash,
    unit::{Layer, LayerName, UnitId},
};
use lode_index::{ConceptHeader, ConceptKey, Index, IndexError, ModelRecord};

/// Three and a half blocks of 1,024.
pub const UNITS: u32 = 3_600;
pub const MODEL: ModelHash = ModelHash([3; 32]);

pub fn model(name: &str, hash: ModelHash, units: u32) -> ModelRecord {
    let layers = vec![Layer { name: LayerName::new("transformer.h.0.mlp.c_fc"), units }];
    ModelRecord { name: name.parse().unwrap(), hash, family: "gpt2".into(), context_len: 1024, layers }
}

pub fn key(concept: &str) -> ConceptKey {
    ConceptKey { model: MODEL, concept: concept.parse().unwrap(), recipe: Recipe::default() }
}

/// The value of a unit in a column of a concept's `version`th mining.
pub fn value(version: u64, column: Column, unit: u32) -> f32 {
    let mixed = (u64::from(unit) * 5 + column as u64 + version * 1_000_003).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 40) as f32 / 16_777_216.0 - 0.25
}

pub fn range(version: u64, start: u32, end: u32) -> ExpertiseBlock {
    let columns = Column::BASE.map(|column| (start..end).map(|unit| value(version, column, unit)).collect());
    ExpertiseBlock::from_columns(start, columns).unwrap()
}

pub fn header(version: u64) -> ConceptHeader {
    ConceptHeader { positives: 10, negatives: 20, seed: version, precision: "f32".into(), ..ConceptHeader::default() }
}

/// Stages and commits a concept of `units` units, its values those of `version`.
pub fn mine(index: &Index, key: &ConceptKey, version: u64, units: u32) -> Result<(), IndexError> {
    let mut staging = index.stage(key)?;
    for start in (0..units).step_by(1_000) {
        staging.write(&range(version, start, units.min(start + 1_000)))?;
    }
    staging.commit(&header(version))
}

/// Asserts that a concept is whole and holds exactly the values of the version that its header names; returns the version.
pub fn check_whole(index: &Index, key: &ConceptKey) -> u64 {
    let header = index.header(key).unwrap();
    for column in Column::BASE {
        let found = index.column(key, column).unwrap();
        assert_eq!(found.len() as u32, header.units, "{key}");
        for (unit, found) in found.iter().enumerate() {
            let expected = value(header.seed, column, unit as u32);
            assert_eq!(found.to_bits(), expected.to_bits(), "{key} {column} {unit}");
        }
    }
    let last = UnitId(header.units - 1);
    assert_eq!(index.unit(key, last).unwrap().on_p90, value(header.seed, Column::OnP90, last.0));
    header.seed
}

/// This test binary, to run only the test `child` with `variable` set to `value`.
pub fn child(variable: &str, value: &std::path::Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads", "1"]).env(variable, value);
    command
}
