//! Bits flipped in the database file itself: whatever is answered is right, and what is lost is said to be.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use std::{fs, path::Path};

use common::{MODEL, UNITS, header, key, mine, model, value};
use lode_domain::expertise::Column;
use lode_index::{Index, IndexError};

const CONCEPTS: u64 = 12;

/// Counts the concepts that are whole; any other must be refused as damaged, and none may be missing unless `lossy`.
fn whole(index: &Index, lossy: bool) -> usize {
    let is_whole = |version: &u64| match index.column(&key(&format!("old/concept-{version}")), Column::Ap) {
        Ok(found) => {
            assert!(
                found.iter().enumerate().all(|(unit, &f)| f == value(*version, Column::Ap, unit as u32)),
                "{version}"
            );
            true
        }
        Err(IndexError::Corrupt { .. }) => false,
        Err(IndexError::UnknownConcept(_)) if lossy => false,
        Err(error) => panic!("concept-{version}: {error:?}"),
    };
    (0..CONCEPTS).filter(is_whole).count()
}

fn check(snapshot: bool) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(dir.path()).unwrap();
    index.put_model(&model("tiny", MODEL, UNITS)).unwrap();
    for version in 0..CONCEPTS {
        mine(&index, &key(&format!("old/concept-{version}")), version, UNITS).unwrap();
    }
    drop(index);
    if snapshot {
        // sled writes its table of pages when it opens, and needs less of the log from then on.
        drop(Index::open(dir.path()).unwrap());
    }
    let database = fs::read(dir.path().join("db")).unwrap();
    let (mut lost, mut damaged) = (0, 0);
    for case in 0..30 {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(dir.path(), copy.path());
        let mut bytes = database.clone();
        let at = (case * 2 + 1) * bytes.len() / 60;
        bytes[at] ^= 8;
        fs::write(copy.path().join("db"), bytes).unwrap();
        match Index::open(copy.path()) {
            Ok(index) => damaged += usize::from(whole(&index, false) < CONCEPTS as usize),
            Err(error @ IndexError::Corrupt { .. }) => {
                damaged += 1;
                assert!(error.to_string().contains("mine again into an empty one"), "{error}");
            }
            Err(error @ IndexError::Lost { .. }) => {
                lost += 1;
                assert!(error.to_string().contains("acknowledged` to go on with what is left"), "{error}");
                fs::remove_file(copy.path().join("acknowledged")).unwrap();
                let index = Index::open(copy.path()).unwrap();
                whole(&index, true);
                if index.model(MODEL).unwrap().is_none() {
                    index.put_model(&model("tiny", MODEL, UNITS)).unwrap();
                }
                let mut staging = index.stage(&key("new/concept")).unwrap();
                staging.write(&common::range(99, 0, UNITS)).unwrap();
                staging.commit(&header(99)).unwrap();
                assert_eq!(common::check_whole(&index, &key("new/concept")), 99);
            }
            Err(error) => panic!("byte {at}: {error:?}"),
        }
    }
    (lost, damaged)
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(to).unwrap();
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_flipped_bit_in_a_log_that_was_never_reopened_is_a_loss_that_is_told() {
    let (lost, _) = check(false);
    assert!(lost > 0, "no flip lost anything: the test proves nothing");
}

#[test]
fn a_flipped_bit_in_a_log_that_was_reopened_is_damage_that_is_told() {
    let (_, damaged) = check(true);
    assert!(damaged > 0, "no flip damaged anything: the test proves nothing");
}
