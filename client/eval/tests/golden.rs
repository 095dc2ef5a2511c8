//! The metrics against independent implementations: nltk, numpy, scipy, scikit-learn, transformers.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

use std::collections::BTreeMap;

use lode_eval::{
    bleu::self_bleu,
    distinct::distinct,
    logistic::Boundary,
    perplexity::Surprise,
    stats::{Ratio, pearson, quantile, spearman},
    text::tokens,
    ttest::welch,
};
use serde::Deserialize;

/// f64 sums in another order.
const EXACT: f64 = 1e-12;

#[derive(Deserialize)]
struct Golden {
    texts: Vec<String>,
    self_bleu: BTreeMap<usize, Vec<f64>>,
    distinct: BTreeMap<usize, f64>,
    values: Vec<f64>,
    others: Vec<f64>,
    quantiles: BTreeMap<String, f64>,
    pearson: f64,
    spearman: f64,
    perplexities: Vec<Perplexity>,
}

#[derive(Deserialize)]
struct Perplexity {
    log_probabilities: Vec<f32>,
    perplexity: f64,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/golden.json")).unwrap()
}

#[track_caller]
fn near(own: f64, other: f64, tolerance: f64) {
    assert!((own - other).abs() <= tolerance * other.abs().max(1.0), "{own}, not {other}");
}

#[test]
fn self_bleu_is_nltks() {
    let golden = golden();
    let texts: Vec<_> = golden.texts.iter().map(|text| tokens(text)).collect();
    assert_eq!(golden.self_bleu.len(), 3);
    for (order, expected) in golden.self_bleu {
        let found = self_bleu(&texts, order);
        assert_eq!(found.len(), expected.len());
        for (own, other) in found.into_iter().zip(expected) {
            near(own, other, EXACT);
        }
    }
}

#[test]
fn distinct_n_is_what_counting_gives() {
    let golden = golden();
    let texts: Vec<_> = golden.texts.iter().map(|text| tokens(text)).collect();
    for (n, expected) in golden.distinct {
        near(distinct(&texts, n).into_iter().collect::<Ratio>().value().unwrap(), expected, EXACT);
    }
}

#[test]
fn statistics_are_numpys_and_scipys() {
    let golden = golden();
    for (q, expected) in golden.quantiles {
        near(quantile(&golden.values, q.parse().unwrap()).unwrap(), expected, EXACT);
    }
    let pairs: Vec<_> = golden.values.into_iter().zip(golden.others).collect();
    near(pearson(&pairs).unwrap(), golden.pearson, EXACT);
    near(spearman(&pairs).unwrap(), golden.spearman, EXACT);
}

/// The log probabilities are rounded to f32 here, as they come from a worker.
#[test]
fn perplexity_is_transformers() {
    let golden = golden();
    assert!(!golden.perplexities.is_empty());
    for one in golden.perplexities {
        near(Surprise::of(&one.log_probabilities).perplexity().unwrap(), one.perplexity, 1e-6);
    }
}

/// `golden/tcav.py`.
#[derive(Deserialize)]
struct Tcav {
    boundaries: Vec<Fitted>,
    tests: Vec<Test>,
}

#[derive(Deserialize)]
struct Fitted {
    /// In sixty-fourths, `[vector][coordinate]`.
    vectors: Vec<Vec<i16>>,
    positives: usize,
    weights: Vec<f64>,
    intercept: f64,
}

#[derive(Deserialize)]
struct Test {
    a: Vec<f64>,
    b: Vec<f64>,
    t: f64,
    freedom: f64,
    p: f64,
}

fn tcav() -> Tcav {
    serde_json::from_str(include_str!("golden/tcav.json")).unwrap()
}

/// Both stop where no part of the gradient is larger than 1e-8; the weights are of the order of 0.1.
#[test]
fn a_boundary_is_scikit_learns() {
    let golden = tcav().boundaries;
    assert_eq!(golden.len(), 3);
    for Fitted { vectors, positives, weights, intercept } in golden {
        let vectors: Vec<Vec<f32>> =
            vectors.iter().map(|vector| vector.iter().map(|&x| f32::from(x) / 64.0).collect()).collect();
        let rows: Vec<&[f32]> = vectors.iter().map(Vec::as_slice).collect();
        let found = Boundary::between(&rows[..positives], &rows[positives..]).unwrap();
        assert_eq!(found.weights.len(), weights.len());
        near(found.intercept, intercept, 1e-8);
        found.weights.iter().zip(weights).for_each(|(&own, other)| near(own, other, 1e-8));
    }
}

#[test]
fn a_t_test_is_scipys() {
    let golden = tcav().tests;
    assert_eq!(golden.len(), 6);
    for Test { a, b, t, freedom, p } in golden {
        let found = welch(&a, &b).unwrap();
        near(found.t, t, EXACT);
        near(found.freedom, freedom, EXACT);
        assert!((found.p - p).abs() <= 1e-11 * p, "{}, not {p}", found.p);
    }
}
