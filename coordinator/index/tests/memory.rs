//! What is staged takes disk, not memory, however much of it there is at once.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use common::{check_whole, header, model, range};
use lode_domain::{expertise::Recipe, id::ModelHash, record::ConceptKey};
use lode_index::{Index, Staging};

const WIDE: ModelHash = ModelHash([9; 32]);
/// 2 MB a concept, 200 MB in all.
const UNITS: u32 = 100_000;
const CONCEPTS: u64 = 100;

/// Bytes of this process that `/proc` has under a name.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn key(concept: u64) -> ConceptKey {
    ConceptKey { model: WIDE, concept: format!("g/c{concept}").parse().unwrap(), recipe: Recipe::default() }
}

/// As shards send it: unit block by unit block, all concepts at once, and then all are whole in the same moment.
#[test]
fn two_hundred_megabytes_are_staged_and_committed() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path()).unwrap();
    index.put_model(&model("wide", WIDE, UNITS)).unwrap();
    let mut staged: Vec<Staging> = (0..CONCEPTS).map(|concept| index.stage(&key(concept)).unwrap()).collect();
    let before = memory("VmRSS");
    for start in (0..UNITS).step_by(4096) {
        for (version, staging) in (0..).zip(&mut staged) {
            staging.write(&range(version, start, UNITS.min(start + 4096))).unwrap();
        }
    }
    let grown = memory("VmRSS").saturating_sub(before);
    println!("staged: {} MB", grown >> 20);
    assert!(grown < 20 << 20, "{} MB of memory for what is staged", grown >> 20);

    std::thread::scope(|scope| {
        for (version, staging) in (0..).zip(staged) {
            scope.spawn(move || staging.commit(&header(version)).unwrap());
        }
    });
    let grown = memory("VmHWM").saturating_sub(before);
    println!("committed: {} MB", grown >> 20);
    // The database's cache is what may grow, and what it has not written.
    assert!(grown < 400 << 20, "{} MB of memory for what is committed", grown >> 20);
    for concept in [0, CONCEPTS / 2, CONCEPTS - 1] {
        assert_eq!(check_whole(&index, &key(concept)), concept);
    }
}
