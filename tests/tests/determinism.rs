//! The same sentences and concepts give the same bytes, whatever the order and however many workers.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::path::{Path, PathBuf};

use lode_tests::{Cluster, demo_concepts, demo_model, lode};

/// Concepts of the bundled set that share sentences with each other, small enough to mine often.
fn concepts(folder: &Path) -> Vec<PathBuf> {
    let list = std::fs::read_to_string(demo_concepts().join("concept_list.csv")).unwrap();
    let some = list.lines().skip(1).step_by(4).take(6);
    some.map(|line| {
        let (group, name) = line.split_once(',').unwrap();
        let text = std::fs::read_to_string(demo_concepts().join(group).join(format!("{name}.json"))).unwrap();
        let mut concept: serde_json::Value = serde_json::from_str(&text).unwrap();
        for class in ["positive", "negative"] {
            concept["sentences"][class].as_array_mut().unwrap().truncate(60);
        }
        write(folder, &concept)
    })
    .collect()
}

fn write(folder: &Path, concept: &serde_json::Value) -> PathBuf {
    let path = folder.join(format!("{}.json", concept["concept"].as_str().unwrap()));
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(&path, concept.to_string()).unwrap();
    path
}

/// The same concept with its sentences in another order.
fn turned(path: &Path, folder: &Path) -> PathBuf {
    let mut concept: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for class in ["positive", "negative"] {
        let sentences = concept["sentences"][class].as_array_mut().unwrap();
        sentences.reverse();
        sentences.rotate_left(7);
    }
    write(folder, &concept)
}

/// Mines on a cluster and exports every concept, in the order of `names`.
fn mine(workers: usize, split: &str, files: &[PathBuf], names: &[String]) -> Vec<String> {
    let cluster = Cluster::start(workers, &demo_model());
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    cluster.lode(&[&["mine", "--model", "m", "--split", split], &files[..]].concat()).ok();
    let export = |name: &String| {
        let ask = ["export", "--model", "m", "--concept", name, "--format", "csv", "--out", "-"];
        cluster.lode(&ask).ok()
    };
    names.iter().map(export).collect()
}

#[test]
fn order_and_workers_change_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let files = concepts(&folder.path().join("one"));
    let mut reversed: Vec<PathBuf> = files.iter().map(|file| turned(file, &folder.path().join("two"))).collect();
    reversed.reverse();
    let names: Vec<String> = files
        .iter()
        .map(|file| {
            let concept: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
            format!("{}/{}", concept["group"].as_str().unwrap(), concept["concept"].as_str().unwrap())
        })
        .collect();
    let once = mine(1, "never", &files, &names);
    assert!(once.iter().all(|csv| csv.lines().count() > 1000), "an export of a whole model");
    assert_eq!(once, mine(1, "never", &reversed, &names), "in another order");
    for workers in [1, 2, 4] {
        for split in ["never", "always"] {
            assert!(once == mine(workers, split, &reversed, &names), "{workers} workers, split {split}");
        }
    }
}

/// A concept's expertise does not depend on what was mined with it, nor on how much memory there was.
#[test]
fn company_and_memory_change_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<String> =
        concepts(&folder.path().join("one")).iter().map(|path| path.display().to_string()).collect();
    let model = format!("m={}", demo_model().display());
    let first: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&files[0]).unwrap()).unwrap();
    let name = format!("{}/{}", first["group"].as_str().unwrap(), first["concept"].as_str().unwrap());
    let export = |data: &str, files: &[String], budget: &str| {
        let data = folder.path().join(data).display().to_string();
        let at = ["--embedded", "--data-dir", &data];
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        lode(&[&at[..], &["--memory-budget", budget, "mine", "--model", &model], &files].concat()).ok();
        let ask = ["export", "--model", "m", "--concept", &name, "--format", "csv", "--out", "-"];
        lode(&[&at[..], &ask].concat()).ok()
    };
    let alone = export("alone", &files[..1], "1GiB");
    assert_eq!(alone, export("company", &files, "1GiB"), "mined with others");
    assert_eq!(alone, export("spilled", &files, "0B"), "every response on disk, and split: no memory holds a concept");
}
