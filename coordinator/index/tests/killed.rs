//! A process killed at any moment loses nothing that it had acknowledged, and shows no half of anything else.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed step fails the test; a child talks to its parent"
)]

mod common;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::{MODEL, UNITS, check_whole, key, mine, model};
use lode_index::Index;

const LOOP: &str = "LODE_INDEX_TEST_LOOP";
const CONCEPTS: u64 = 5;

/// Not a test of its own: the process that is killed. It mines a few concepts again and again, each time with other values,
/// and says what was committed.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(LOOP) else { return };
    let index = Index::open(Path::new(&dir)).unwrap();
    index.put_model(&model("tiny", MODEL, UNITS)).unwrap();
    let newest = index.concepts(MODEL).unwrap().iter().map(|(_, header)| header.seed).max();
    for version in newest.map_or(0, |newest| newest + 1).. {
        let name = format!("group/concept-{}", version % CONCEPTS);
        if version % 7 == 3 {
            index.remove(&key(&name)).unwrap();
            say(&format!("removed {name}\n"));
        }
        mine(&index, &key(&name), version, UNITS).unwrap();
        say(&format!("committed {name} {version}\n"));
    }
}

/// One write, so that the parent reads the whole line or nothing of it.
fn say(line: &str) {
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

#[test]
fn kill_9_at_any_moment_keeps_every_acknowledged_concept_whole() {
    let dir = tempfile::tempdir().unwrap();
    // The moments differ from run to run; what must hold does not.
    let mut state = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 | 1;
    let mut acknowledged: BTreeMap<String, u64> = BTreeMap::new();
    let mut commits = 0;
    for _round in 0..12 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut child = common::child(LOOP, dir.path()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(20_000 + (state >> 33) % 250_000));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        for line in lines.map_while(Result::ok) {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["committed", name, version] => {
                    acknowledged.insert(name.to_owned(), version.parse().unwrap());
                    commits += 1;
                }
                ["removed", name] => {
                    acknowledged.remove(name);
                }
                _ => assert!(!line.contains("panicked"), "{line}"),
            }
        }
        killer.join().unwrap();

        let index = Index::open(dir.path()).unwrap();
        let found = index.concepts(MODEL).unwrap();
        let newest = acknowledged.values().max().copied().unwrap_or(0);
        for (key, _) in &found {
            let version = check_whole(&index, key);
            let name = key.concept.to_string();
            // What was under way when the process died may have happened, and is whole then.
            let least = acknowledged.get(&name).copied().unwrap_or(newest);
            assert!(version == least || version > newest, "{name}: {version}, acknowledged {least}");
            acknowledged.insert(name, version);
        }
        for name in acknowledged.clone().keys() {
            if !found.iter().any(|(key, _)| key.concept.to_string() == *name) {
                // The removal of this one was under way and had not been said.
                let next = acknowledged.values().max().unwrap() + 1;
                assert!(next % 7 == 3 && *name == format!("group/concept-{}", next % CONCEPTS), "{name} is lost");
                acknowledged.remove(name);
            }
        }
    }
    assert!(commits > 20, "only {commits} commits in all rounds: the test proves nothing");
}
