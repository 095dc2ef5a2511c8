//! Every part of a segment, damaged.

use super::truth::{self, Bench, MEMBERS};

fn bench() -> Bench {
    let mut bench = Bench::new();
    for concept in 0..MEMBERS as u8 {
        bench.mine(concept, 1 + u64::from(concept));
    }
    bench.index.as_ref().unwrap().catch_up().unwrap();
    assert_eq!(bench.files().len(), 1);
    bench
}

/// Bytes throughout the file, its first and its last.
fn places(len: usize) -> impl Iterator<Item = usize> {
    (0..40).map(move |part| part * (len - 1) / 39)
}

#[test]
fn a_damaged_segment_is_found_out_while_it_is_open() {
    let bench = bench();
    let whole = std::fs::read(&bench.files()[0]).unwrap();
    let mut found_out = 0;
    for place in places(whole.len()) {
        let path = bench.files()[0].clone();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[place.min(whole.len() - 1)] ^= 0x10;
        truth::overwrite(&path, &bytes);
        bench.check();
        found_out += u32::from(!path.exists());
        std::fs::write(&path, &bytes).unwrap();
        let index = bench.index.as_ref().unwrap();
        // What is damaged and not asked for is as good as whole; give it up all the same for the next round.
        for segment in &index.store.derived.places().segments {
            index.store.derived.discard(segment, "the test goes on");
        }
        std::fs::remove_file(&path).ok();
        index.catch_up().unwrap();
        assert_eq!(bench.files().len(), 1, "it is written again");
    }
    assert!(found_out > 3, "only {found_out} of the damages were in what was asked for: the test proves nothing");
}

#[test]
fn a_damaged_segment_is_found_out_when_it_is_opened_or_asked() {
    let mut bench = bench();
    for place in places(std::fs::metadata(&bench.files()[0]).unwrap().len() as usize) {
        bench.harm(0, |path, mut bytes| {
            bytes[place] ^= 1;
            truth::overwrite(path, &bytes);
        });
        bench.reopen();
        bench.check();
        bench.index.as_ref().unwrap().catch_up().unwrap();
    }
    bench.harm(0, |path, bytes| truth::overwrite(path, &bytes[..bytes.len() - 1]));
    let cut = bench.files()[0].clone();
    bench.reopen();
    bench.index.as_ref().unwrap().catch_up().unwrap();
    assert!(!cut.exists() && bench.files().len() == 1, "it is removed and written again");
    bench.check();
}

#[test]
fn parts_and_foreign_files_are_no_segments() {
    let mut bench = bench();
    let folder = bench.files()[0].parent().unwrap().to_owned();
    std::fs::copy(&bench.files()[0], folder.join("0000000000000001.part")).unwrap();
    std::fs::write(folder.join("0000000000000002.segment"), b"").unwrap();
    std::fs::write(folder.join("notes.txt"), b"kept").unwrap();
    bench.reopen();
    assert_eq!(bench.files().len(), 1);
    assert!(!folder.join("0000000000000001.part").exists());
    assert!(folder.join("notes.txt").exists());
    bench.check();
}

#[test]
fn a_concept_with_damaged_blocks_keeps_no_other_out() {
    let mut bench = Bench::new();
    for concept in 0..=MEMBERS as u8 {
        bench.mine(concept, 1 + u64::from(concept));
        if concept == 0 {
            let tree = &bench.index.as_ref().unwrap().store.blocks.tree;
            let first = tree.iter().next().unwrap().unwrap();
            let mut value = first.1.to_vec();
            value[20] ^= 1;
            tree.insert(first.0, value).unwrap();
        }
    }
    let index = bench.index.as_ref().unwrap();
    index.catch_up().unwrap();
    assert_eq!(bench.files().len(), 1);
    let places = index.store.derived.places();
    let in_one = |concept| places.find(&index.store.entry(&truth::key(concept)).unwrap().unwrap()).is_some();
    assert!(!in_one(0) && (1..=MEMBERS as u8).all(in_one));
    assert!(index.top(&truth::key(0), &truth::model().unit_space().unwrap(), &all()).is_err(), "who asks is told");
}

fn all() -> lode_domain::query::TopQuery {
    lode_domain::query::TopQuery { top: 1, ..Default::default() }
}
