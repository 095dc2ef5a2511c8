//! Who may open an index, and what is said to the rest.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use lode_index::{Index, IndexError};

const HOLD: &str = "LODE_INDEX_TEST_HOLD";

/// Not a test of its own: the process that holds an index open, see `another_process_is_named`.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(HOLD) else { return };
    let _index = Index::open(Path::new(&dir)).unwrap();
    eprintln!("holding");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn an_index_open_in_another_process_is_refused_until_that_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = common::child(HOLD, dir.path()).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(holder.stderr.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("holding")));
    let error = Index::open(dir.path()).err().unwrap();
    assert!(matches!(error, IndexError::Locked { .. }), "{error:?}");
    assert!(error.to_string().contains(&*dir.path().to_string_lossy()), "{error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    Index::open(dir.path()).unwrap();
}

#[test]
fn an_index_is_free_again_as_soon_as_it_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        drop(Index::open(dir.path()).unwrap());
    }
}

#[test]
fn a_path_that_cannot_be_a_folder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "text").unwrap();
    for path in [file.clone(), file.join("index")] {
        let error = Index::open(&path).err().unwrap();
        assert!(matches!(error, IndexError::Io { .. }), "{error:?}");
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
    }
}

/// In `/sys` nobody may make a folder, root included.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_without_permission_is_named() {
    let error = Index::open(Path::new("/sys/lode-index")).err().unwrap();
    assert!(matches!(error, IndexError::Permission { .. }), "{error:?}");
    assert!(error.to_string().starts_with("no permission to keep an index in `/sys/lode-index`"), "{error}");
}

#[test]
fn a_folder_with_other_files_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "text").unwrap();
    let error = Index::open(dir.path()).err().unwrap();
    assert!(matches!(error, IndexError::Foreign { .. }), "{error:?}");
    assert!(error.to_string().contains("it holds `thesis.tex`; use an empty folder"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}
