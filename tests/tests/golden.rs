//! Mined expertise is PyTorch's and scikit-learn's: every golden case through the whole path, from the concept file to
//! the exported csv.

#![allow(clippy::print_stdout, reason = "the differences are what one wants to see with --no-capture")]
#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::{collections::BTreeSet, path::Path};

use lode_tests::{Case, golden_cases, lode, repository};
use serde::Deserialize;

/// A unit's row, in an export or in a file of expected values; the reference's csv has no `on_mean`.
#[derive(Clone, Debug, Deserialize)]
struct Row {
    layer: String,
    unit: u32,
    ap: f64,
    on_mean: Option<f64>,
    on_p50: f64,
    on_p90: f64,
    off_mean: f64,
}

fn read(path: &Path) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    reader.deserialize().map(|row| row.unwrap()).collect()
}

/// How far the found may be from the expected.
struct Tolerance {
    /// The largest difference in AP, and the mean one.
    max_ap: f64,
    mean_ap: f64,
    /// The share of units within 1e-6.
    within_1e6: f64,
    /// How many of the top 50 must agree.
    top_50: usize,
}

/// float32 with batches of one shape against float64, on models where near-ties were left as they fell
/// (`tests/golden/README.md` has what PyTorch's own float32 reaches).
const FLOAT32: Tolerance = Tolerance { max_ap: 1e-3, mean_ap: 2e-6, within_1e6: 0.985, top_50: 49 };
/// The repository's own cases have no near-ties under max pooling, so every unit must agree.
const NO_NEAR_TIES: Tolerance = Tolerance { max_ap: 1e-6, mean_ap: 1e-6, within_1e6: 1.0, top_50: 50 };
/// The reference's csv was itself computed in float32 with varying shapes; it is within 3e-5 of float64.
const REFERENCE: Tolerance = Tolerance { max_ap: 1e-4, mean_ap: 1e-6, within_1e6: 0.985, top_50: 49 };

/// Compares rows in the same order, layer for layer.
fn compare(what: &str, found: &[Row], expected: &[Row], tolerance: &Tolerance) {
    assert_eq!(found.len(), expected.len(), "{what}: units");
    let (mut max, mut sum, mut within) = (0.0f64, 0.0, 0);
    for (found, expected) in found.iter().zip(expected) {
        let at = format!("{what}: {}[{}]", expected.layer, expected.unit);
        assert_eq!((&found.layer, found.unit), (&expected.layer, expected.unit), "{at}");
        let difference = (found.ap - expected.ap).abs();
        max = max.max(difference);
        sum += difference;
        within += usize::from(difference <= 1e-6);
        let means = expected.on_mean.map(|mean| (found.on_mean.unwrap(), mean));
        let values =
            [(found.on_p50, expected.on_p50), (found.on_p90, expected.on_p90), (found.off_mean, expected.off_mean)];
        for (found, expected) in values.into_iter().chain(means) {
            // 1e-3 relative; values near zero are sums of larger terms, whose rounding is absolute.
            assert!((found - expected).abs() <= 1e-3 * expected.abs() + 2e-5, "{at}: {found} {expected}");
        }
    }
    let (mean, share) = (sum / found.len() as f64, within as f64 / found.len() as f64);
    let top = |rows: &[Row]| -> BTreeSet<usize> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|&a, &b| rows[b].ap.total_cmp(&rows[a].ap).then(a.cmp(&b)));
        order.into_iter().take(50).collect()
    };
    let agreeing = top(found).intersection(&top(expected)).count();
    println!("{what}: max {max:.1e}, mean {mean:.1e}, {:.1}% within 1e-6, top {agreeing}", share * 100.0);
    assert!(max <= tolerance.max_ap, "{what}: |dAP| {max}");
    assert!(mean <= tolerance.mean_ap, "{what}: mean |dAP| {mean}");
    assert!(share >= tolerance.within_1e6, "{what}: {share} within 1e-6");
    // Fewer units than 50 are all in both.
    assert!(agreeing >= tolerance.top_50.min(found.len()), "{what}: {agreeing} of the top 50");
}

/// An export's rows in the forward order of the expected ones.
fn in_order_of(mut found: Vec<Row>, expected: &[Row]) -> Vec<Row> {
    let place = |row: &Row| expected.iter().position(|e| e.layer == row.layer && e.unit == row.unit);
    found.iter_mut().for_each(|row| row.layer = row.layer.strip_suffix(":0").unwrap_or(&row.layer).to_owned());
    found.sort_by_key(place);
    found
}

/// Mines all concepts of a case with `flags` and compares with the files of that suffix.
fn check(case: &Case, flags: &[&str], suffix: &str, tolerance: &Tolerance) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let model = format!("m={}", case.model().display());
    let concepts: Vec<_> =
        case.concepts().into_iter().filter(|(group, name, _)| case.expected(group, name, suffix).is_some()).collect();
    if concepts.is_empty() {
        return 0;
    }
    let files: Vec<String> = concepts.iter().map(|(.., path)| path.display().to_string()).collect();
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let at = ["--embedded", "--data-dir", &data];
    lode(&[&at[..], &["mine", "--model", &model], flags, &files].concat()).ok();
    for (group, name, _) in &concepts {
        let out = folder.path().join("out.csv").display().to_string();
        let concept = format!("{group}/{name}");
        let ask = ["export", "--model", "m", "--concept", &concept, "--format", "csv", "--out", &out];
        lode(&[&at[..], &ask, flags].concat()).ok();
        let expected = read(&case.expected(group, name, suffix).unwrap());
        let found = read(Path::new(&out));
        // The reference's own file is compared row by row as it stands; the others are in forward order.
        let found = if suffix == "compat.csv" { found } else { in_order_of(found, &expected) };
        compare(&format!("{} {concept} {suffix}", case.folder.display()), &found, &expected, tolerance);
    }
    concepts.len()
}

fn is_own(case: &Case) -> bool {
    case.folder.starts_with(repository())
}

#[test]
fn expertise_is_that_of_pytorch_and_scikit_learn() {
    let mut compared = 0;
    for case in golden_cases() {
        let tolerance = if is_own(&case) { &NO_NEAR_TIES } else { &FLOAT32 };
        compared += check(&case, &[], "masked.csv", tolerance);
    }
    assert!(compared >= 10, "{compared}");
}

#[test]
fn the_other_poolings_agree_too() {
    let mut compared = 0;
    for case in golden_cases() {
        for pooling in ["mean", "last"] {
            compared += check(&case, &["--pooling", pooling], &format!("{pooling}.csv"), &FLOAT32);
        }
    }
    assert!(compared >= 4, "{compared}");
}

#[test]
fn compat_mode_is_the_references_csv() {
    let mut compared = 0;
    for case in golden_cases() {
        compared += check(&case, &["--compat", "selfcond"], "compat.csv", &REFERENCE);
    }
    assert!(compared >= 2, "{compared}");
}
