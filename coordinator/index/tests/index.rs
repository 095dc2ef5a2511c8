//! What the index keeps, replaces, forgets and refuses.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod common;

use common::{MODEL, UNITS, check_whole, header, key, mine, model, range, value};
use lode_domain::lint::{Finding, FindingKind};
use lode_domain::{
    closer::{ApInterval, Details, L1Fit},
    criterion::{Criterion, Measures},
    expertise::{Column, ExpertiseBlock, Recipe},
    id::ModelHash,
    pooling::Pooling,
    query::TopQuery,
    unit::UnitId,
};
use lode_index::{ConceptHeader, ConceptKey, Index, IndexError};
use proptest::prelude::*;

fn new_index() -> (tempfile::TempDir, Index) {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&dir.path().join("index")).unwrap();
    index.put_model(&model("tiny", MODEL, UNITS)).unwrap();
    (dir, index)
}

#[test]
fn index_can_be_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Index>();
}

#[test]
fn concepts_come_back_to_the_bit_and_survive_reopening() {
    let (dir, index) = new_index();
    let football = key("sense/football");
    let findings = vec![Finding { kind: FindingKind::Duplicate, count: 2, example: "a b".into() }];
    let header = ConceptHeader { findings, limit_per_class: 1000, ..header(1) };
    let mut staging = index.stage(&football).unwrap();
    staging.write(&range(1, 0, UNITS)).unwrap();
    staging.commit(&header).unwrap();
    mine(&index, &key("a/z"), 2, UNITS).unwrap();
    mine(
        &index,
        &ConceptKey { recipe: Recipe { pooling: Pooling::Mean, ..Recipe::default() }, ..football.clone() },
        3,
        UNITS,
    )
    .unwrap();

    drop(index);
    let index = Index::open(&dir.path().join("index")).unwrap();
    let listed: Vec<_> = index.concepts(MODEL).unwrap();
    let names: Vec<_> = listed.iter().map(|(key, _)| (key.concept.to_string(), key.recipe.to_string())).collect();
    let expected = [("a/z", "max-own"), ("sense/football", "max-own"), ("sense/football", "mean-own")];
    assert_eq!(names, expected.map(|(concept, recipe)| (concept.to_owned(), recipe.to_owned())));
    assert_eq!(index.header(&football).unwrap(), ConceptHeader { units: UNITS, ..header });
    for (key, _) in &listed {
        check_whole(&index, key);
    }
    let everywhere = index.unit_everywhere(MODEL, Recipe::default(), UnitId(2_047)).unwrap();
    let found: Vec<_> = everywhere.iter().map(|(concept, unit)| (concept.to_string(), unit.ap)).collect();
    assert_eq!(
        found,
        [("a/z".to_owned(), value(2, Column::Ap, 2_047)), ("sense/football".to_owned(), value(1, Column::Ap, 2_047))]
    );
    assert!(index.size_on_disk().unwrap() > 3 * 20 * u64::from(UNITS));
}

#[test]
fn special_values_keep_their_bits() {
    let (_dir, index) = new_index();
    index.put_model(&model("three", ModelHash([4; 32]), 3)).unwrap();
    let key = ConceptKey { model: ModelHash([4; 32]), ..key("a/b") };
    let odd = [-0.0f32, f32::from_bits(1), f32::MAX];
    let block = ExpertiseBlock::from_columns(0, std::array::from_fn(|_| odd.to_vec())).unwrap();
    let mut staging = index.stage(&key).unwrap();
    staging.write(&block).unwrap();
    staging.commit(&header(0)).unwrap();
    let found = index.column(&key, Column::OffMean).unwrap();
    assert_eq!(found.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), odd.map(f32::to_bits));
}

#[test]
fn mining_again_replaces_at_the_commit_and_not_before() {
    let (_dir, index) = new_index();
    let key = key("a/b");
    mine(&index, &key, 1, UNITS).unwrap();
    let mut staging = index.stage(&key).unwrap();
    staging.write(&range(2, 0, UNITS)).unwrap();
    assert_eq!(check_whole(&index, &key), 1);
    staging.commit(&header(2)).unwrap();
    assert_eq!(check_whole(&index, &key), 2);
    assert_eq!(index.concepts(MODEL).unwrap().len(), 1);
}

#[test]
fn reading_while_replacing_sees_one_version_or_the_other() {
    let (_dir, index) = new_index();
    mine(&index, &key("a/b"), 0, UNITS).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for version in 1..40 {
                mine(&index, &key("a/b"), version, UNITS).unwrap();
            }
        });
        while !writer.is_finished() {
            let found = index.column(&key("a/b"), Column::Ap).unwrap();
            let version = (0..40).find(|&version| value(version, Column::Ap, 0) == found[0]).unwrap();
            assert!(found.iter().enumerate().all(|(unit, &found)| found == value(version, Column::Ap, unit as u32)));
        }
    });
}

#[test]
fn concepts_are_staged_side_by_side() {
    let (_dir, index) = new_index();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let index = index.clone();
            scope.spawn(move || {
                for version in 0..10 {
                    mine(&index, &key(&format!("own/{thread}")), version, UNITS).unwrap();
                    mine(&index, &key("shared/one"), 100 * thread + version, UNITS).unwrap();
                }
            });
        }
    });
    let concepts = index.concepts(MODEL).unwrap();
    assert_eq!(concepts.len(), 5);
    for (key, _) in concepts {
        check_whole(&index, &key);
    }
}

#[test]
fn abandoned_stagings_leave_nothing() {
    let (_dir, index) = new_index();
    mine(&index, &key("a/b"), 1, UNITS).unwrap();
    let mut staging = index.stage(&key("a/b")).unwrap();
    staging.write(&range(2, 0, UNITS)).unwrap();
    drop(staging);
    let mut staging = index.stage(&key("a/c")).unwrap();
    staging.write(&range(2, 0, 2_000)).unwrap();
    drop(staging);
    assert_eq!(check_whole(&index, &key("a/b")), 1);
    assert_eq!(index.concepts(MODEL).unwrap().len(), 1);
    assert!(matches!(index.header(&key("a/c")), Err(IndexError::UnknownConcept(_))));
}

#[test]
fn staging_refuses_what_is_not_a_whole_concept() {
    let (_dir, index) = new_index();
    let key = key("a/b");
    let mut staging = index.stage(&key).unwrap();
    staging.write(&range(1, 100, 1_500)).unwrap();
    let refused = |result: Result<(), IndexError>, expected: &str| {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    refused(staging.write(&range(1, 1_499, 1_600)), "unit 1499 of `a/b` was staged twice");
    refused(staging.write(&range(1, 3_000, 3_601)), "units 3000 to 3600 of `a/b` were staged, but the model has 3600");
    let mut columns: [Vec<f32>; 5] = std::array::from_fn(|_| vec![0.5; 4]);
    columns[1][2] = f32::NAN;
    let bad = ExpertiseBlock::from_columns(1_500, columns).unwrap();
    refused(staging.write(&bad), "on_mean of unit 1502 of `a/b` is NaN, not a finite number");
    refused(staging.commit(&header(1)), "`a/b` is not whole: 2200 of 3600 units are missing, the first is unit 0");
    assert!(index.concepts(MODEL).unwrap().is_empty());
}

#[test]
fn removed_concepts_are_gone() {
    let (dir, index) = new_index();
    mine(&index, &key("a/b"), 1, UNITS).unwrap();
    assert!(index.remove(&key("a/b")).unwrap());
    assert!(!index.remove(&key("a/b")).unwrap());
    drop(index);
    let index = Index::open(&dir.path().join("index")).unwrap();
    assert!(index.concepts(MODEL).unwrap().is_empty());
}

#[test]
fn models_are_found_by_name_and_by_hash() {
    let (_dir, index) = new_index();
    let (one, two) = (ModelHash([1; 32]), ModelHash([2; 32]));
    index.put_model(&model("gpt2", one, 10)).unwrap();
    index.put_model(&model("alias", one, 10)).unwrap();
    index.put_model(&model("gpt2", two, 20)).unwrap();
    assert_eq!(index.model_named(&"gpt2".parse().unwrap()).unwrap(), model("gpt2", two, 20));
    assert_eq!(index.model_named(&"alias".parse().unwrap()).unwrap(), model("alias", one, 10));
    assert_eq!(index.model(one).unwrap(), Some(model("alias", one, 10)));
    assert_eq!(index.model(ModelHash([9; 32])).unwrap(), None);
    let names: Vec<_> = index.models().unwrap().into_iter().map(|model| model.name.to_string()).collect();
    assert_eq!(names, ["alias", "gpt2", "tiny"]);
    let error = index.model_named(&"gtp2".parse().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "no model `gtp2` in the index; there is `alias`, `gpt2`, `tiny`");
    assert!(matches!(index.put_model(&model("none", one, 0)), Err(IndexError::BadModel { .. })));
}

#[test]
fn unknown_concepts_units_and_models_say_what_there_is() {
    let (_dir, index) = new_index();
    let message = |error: IndexError| error.to_string();
    let unknown = |concept: &str| message(index.column(&key(concept), Column::Ap).unwrap_err());
    assert!(unknown("sense/bank").ends_with("with recipe max-own: nothing is; mine it first"));
    mine(&index, &key("sense/football"), 1, UNITS).unwrap();
    assert!(unknown("sense/fotball").ends_with("did you mean `sense/football`? (1 are indexed)"));
    assert!(unknown("colour/red").ends_with("1 others are"));
    let mean = ConceptKey { recipe: Recipe { pooling: Pooling::Mean, ..Recipe::default() }, ..key("sense/football") };
    assert!(message(index.header(&mean).unwrap_err()).ends_with("; it is with recipe `max-own`"));
    let unit = index.unit(&key("sense/football"), UnitId(UNITS)).unwrap_err();
    assert_eq!(message(unit), "there is no unit 3600: the model has 3600");
    let model = ConceptKey { model: ModelHash([9; 32]), ..key("a/b") };
    assert!(matches!(index.stage(&model), Err(IndexError::UnregisteredModel { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_partition_in_any_order_is_the_same_concept(
        cuts in prop::collection::vec(1u32..UNITS, 0..12),
        order in prop::collection::vec(any::<u64>(), 13),
    ) {
        let (_dir, index) = new_index();
        let mut bounds: Vec<u32> = cuts.into_iter().chain([0, UNITS]).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let mut ranges: Vec<_> = bounds.windows(2).map(|w| (w[0], w[1])).collect();
        ranges.sort_by_key(|&(start, _)| order[start as usize % order.len()]);
        let mut staging = index.stage(&key("a/b")).unwrap();
        for (start, end) in ranges {
            staging.write(&range(7, start, end)).unwrap();
        }
        staging.commit(&header(7)).unwrap();
        prop_assert_eq!(check_whole(&index, &key("a/b")), 7);
    }
}

/// What comes beside AP is kept with it, replaced with it and removed with it; a concept without it says so.
#[test]
fn criteria_are_kept_beside_ap() {
    let (dir, index) = new_index();
    let key = key("a/b");
    let measures = Measures { criteria: Criterion::ALL.into_iter().collect(), ..Measures::default() };
    let deep = |version| {
        let column = |column| (0..UNITS).map(|unit| value(version, column, unit)).collect::<Vec<_>>();
        measures.columns().fold(range(version, 0, UNITS), |block, name| block.with(name, column(name)).unwrap())
    };
    let mut staging = index.stage_measured(&key, measures).unwrap();
    assert!(matches!(staging.write(&range(1, 0, UNITS)), Err(IndexError::OtherColumns { column: Column::Auroc, .. })));
    staging.write(&deep(1)).unwrap();
    let weights = vec![(UnitId(7), -0.5), (UnitId(9), 0.25)];
    let l1 = Some(L1Fit { screened: 1000, intercept: 0.125, weights });
    let intervals = vec![ApInterval { unit: UnitId(3), low: 0.5, high: 0.75 }];
    let details = Details { intervals, l1 };
    staging.commit(&ConceptHeader { details: details.clone(), ..header(1) }).unwrap();
    drop(index);

    let index = Index::open(&dir.path().join("index")).unwrap();
    assert_eq!(check_whole(&index, &key), 1);
    let found = index.header(&key).unwrap();
    assert_eq!((found.measures, found.details), (measures, details));
    for criterion in Criterion::ALL {
        let scores = index.scores(&key, criterion).unwrap();
        let Some(column) = criterion.column() else {
            let chosen: Vec<usize> = (0..scores.len()).filter(|&unit| scores[unit] != 0.0).collect();
            assert_eq!((chosen, scores[7]), (vec![7, 9], -0.5));
            continue;
        };
        assert_eq!(scores, index.column(&key, column).unwrap());
        assert_eq!(scores[2_047], value(1, column, 2_047));
    }
    let space = model("tiny", MODEL, UNITS).unit_space().unwrap();
    let query = TopQuery { top: 5, criterion: Criterion::CohensD, ..TopQuery::default() };
    let (rows, matching) = index.top(&key, &space, &query).unwrap();
    assert_eq!((rows.len(), matching), (5, UNITS));
    for (unit, expertise, extra) in &rows {
        assert_eq!(expertise.ap, value(1, Column::Ap, unit.0));
        assert_eq!(extra.cohens_d, Some(value(1, Column::CohensD, unit.0)));
    }
    let highest = (0..UNITS).map(|unit| value(1, Column::CohensD, unit)).fold(f32::MIN, f32::max);
    assert_eq!(rows[0].2.cohens_d, Some(highest));

    let all = TopQuery { top: UNITS, ..TopQuery::default() };
    let (rows, _) = index.top(&key, &space, &all).unwrap();
    let of = |unit: u32| rows.iter().find(|row| row.0.0 == unit).unwrap().2;
    assert_eq!((of(3).ap_interval, of(3).l1), (Some((0.5, 0.75)), Some(0.0)));
    assert_eq!((of(7).ap_interval, of(7).l1), (None, Some(-0.5)));

    mine(&index, &key, 2, UNITS).unwrap();
    assert_eq!(check_whole(&index, &key), 2);
    let refused = index.scores(&key, Criterion::Auroc).unwrap_err().to_string();
    assert!(refused.contains("mined without auroc, with ap: mine it again with --criteria ap,auroc"), "{refused}");
    assert!(index.top(&key, &space, &query).is_err());
}
