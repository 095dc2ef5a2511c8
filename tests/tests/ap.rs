//! Average precision on golden responses is scikit-learn's.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use lode_domain::score::{Labels, Scorer};
use lode_tests::{Case, golden_cases};
use safetensors::{SafeTensors, tensor::TensorView};
use serde::Deserialize;

/// A row of the expected csv.
#[derive(Deserialize)]
struct Row {
    ap: f64,
    on_mean: f64,
    on_p50: f64,
    on_p90: f64,
    off_mean: f64,
}

fn f32s(view: &TensorView<'_>) -> Vec<f32> {
    view.data().chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

fn f64s(view: &TensorView<'_>) -> Vec<f64> {
    view.data().chunks_exact(8).map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// Scores one file of responses; returns whether it held scikit-learn's AP in float64.
fn check(case: &Case, group: &str, name: &str) -> Option<bool> {
    let bytes = std::fs::read(case.expected(group, name, "responses.safetensors")?).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (responses, labels) = (file.tensor("responses").unwrap(), file.tensor("labels").unwrap());
    let (sentences, units) = (responses.shape()[0], responses.shape()[1]);
    let responses = f32s(&responses);
    let of_class = |class: u8| -> Vec<u32> {
        (0..).zip(labels.data()).filter(|(_, label)| **label == class).map(|(sentence, _)| sentence).collect()
    };
    let (positive, negative) = (of_class(1), of_class(0));
    let labels = Labels::new(sentences, &[(&positive, &negative)]).unwrap();
    let mut scorer = Scorer::new(&labels);
    let csv = std::fs::File::open(case.expected(group, name, "masked.csv").unwrap()).unwrap();
    let rows: Vec<Row> = csv::Reader::from_reader(csv).deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), units);
    let exact = file.tensor("ap").ok().map(|ap| f64s(&ap));
    for (unit, row) in rows.iter().enumerate() {
        let column: Vec<f32> = (0..sentences).map(|sentence| responses[sentence * units + unit]).collect();
        let scores = scorer.score(&column).unwrap().next().unwrap();
        let at = format!("{} {group}/{name} unit {unit}", case.folder.display());
        if let Some(exact) = &exact {
            assert!((scores.ap - exact[unit]).abs() <= 1e-12, "{at}: {} {}", scores.ap, exact[unit]);
        }
        // The csv has nine digits; its percentiles may have been taken in f32.
        assert!((scores.ap - row.ap).abs() <= 1e-9, "{at}: {} {}", scores.ap, row.ap);
        for (found, expected) in [
            (scores.on_mean, row.on_mean),
            (scores.on_p50, row.on_p50),
            (scores.on_p90, row.on_p90),
            (scores.off_mean, row.off_mean),
        ] {
            assert!((found - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "{at}: {found} {expected}");
        }
    }
    Some(exact.is_some())
}

#[test]
fn ap_on_golden_responses_is_scikit_learns() {
    let mut exact = 0;
    for case in golden_cases() {
        for (group, name, _) in case.concepts() {
            exact += usize::from(check(&case, &group, &name) == Some(true));
        }
    }
    assert!(exact > 0, "no case of the repository holds responses with AP in float64");
}
