//! A disk that fills while a concept is written: the staging fails and says so, the index stays whole.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed step fails the test; a child talks to its parent"
)]

mod common;

use std::{path::Path, process::Command};

use common::{MODEL, UNITS, check_whole, key, mine, model};
use lode_index::{Index, IndexError};

const FILL: &str = "LODE_INDEX_TEST_FILL";

/// Not a test of its own: the process whose files may not grow beyond a limit.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(FILL) else { return };
    let index = Index::open(Path::new(&dir)).unwrap();
    for version in 100..400 {
        let key = key(&format!("new/concept-{version}"));
        match mine(&index, &key, version, UNITS) {
            Ok(()) => eprintln!("committed {version}"),
            Err(error) => {
                assert!(matches!(error, IndexError::DiskFull { .. }), "{error:?}");
                eprintln!("failed: {error}");
                // What was there can still be asked for, and what cannot be written fails again and does not hang.
                assert_eq!(check_whole(&index, &common::key("old/concept-1")), 1);
                assert!(mine(&index, &key, version, UNITS).is_err());
                return;
            }
        }
    }
    panic!("the limit was never reached");
}

#[test]
fn a_full_disk_fails_the_staging_and_spares_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path()).unwrap();
    index.put_model(&model("tiny", MODEL, UNITS)).unwrap();
    for version in 0..10 {
        mine(&index, &key(&format!("old/concept-{version}")), version, UNITS).unwrap();
    }
    drop(index);

    // In blocks of 512 bytes. It stands in for a full disk, which a test cannot have without root: a write beyond it fails.
    for limit in [9_000, 13_001, 17_333] {
        let child = common::child(FILL, dir.path());
        let output = Command::new("timeout")
            .args(["60", "sh", "-c", &format!("trap '' XFSZ; ulimit -f {limit}; exec \"$@\""), "sh"])
            .arg(child.get_program())
            .args(child.get_args())
            .env(FILL, dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{:?} {said}", output.status);
        let failure = said.lines().find(|line| line.starts_with("failed: ")).unwrap();
        assert!(failure.contains("is full") && failure.contains("what was committed is safe"), "{failure}");

        let index = Index::open(dir.path()).unwrap();
        for version in 0..10 {
            assert_eq!(check_whole(&index, &key(&format!("old/concept-{version}"))), version);
        }
        for version in said.lines().filter_map(|line| line.strip_prefix("committed ")) {
            let version: u64 = version.parse().unwrap();
            assert_eq!(check_whole(&index, &key(&format!("new/concept-{version}"))), version);
        }
        for (key, _) in index.concepts(MODEL).unwrap() {
            check_whole(&index, &key);
        }
        mine(&index, &key("after/concept"), 1000, UNITS).unwrap();
        assert_eq!(check_whole(&index, &key("after/concept")), 1000);
    }
}
