//! An index with small segments beside what it must say.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use lode_domain::{
    compare::{Experts, overlap},
    expertise::{Column, ExpertiseBlock, Recipe, UnitExpertise},
    id::ModelHash,
    query::{Neighbour, TopQuery},
    record::ConceptKey,
    unit::{Layer, LayerName, UnitId, UnitSpace},
};

use crate::{ConceptHeader, Index, ModelRecord, derived::FOLDER, store::Store};

pub const MODEL: ModelHash = ModelHash([6; 32]);
/// Two blocks, and more than a segment keeps of best units.
pub const UNITS: u32 = 1_300;
pub const MEMBERS: usize = 4;

pub struct Bench {
    pub dir: tempfile::TempDir,
    pub index: Option<Index>,
    /// The version that each concept was last mined with.
    versions: BTreeMap<ConceptId, u64>,
}

type ConceptId = lode_domain::concept::ConceptId;

pub fn open(dir: &Path) -> Index {
    let mut store = Store::open(dir, crate::DEFAULT_CACHE).unwrap();
    store.derived.members = MEMBERS;
    Index::over(store).unwrap()
}

pub fn key(concept: u8) -> ConceptKey {
    let concept = format!("group-{}/concept-{concept}", concept % 3).parse().unwrap();
    ConceptKey { model: MODEL, concept, recipe: Recipe::default() }
}

/// Values with ties, concepts alike and unlike, and some that do not vary at all.
pub fn value(version: u64, column: Column, unit: u32) -> f32 {
    let mixed =
        |seed: u64| seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40;
    let own = mixed(u64::from(unit) * 5 + column as u64 + version * 1_000_003);
    let shared = mixed(u64::from(unit) + 7 * (version % 3));
    match (column, version % 7) {
        (Column::Ap, 0) => 0.25,
        (Column::Ap, 1..4) => ((own % 16 + 3 * (shared % 16)) as f32) / 64.0,
        (Column::Ap, _) => (own as f32 + 2.0 * shared as f32) / 50_331_648.0 - 0.1,
        _ => own as f32 / 16_777_216.0 - 0.5,
    }
}

pub fn column(version: u64, column: Column) -> Vec<f32> {
    (0..UNITS).map(|unit| value(version, column, unit)).collect()
}

fn expertise(version: u64, unit: u32) -> UnitExpertise {
    let [ap, on_mean, on_p50, on_p90, off_mean] = Column::BASE.map(|column| value(version, column, unit));
    UnitExpertise { ap, on_mean, on_p50, on_p90, off_mean }
}

pub fn model() -> ModelRecord {
    let layer = |name, units| Layer { name: LayerName::new(name), units };
    let layers = vec![layer("h.0.attn", 500), layer("h.0.mlp", UNITS - 500)];
    ModelRecord { name: "tiny".parse().unwrap(), hash: MODEL, family: "gpt2".into(), context_len: 8, layers }
}

pub fn mine(index: &Index, key: &ConceptKey, version: u64) {
    let mut staging = index.stage(key).unwrap();
    let columns = Column::BASE.map(|name| column(version, name));
    staging.write(&ExpertiseBlock::from_columns(0, columns).unwrap()).unwrap();
    staging.commit(&ConceptHeader { seed: version, ..ConceptHeader::default() }).unwrap();
}

/// In place of a segment's bytes, behind the back of who has it open.
pub fn overwrite(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

impl Bench {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let index = open(dir.path());
        index.put_model(&model()).unwrap();
        Self { dir, index: Some(index), versions: BTreeMap::new() }
    }

    pub fn mine(&mut self, concept: u8, version: u64) {
        mine(self.index.as_ref().unwrap(), &key(concept), version);
        self.versions.insert(key(concept).concept, version);
    }

    pub fn remove(&mut self, concept: u8) {
        let known = self.versions.remove(&key(concept).concept).is_some();
        assert_eq!(self.index.as_ref().unwrap().remove(&key(concept)).unwrap(), known);
    }

    pub fn reopen(&mut self) {
        drop(self.index.take());
        self.index = Some(open(self.dir.path()));
    }

    /// The segments' files.
    pub fn files(&self) -> Vec<PathBuf> {
        let all = std::fs::read_dir(self.dir.path().join(FOLDER)).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<PathBuf> = all.filter(|path| path.extension().is_some_and(|e| e == "segment")).collect();
        files.sort();
        files
    }

    /// Does something bad to one of the segments, if there is one and it is not just given up.
    pub fn harm(&self, file: usize, how: impl FnOnce(&Path, Vec<u8>)) {
        let files = self.files();
        if let Some(path) = files.get(file % files.len().max(1))
            && let Ok(bytes) = std::fs::read(path)
            && !bytes.is_empty()
        {
            how(path, bytes);
        }
    }

    /// Takes over what an index holds that somebody else wrote.
    pub fn adopt(dir: tempfile::TempDir) -> Self {
        let index = open(dir.path());
        let concepts = index.concepts(MODEL).unwrap();
        let versions = concepts.into_iter().map(|(key, header)| (key.concept, header.seed)).collect();
        Self { dir, index: Some(index), versions }
    }

    /// Closes the index and hands back its folder.
    pub fn close(mut self) -> tempfile::TempDir {
        drop(self.index.take());
        self.dir
    }

    /// Asks all questions, and compares with the answers from the values themselves.
    pub fn check(&self) {
        let index = self.index.as_ref().unwrap();
        for unit in [0, 1_023, 1_024, UNITS - 1] {
            let found = index.unit_everywhere(MODEL, Recipe::default(), UnitId(unit)).unwrap();
            let expected: Vec<_> = self.versions.iter().map(|(id, &v)| (id.clone(), expertise(v, unit))).collect();
            assert_eq!(found, expected, "unit {unit}");
        }
        let space = model().unit_space().unwrap();
        for (concept, &version) in &self.versions {
            let key = ConceptKey { model: MODEL, concept: concept.clone(), recipe: Recipe::default() };
            check_top(index, &space, &key, version);
        }
        // One concept with all others: which one changes with what is there.
        let asked = self.versions.values().sum::<u64>() as usize;
        if let Some((concept, &version)) = self.versions.iter().nth(asked % self.versions.len().max(1)) {
            for experts in [1, 50, 512, 513, UNITS].map(Experts::Top) {
                self.check_nearest(concept, version, experts);
            }
            for experts in [2.0, 0.9, 0.5, -1.0].map(Experts::MinAp) {
                self.check_nearest(concept, version, experts);
            }
        }
    }

    fn check_nearest(&self, concept: &ConceptId, version: u64, experts: Experts) {
        let index = self.index.as_ref().unwrap();
        let key =
            |concept: &ConceptId| ConceptKey { model: MODEL, concept: concept.clone(), recipe: Recipe::default() };
        let mut expected = Vec::new();
        for (other, &with) in self.versions.iter().filter(|(other, _)| *other != concept) {
            let wanted = overlap(&column(version, Column::Ap), &column(with, Column::Ap), experts).unwrap();
            let (found, rows) = index.overlap(&key(concept), &key(other), experts).unwrap();
            assert_eq!(found, wanted, "{concept} and {other}, {experts:?}");
            assert_eq!(found.correlation.to_bits(), wanted.correlation.to_bits());
            let both = |unit: &UnitId| (expertise(version, unit.0), expertise(with, unit.0));
            assert_eq!(rows, wanted.shared.iter().map(both).collect::<Vec<_>>());
            let (shared, jaccard, correlation) = (wanted.shared.len() as u32, wanted.jaccard, wanted.correlation);
            expected.push(Neighbour { concept: other.clone(), shared, jaccard, correlation });
        }
        expected.sort_by(|a, b| {
            let nearer = b.jaccard.total_cmp(&a.jaccard).then(b.correlation.total_cmp(&a.correlation));
            nearer.then_with(|| a.concept.cmp(&b.concept))
        });
        for limit in [0, 1, 3, 100] {
            let found = index.nearest(&key(concept), experts, limit).unwrap();
            assert_eq!(found, expected[..expected.len().min(limit as usize)], "{concept}, {experts:?}, {limit}");
        }
    }
}

fn check_top(index: &Index, space: &UnitSpace, key: &ConceptKey, version: u64) {
    let ap = column(version, Column::Ap);
    for top in [0, 1, 50, 512, 513, UNITS] {
        for (layers, min_ap, bottom) in [
            (None, None, false),
            (None, None, true),
            (None, Some(0.6), false),
            (None, Some(0.1), false),
            (None, Some(0.02), true),
            (None, Some(-1.0), true),
            (Some("*.mlp".to_owned()), None, false),
            (Some("*.mlp".to_owned()), None, true),
            (Some("*.mlp".to_owned()), Some(0.6), false),
            (Some("*.mlp".to_owned()), Some(0.02), true),
        ] {
            let query = TopQuery { top, layers, min_ap, bottom, ..TopQuery::default() };
            let (found, matching) = index.top(key, space, &query).unwrap();
            // A plain sort of all, as the query says it.
            let fits = |unit: &u32| {
                query.min_ap.is_none_or(|least| ap[*unit as usize] >= least) && (query.layers.is_none() || *unit >= 500)
            };
            let mut units: Vec<u32> = (0..UNITS).filter(fits).collect();
            assert_eq!(matching as usize, units.len());
            units.sort_by(|&a, &b| {
                let falling = ap[b as usize].total_cmp(&ap[a as usize]);
                if bottom { falling.reverse().then(a.cmp(&b)) } else { falling.then(a.cmp(&b)) }
            });
            let expected: Vec<_> =
                units.iter().take(top as usize).map(|&unit| (UnitId(unit), expertise(version, unit))).collect();
            let found: Vec<_> = found.into_iter().map(|(unit, expertise, _)| (unit, expertise)).collect();
            assert_eq!(found, expected, "{key}, {query:?}");
        }
    }
}
