//! p(she, her) and p(he, his) from the next-token distribution, over a grid of k or by bisection.

use std::collections::BTreeMap;

use lode_domain::likelihood::{Passage, ScoredPassage};
use serde::Serialize;

use super::Parity;
use crate::cmd::eval::{
    cells::{Estimate, estimated, measured},
    method::{Method, TreatmentKey},
    store::Store,
    strength::Strength,
    writing::Writer,
};

/// Contexts of one request.
const CHUNK: usize = 512;

/// Probabilities that the next word is of the first group, and of the second; nothing where the model is out of its numbers.
pub(super) type Pair = Option<(f64, f64)>;

/// The pairs of a context by k.
pub(super) type ByK = BTreeMap<Strength, Pair>;

/// What a request's numbers follow from.
#[derive(Serialize)]
struct Key<'a> {
    eval: &'static str,
    version: &'static str,
    model: String,
    treatment: Option<TreatmentKey>,
    first: &'a [String],
    second: &'a [String],
    /// BLAKE3 of the contexts, which would be long.
    contexts: String,
}

/// Some contexts under one condition.
struct Request {
    concept: usize,
    k: Strength,
    contexts: Vec<usize>,
}

/// All that a grid asks: nothing forced counts for both concepts.
fn of_grid(parity: &Parity<'_>) -> Vec<Request> {
    let all: Vec<usize> = (0..parity.contexts.len()).collect();
    let mut requests = Vec::new();
    for &k in &parity.ks {
        for concept in 0..if k.is_none() { 1 } else { 2 } {
            let chunks = all.chunks(CHUNK);
            requests.extend(chunks.map(|contexts| Request { concept, k, contexts: contexts.to_vec() }));
        }
    }
    requests
}

/// The pairs of every context under either concept: `[concept][context]` by k.
pub(super) async fn over_grid(
    parity: &Parity<'_>,
    writer: &Writer,
    store: &mut Store,
) -> anyhow::Result<[Vec<ByK>; 2]> {
    let requests = of_grid(parity);
    let mut found = [vec![ByK::new(); parity.contexts.len()], vec![ByK::new(); parity.contexts.len()]];
    take(&mut found, &requests, run(parity, writer, store, &requests).await?);
    Ok(found)
}

/// How long a grid takes, by `part` of its requests.
pub(super) async fn plan(
    parity: &Parity<'_>,
    writer: &Writer,
    store: &mut Store,
    part: u32,
) -> anyhow::Result<Estimate> {
    let requests = of_grid(parity);
    let keys = keys(parity, &requests)?;
    let settings = (what(parity.method), parity.args.shared.run.parallel, part);
    estimated(store, &keys, settings, async |number| ask(parity, writer, &requests[number]).await).await
}

/// The same with few k for each context: bisection up to the largest of the grid.
pub(super) async fn by_bisection(
    parity: &Parity<'_>,
    writer: &Writer,
    store: &mut Store,
) -> anyhow::Result<[Vec<ByK>; 2]> {
    let (largest, step) = (parity.ks.last().copied().unwrap_or_default(), parity.method.step());
    let mut found = [vec![ByK::new(); parity.contexts.len()], vec![ByK::new(); parity.contexts.len()]];
    loop {
        let mut wanted: BTreeMap<(usize, Strength), Vec<usize>> = BTreeMap::new();
        for (concept, by_context) in found.iter().enumerate() {
            for (context, by_k) in by_context.iter().enumerate() {
                if let Some(k) = next(by_k, (largest, step)) {
                    wanted.entry((if k.is_none() { 0 } else { concept }, k)).or_default().push(context);
                }
            }
        }
        if wanted.is_empty() {
            return Ok(found);
        }
        let mut requests = Vec::new();
        for ((concept, k), mut contexts) in wanted {
            // Nothing forced was wanted for both concepts.
            contexts.sort_unstable();
            contexts.dedup();
            let chunks = contexts.chunks(CHUNK);
            requests.extend(chunks.map(|contexts| Request { concept, k, contexts: contexts.to_vec() }));
        }
        take(&mut found, &requests, run(parity, writer, store, &requests).await?);
    }
}

/// Which k to measure next; a k without a number ends the search.
fn next(by_k: &ByK, (largest, step): (Strength, Strength)) -> Option<Strength> {
    let known: Option<Vec<(Strength, f64)>> =
        by_k.iter().map(|(&k, pair)| pair.map(|(first, second)| (k, first - second))).collect();
    Strength::search(&known?, largest, step)
}

fn take(found: &mut [Vec<ByK>; 2], requests: &[Request], pairs: Vec<Vec<Pair>>) {
    for (request, pairs) in requests.iter().zip(pairs) {
        for (&context, pair) in request.contexts.iter().zip(pairs) {
            for concept in if request.k.is_none() { 0..2 } else { request.concept..request.concept + 1 } {
                found[concept][context].insert(request.k, pair);
            }
        }
    }
}

/// What is measured, for people.
fn what(method: Method) -> &'static str {
    match method {
        Method::Do => "next-word probabilities",
        Method::Prompt => "next-word probabilities after an instruction",
        Method::Fudge => "next-word probabilities under FUDGE",
        Method::Steer => "next-word probabilities under steering",
    }
}

fn texts<'p>(parity: &'p Parity<'_>, request: &Request) -> Vec<&'p str> {
    request.contexts.iter().map(|&context| parity.contexts[context].text.as_str()).collect()
}

fn keys(parity: &Parity<'_>, requests: &[Request]) -> anyhow::Result<Vec<String>> {
    let key = |request: &Request| {
        let key = Key {
            eval: "parity-exact",
            version: env!("CARGO_PKG_VERSION"),
            model: parity.model.hash.to_string(),
            treatment: parity.key(request.concept, request.k),
            first: &parity.args.first_words,
            second: &parity.args.second_words,
            contexts: blake3::hash(texts(parity, request).join("\n").as_bytes()).to_hex().to_string(),
        };
        Ok(serde_json::to_string(&key)?)
    };
    requests.iter().map(key).collect()
}

async fn run(
    parity: &Parity<'_>,
    writer: &Writer,
    store: &mut Store,
    requests: &[Request],
) -> anyhow::Result<Vec<Vec<Pair>>> {
    let settings = (what(parity.method), parity.args.shared.run.parallel);
    let keys = keys(parity, requests)?;
    measured(store, &keys, settings, async |number| ask(parity, writer, &requests[number]).await).await
}

async fn ask(parity: &Parity<'_>, writer: &Writer, request: &Request) -> anyhow::Result<Vec<Pair>> {
    let (first, second) = (&parity.args.first_words, &parity.args.second_words);
    let continuations: Vec<String> = first.iter().chain(second).map(|word| format!(" {word}")).collect();
    let passage = |text: &str| Passage { prompt: text.to_owned(), continuations: continuations.clone() };
    let passages = texts(parity, request).into_iter().map(passage).collect();
    let scored = writer.score(&writer.model, &parity.treatment(request.concept, request.k), passages).await?;
    Ok(scored.iter().map(|passage| pair(passage, first.len())).collect())
}

/// The groups' probabilities: words exclude each other, so they add up.
fn pair(passage: &ScoredPassage, first: usize) -> Pair {
    let sum = |words: &[lode_domain::likelihood::ScoredContinuation]| -> f64 {
        words.iter().map(|word| word.log_probability().exp()).sum()
    };
    let (first, second) = passage.split_at_checked(first)?;
    let (first, second) = (sum(first), sum(second));
    (first.is_finite() && second.is_finite()).then_some((first, second))
}

#[cfg(test)]
mod tests {
    use lode_domain::likelihood::ScoredContinuation;

    use super::*;

    #[test]
    fn groups_add_up() {
        let word = |p: f32| ScoredContinuation {
            tokens: vec![1],
            log_probabilities: vec![p.ln()],
            ..ScoredContinuation::default()
        };
        let (first, second) = pair(&vec![word(0.25), word(0.125), word(0.5)], 2).unwrap();
        assert!((first - 0.375).abs() < 1e-6 && (second - 0.5).abs() < 1e-6);
        assert_eq!(pair(&vec![word(0.25), word(f32::NAN)], 1), None);
    }

    #[test]
    fn a_search_ends_where_there_is_no_number() {
        let grid = (Strength::from(100), Strength::from(1));
        assert_eq!(next(&ByK::new(), grid), Some(Strength::NONE));
        let mut known = ByK::from([(Strength::NONE, Some((0.6, 0.2))), (1.into(), Some((0.5, 0.2)))]);
        assert_eq!(next(&known, grid), Some(2.into()));
        known.insert(2.into(), Some((0.1, 0.2)));
        assert_eq!(next(&known, grid), None);
        known.insert(2.into(), None);
        assert_eq!(next(&known, grid), None);
    }
}
