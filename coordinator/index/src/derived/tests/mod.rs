//! Whatever became of the derived copies, the answers are those of the blocks, to the bit.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod damage;
mod killed;
mod truth;

use proptest::prelude::*;
use truth::Bench;

/// What happens to an index between questions.
#[derive(Clone, Debug)]
enum Step {
    Mine(u8),
    Remove(u8),
    CatchUp,
    Reopen,
    DeleteSegment(usize),
    FlipBit(usize, u64),
    Truncate(usize, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..14).prop_map(Step::Mine),
        2 => (0u8..14).prop_map(Step::Remove),
        3 => Just(Step::CatchUp),
        2 => Just(Step::Reopen),
        1 => any::<usize>().prop_map(Step::DeleteSegment),
        1 => (any::<usize>(), any::<u64>()).prop_map(|(file, bit)| Step::FlipBit(file, bit)),
        1 => (any::<usize>(), any::<u64>()).prop_map(|(file, len)| Step::Truncate(file, len)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn answers_are_those_of_the_blocks_whatever_happened(steps in prop::collection::vec(step(), 1..28)) {
        let mut bench = Bench::new();
        for (version, step) in (1..).zip(&steps) {
            match *step {
                Step::Mine(concept) => bench.mine(concept, version),
                Step::Remove(concept) => bench.remove(concept),
                Step::CatchUp => bench.index.as_ref().unwrap().catch_up().unwrap(),
                Step::Reopen => bench.reopen(),
                Step::DeleteSegment(file) => bench.harm(file, |path, _| std::fs::remove_file(path).unwrap()),
                Step::FlipBit(file, bit) => bench.harm(file, |path, mut bytes| {
                    let bit = bit as usize % (8 * bytes.len());
                    bytes[bit / 8] ^= 1 << (bit % 8);
                    truth::overwrite(path, &bytes);
                }),
                Step::Truncate(file, len) => bench.harm(file, |path, bytes| {
                    truth::overwrite(path, &bytes[..len as usize % bytes.len()]);
                }),
            }
            bench.check();
        }
        // Nothing that happened keeps new copies from being written.
        let index = bench.index.as_ref().unwrap();
        index.catch_up().unwrap();
        let places = index.store.derived.places();
        let entries: Vec<_> = index.store.entries(truth::MODEL).map(Result::unwrap).collect();
        let waiting = entries.iter().filter(|(_, entry)| places.find(entry).is_none()).count();
        prop_assert!(waiting < truth::MEMBERS, "{waiting} of {} wait", entries.len());
        bench.check();
    }
}

#[test]
fn a_slot_that_is_used_again_is_not_taken_for_what_it_was() {
    let mut bench = Bench::new();
    for concept in 0..truth::MEMBERS as u8 {
        bench.mine(concept, 1 + u64::from(concept));
    }
    bench.index.as_ref().unwrap().catch_up().unwrap();
    let last = truth::MEMBERS as u8 - 1;
    let slot =
        |bench: &Bench, concept| bench.index.as_ref().unwrap().store.entry(&truth::key(concept)).unwrap().unwrap().slot;
    let before = slot(&bench, last);
    bench.remove(last);
    bench.reopen();
    bench.mine(last, 77);
    assert_eq!(slot(&bench, last), before, "the number did not come back: the test proves nothing");
    assert_eq!(bench.index.as_ref().unwrap().store.derived.places().segments.len(), 1);
    bench.check();
}

#[test]
fn concepts_from_before_there_were_stamps_are_read_from_the_blocks() {
    let mut bench = Bench::new();
    for concept in 0..truth::MEMBERS as u8 {
        bench.mine(concept, 1 + u64::from(concept));
    }
    let index = bench.index.as_ref().unwrap();
    let entry = index.store.entry(&truth::key(0)).unwrap().unwrap();
    let mut older = serde_json::to_value(&entry).unwrap();
    older.as_object_mut().unwrap().remove("stamp");
    let key = crate::key::concept(&truth::key(0));
    index.store.concepts.put(&index.store.path, &key, older.to_string().as_bytes()).unwrap();
    index.catch_up().unwrap();
    assert_eq!(index.store.entry(&truth::key(0)).unwrap().unwrap().stamp, 0);
    bench.check();
}

#[test]
fn segments_are_used_and_given_up_when_most_of_them_is_dead() {
    let mut bench = Bench::new();
    for concept in 0..truth::MEMBERS as u8 {
        bench.mine(concept, 1 + u64::from(concept));
    }
    let segments = |bench: &Bench| {
        let index = bench.index.as_ref().unwrap();
        index.catch_up().unwrap();
        index.store.derived.places().segments.len()
    };
    assert_eq!(segments(&bench), 1);
    let size = bench.index.as_ref().unwrap().store.derived.size_on_disk();
    assert!(size > truth::MEMBERS as u64 * 25 * u64::from(truth::UNITS), "{size}");
    bench.check();
    for concept in 0..=truth::MEMBERS as u8 / 2 {
        bench.remove(concept);
    }
    assert_eq!(segments(&bench), 0);
    assert!(bench.files().is_empty());
    bench.check();
}

#[test]
fn an_index_that_is_dropped_while_it_derives_can_be_opened_at_once() {
    let mut bench = Bench::new();
    for round in 0..6 {
        for concept in 0..2 * truth::MEMBERS as u8 {
            bench.mine(concept, 1 + round * 100 + u64::from(concept));
        }
        bench.reopen();
    }
    bench.check();
}
