//! Tests that reach behind the index and damage what is stored.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use lode_domain::{
    expertise::{Column, ExpertiseBlock, Recipe},
    id::ModelHash,
    unit::{Layer, LayerName, UnitId},
};

use crate::{ConceptHeader, ConceptKey, Index, IndexError, ModelRecord, codec::FORMAT, key, open, store::Entry};

const UNITS: u32 = 2_000;

fn concept() -> ConceptKey {
    let concept = "sense/football".parse().unwrap();
    ConceptKey { model: ModelHash([5; 32]), concept, recipe: Recipe::default() }
}

fn mined(dir: &std::path::Path) -> Index {
    let index = Index::open(dir).unwrap();
    let layers = vec![Layer { name: LayerName::new("h.0.c_fc"), units: UNITS }];
    let (name, hash) = ("m".parse().unwrap(), concept().model);
    index.put_model(&ModelRecord { name, hash, family: "gpt2".into(), context_len: 8, layers }).unwrap();
    mine(&index);
    index
}

fn mine(index: &Index) {
    let mut staging = index.stage(&concept()).unwrap();
    let columns = std::array::from_fn(|_| (0..UNITS).map(|unit| unit as f32).collect());
    staging.write(&ExpertiseBlock::from_columns(0, columns).unwrap()).unwrap();
    staging.commit(&ConceptHeader::default()).unwrap();
}

fn flip(tree: &sled::Tree, key: &[u8]) {
    let mut value = tree.get(key).unwrap().unwrap().to_vec();
    let middle = value.len() / 2;
    value[middle] ^= 4;
    tree.insert(key, value).unwrap();
}

fn first_key(tree: &sled::Tree) -> Vec<u8> {
    tree.iter().next().unwrap().unwrap().0.to_vec()
}

#[test]
fn a_damaged_block_is_named_and_mined_again() {
    let dir = tempfile::tempdir().unwrap();
    let index = mined(dir.path());
    flip(&index.store.blocks.tree, &first_key(&index.store.blocks.tree));
    let error = index.column(&concept(), Column::Ap).unwrap_err();
    assert!(matches!(error, IndexError::Corrupt { tree: "blocks", .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "`sense/football (max-own, model {}), ap, block 0` in `blocks` of the index is damaged: its checksum does not \
             fit; mine that concept again",
            concept().model.short()
        )
    );
    assert!(index.unit(&concept(), UnitId(0)).is_err());
    assert!(index.unit_everywhere(concept().model, Recipe::default(), UnitId(0)).is_err());
    // The rest of it is whole.
    assert_eq!(index.unit(&concept(), UnitId(1_500)).unwrap().ap, 1_500.0);
    mine(&index);
    assert_eq!(index.column(&concept(), Column::Ap).unwrap().len(), UNITS as usize);
}

#[test]
fn a_block_that_is_gone_or_misplaced_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let index = mined(dir.path());
    let tree = &index.store.blocks.tree;
    let keys: Vec<_> = tree.iter().keys().map(Result::unwrap).collect();
    tree.insert(&keys[0], tree.get(&keys[1]).unwrap().unwrap()).unwrap();
    assert!(matches!(index.column(&concept(), Column::Ap), Err(IndexError::Corrupt { .. })));
    tree.remove(&keys[0]).unwrap();
    let error = index.column(&concept(), Column::Ap).unwrap_err();
    assert!(error.to_string().contains("it is not there"), "{error}");
}

#[test]
fn a_damaged_entry_is_named_removed_and_mined_again() {
    let dir = tempfile::tempdir().unwrap();
    let index = mined(dir.path());
    let entry = key::concept(&concept());
    flip(&index.store.concepts.tree, &entry);
    let error = index.header(&concept()).unwrap_err().to_string();
    assert!(error.contains("sense/football") && error.contains("mine that concept again"), "{error}");
    assert!(index.concepts(concept().model).is_err());
    // Opening is not stopped by it, and mining again mends it.
    drop(index);
    let index = Index::open(dir.path()).unwrap();
    assert!(index.store.blocks.tree.is_empty(), "blocks that nothing leads to are removed");
    mine(&index);
    assert!(index.header(&concept()).is_ok());
    flip(&index.store.concepts.tree, &entry);
    assert!(index.remove(&concept()).unwrap());
    assert!(index.concepts(concept().model).unwrap().is_empty());
}

#[test]
fn a_damaged_model_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let index = mined(dir.path());
    flip(&index.store.models.tree, &concept().model.0);
    let error = index.models().unwrap_err().to_string();
    assert!(error.contains("`models`") && error.contains("register the model again"), "{error}");
}

#[test]
fn what_no_entry_names_is_removed_at_open() {
    let dir = tempfile::tempdir().unwrap();
    let index = mined(dir.path());
    let tree = index.store.blocks.tree.clone();
    let mut staging = index.stage(&concept()).unwrap();
    let columns = std::array::from_fn(|_| vec![1.0; UNITS as usize]);
    staging.write(&ExpertiseBlock::from_columns(0, columns).unwrap()).unwrap();
    assert_eq!(tree.len(), 10, "what is staged is not in the database");
    // As if the process had ended amid the commit.
    let (live, slot) = (index.store.entry(&concept()).unwrap().unwrap().slot, index.store.new_slot());
    assert_eq!(slot, live + 1);
    staging.put_blocks(slot).unwrap();
    assert_eq!(tree.len(), 10 + 10);
    index.store.collect_garbage().unwrap();
    assert_eq!(tree.len(), 10);
    assert_eq!(index.store.entry(&concept()).unwrap().map(|entry: Entry| entry.slot), Some(live));
    assert_eq!(index.column(&concept(), Column::Ap).unwrap().len(), UNITS as usize);
}

#[test]
fn another_format_is_refused_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let database = open::open(dir.path(), crate::DEFAULT_CACHE).unwrap();
    database.insert(open::MARKER, &[FORMAT + 1]).unwrap();
    database.flush().unwrap();
    drop(database);
    let error = Index::open(dir.path()).err().unwrap();
    assert!(matches!(error, IndexError::Format { .. }), "{error:?}");
    let error = error.to_string();
    assert!(error.contains("has format 2, this program writes 1") && error.contains("mine again"), "{error}");
}

#[test]
fn another_programs_database_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let database = open::config(dir.path(), crate::DEFAULT_CACHE).open().unwrap();
    database.insert("theirs", "kept").unwrap();
    database.flush().unwrap();
    drop(database);
    let error = Index::open(dir.path()).err().unwrap();
    assert!(matches!(error, IndexError::Foreign { .. }), "{error:?}");
    let error = sled::open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("buffer size"), "a database with sled's own settings is another format: {error}");
    let other = tempfile::tempdir().unwrap();
    drop(sled::open(other.path()).unwrap());
    assert!(matches!(Index::open(other.path()), Err(IndexError::Format { .. })));
}

#[test]
fn a_full_disk_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let index = mined(dir.path());
    let free = fs4::available_space(dir.path()).unwrap();
    let units = u32::try_from((free / 250).min(u64::from(u32::MAX))).unwrap();
    let mut claims = Vec::new();
    let error = loop {
        match index.store.claim_commit(&concept().concept, 20 * u64::from(units)) {
            Ok(claim) => claims.push(claim),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, IndexError::NoSpace { .. }), "{error:?}");
    assert!(error.to_string().contains("MiB needed with a margin"), "{error}");
    assert!(!claims.is_empty());
    for claim in claims {
        index.store.release(claim);
    }
    assert!(index.stage(&concept()).is_ok());
}
