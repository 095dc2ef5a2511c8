use ::parquet::{
    file::reader::{FileReader as _, SerializedFileReader},
    record::RowAccessor as _,
};
use lode_domain::{
    closer::{ApInterval, Details, L1Fit},
    criterion::{Criterion, Intervals, Measures},
    expertise::{Column, Recipe},
    holdout::Holdout,
    id::ModelHash,
    query::IndexedConcept,
    record::{ConceptHeader, ModelRecord},
    unit::Layer,
};

use super::*;

/// Two layers whose order as strings is not their forward order; unit number n has AP n / 10.
fn expertise() -> Expertise {
    with_measures(Measures::default())
}

fn with_measures(measures: Measures) -> Expertise {
    let layer = |name: &str, units| Layer { name: LayerName::new(name), units };
    let model = ModelRecord {
        name: "m".parse().unwrap(),
        hash: ModelHash([7; 32]),
        family: "gpt2".into(),
        context_len: 8,
        layers: vec![layer("h.2.mlp", 2), layer("h.10.mlp", 1)],
    };
    let concept = "g/a, \"b\"".parse().unwrap();
    let precision = "f32".into();
    let intervals = vec![ApInterval { unit: UnitId(2), low: 0.25, high: 0.75 }];
    let l1 = Some(L1Fit { screened: 3, intercept: 0.0, weights: vec![(UnitId(2), -0.5)] });
    let details = if measures.looks_closer() { Details { intervals, l1 } } else { Details::default() };
    let header = ConceptHeader { positives: 3, negatives: 4, precision, measures, details, ..ConceptHeader::default() };
    let concept = IndexedConcept { concept, recipe: Recipe::default(), header };
    let unit = |n: u32| {
        let n = n as f32 / 10.0;
        UnitExpertise { ap: n, on_mean: 1.0 + n, on_p50: 2.0, on_p90: 1e-9, off_mean: -n }
    };
    let blocks = [0..2, 2..3].map(|range: std::ops::Range<u32>| {
        let mut block = ExpertiseBlock::with_capacity(range.start, 2);
        range.clone().for_each(|n| block.push(unit(n)));
        let extra = |column: Column| range.clone().map(|n| n as f32 + column as u8 as f32 / 10.0).collect::<Vec<_>>();
        measures.columns().fold(block, |block, column| block.with(column, extra(column)).unwrap())
    });
    Expertise::new(ExportHeader { model, concept }, blocks.into()).unwrap()
}

#[test]
fn csv_is_the_reference_and_one_more_column() {
    let mut bytes = Vec::new();
    csv::write(&expertise(), &mut bytes).unwrap();
    let expected = "\
ap,off_mean,on_p50,on_p90,layer,unit,uuid,concept,group,on_mean
0.2,-0.2,2,0.000000001,h.10.mlp:0,0,0,\"a, \"\"b\"\"\",g,1.2
0,-0,2,0.000000001,h.2.mlp:0,0,1,\"a, \"\"b\"\"\",g,1
0.1,-0.1,2,0.000000001,h.2.mlp:0,1,2,\"a, \"\"b\"\"\",g,1.1
";
    assert_eq!(String::from_utf8(bytes).unwrap(), expected);
}

#[test]
fn what_was_measured_beside_ap_comes_last() {
    let deep = with_measures(Measures {
        criteria: Criterion::ALL.into_iter().collect(),
        holdout: Holdout::new(250),
        intervals: Some(Intervals { units: 1, seed: 1 }),
    });
    let (mut text, mut bytes, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    csv::write(&deep, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.lines().next().unwrap().ends_with("group,on_mean,auroc,cohens_d,l1,held_out_ap,ap_low,ap_high"),
        "{text}"
    );
    assert!(text.lines().nth(1).unwrap().ends_with("g,1.2,2.5,2.6,-0.5,2.7,0.25,0.75"), "{text}");
    json::write(&deep, &mut bytes).unwrap();
    let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(read["measures"]["criteria"], serde_json::json!(["ap", "auroc", "cohens-d", "l1"]));
    assert_eq!((&read["rows"][0]["auroc"], &read["rows"][0]["cohens_d"]), (&2.5.into(), &2.6.into()));
    parquet::write(&deep, &mut columns).unwrap();
    let reader = SerializedFileReader::new(bytes::Bytes::from(columns)).unwrap();
    let first = reader.get_row_iter(None).unwrap().next().unwrap().unwrap();
    let numbers: Vec<f32> = (9..16).map(|column| first.get_float(column).unwrap()).collect();
    assert_eq!(numbers, [1.2, 2.5, 2.6, -0.5, 2.7, 0.25, 0.75]);
    let second = reader.get_row_iter(None).unwrap().nth(1).unwrap().unwrap();
    assert_eq!((second.get_float(12).unwrap(), second.get_float(14).is_err()), (0.0, true), "it has no interval");
}

#[test]
fn json_has_a_header_and_the_same_rows() {
    let mut bytes = Vec::new();
    json::write(&expertise(), &mut bytes).unwrap();
    let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((&read["units"], &read["positives"], &read["pooling"]), (&3.into(), &3.into(), &"max".into()));
    assert_eq!(read["rows"].as_array().unwrap().len(), 3);
    assert_eq!((&read["rows"][0]["layer"], &read["rows"][0]["ap"]), (&"h.10.mlp:0".into(), &0.2.into()));
    assert_eq!(read["rows"][2]["uuid"], 2);
}

#[test]
fn parquet_has_the_same_rows_and_says_where_they_come_from() {
    let (mut bytes, mut again) = (Vec::new(), Vec::new());
    parquet::write(&expertise(), &mut bytes).unwrap();
    parquet::write(&expertise(), &mut again).unwrap();
    assert_eq!(bytes, again);
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    let pairs = reader.metadata().file_metadata().key_value_metadata().unwrap().clone();
    assert!(pairs.iter().any(|pair| pair.key == "lode.model_hash" && pair.value == Some("07".repeat(32))));
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 3);
    assert_eq!((rows[0].get_float(0).unwrap(), rows[0].get_string(4).unwrap().as_str()), (0.2, "h.10.mlp:0"));
    assert_eq!((rows[2].get_int(6).unwrap(), rows[2].get_float(9).unwrap()), (2, 1.1));
    assert_eq!(rows[1].get_string(7).unwrap(), "a, \"b\"");
}

#[test]
fn a_gap_is_no_export() {
    let whole = expertise();
    let blocks = vec![ExpertiseBlock::with_capacity(1, 0)];
    assert!(Expertise::new(whole.header.clone(), blocks).is_err());
    assert!(Expertise::new(whole.header, Vec::new()).is_err());
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.csv");
    whole_file(&path, |file| Ok(io::Write::write_all(file, b"old")?)).unwrap();
    let failed = whole_file(&path, |file| {
        io::Write::write_all(file, b"half")?;
        anyhow::bail!("disk full")
    });
    assert!(format!("{:#}", failed.unwrap_err()).contains("f.csv: disk full"));
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert!(whole_file(folder.path(), |_| Ok(())).unwrap_err().to_string().contains("is a folder"));
    assert!(whole_file(&folder.path().join("no/f"), |_| Ok(())).is_err());
}
