//! A sentence's responses are the same bits in any company, in any order, at any row of the batch.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, helpers included")]

mod common;

use common::{load, prepare_all, tiny};
use lode_domain::pooling::{Pooling, Tokens};
use lode_model::{Model, ModelError, Prepared, Responses, pack};
use proptest::prelude::*;
use serde_json::json;

/// Responses to `order` (indices into `sentences`), packed in that order, as bits.
fn bits(model: &Model, sentences: &[Prepared], order: &[usize], pooling: Pooling) -> Vec<(usize, Vec<u32>)> {
    let ordered: Vec<&Prepared> = order.iter().map(|&number| &sentences[number]).collect();
    let mut found = Vec::new();
    for batch in pack(&ordered, &model.batch_shape()) {
        let members: Vec<&Prepared> = batch.iter().map(|&place| ordered[place]).collect();
        let responses: Responses = model.responses(&members, pooling).unwrap();
        assert_eq!(responses.sentences(), members.len());
        for (row, &place) in batch.iter().enumerate() {
            found.push((order[place], responses.row(row).iter().map(|value| value.to_bits()).collect()));
        }
    }
    found.sort();
    found
}

fn check(config: &serde_json::Value, tokens: Tokens, pooling: Pooling, seed: u64) {
    let folder = tiny::folder(config, 7);
    let model = load(folder.path());
    let mut random = tiny::Random::new(seed);
    let mut texts: Vec<String> = (0..30)
        .map(|_| {
            let len = 1 + random.below(60);
            random.text(len)
        })
        .collect();
    // Longer than a short batch, as long as one, a repeated one, and prefixes of others.
    if tokens == Tokens::Own {
        texts.extend([513, 512, 600].map(|len| random.text(len)));
    }
    texts.push(texts[3].clone());
    let prefixes: Vec<String> = texts[..4].iter().map(|text| text.split(' ').next().unwrap().to_owned()).collect();
    texts.extend(prefixes);
    let sentences = prepare_all(&model, &texts, tokens);
    assert_eq!(sentences.len(), texts.len());
    let alone: Vec<(usize, Vec<u32>)> =
        (0..sentences.len()).flat_map(|number| bits(&model, &sentences, &[number], pooling)).collect();
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    random.shuffle(&mut order);
    assert!(alone == bits(&model, &sentences, &order, pooling), "alone or in shuffled company");
    let some = &order[..1 + random.below(order.len())];
    let expected: Vec<_> = alone.iter().filter(|(number, _)| some.contains(number)).cloned().collect();
    assert!(expected == bits(&model, &sentences, some, pooling), "in other company");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gpt2_like(seed: u64) {
        check(&tiny::gpt2(), Tokens::Own, Pooling::Max, seed);
    }

    #[test]
    fn llama_like(seed: u64) {
        check(&tiny::llama(), Tokens::Own, Pooling::Mean, seed);
    }
}

#[test]
fn other_poolings_and_the_selfcond_mode() {
    check(&tiny::gpt2(), Tokens::Own, Pooling::Last, 1);
    check(&tiny::gpt2(), Tokens::Selfcond, Pooling::Max, 2);
    check(&tiny::llama(), Tokens::Selfcond, Pooling::Max, 3);
}

/// What a token's activations are does not depend on what follows: so sentences that share a prefix tie where they
/// peak inside it.
#[test]
fn equal_prefixes_have_equal_activations() {
    for config in [tiny::gpt2(), tiny::llama()] {
        let folder = tiny::folder(&config, 7);
        let model = load(folder.path());
        let mut random = tiny::Random::new(5);
        let prefix = random.text(20);
        let texts = [prefix.clone(), format!("{prefix} {}", random.text(30)), format!("{prefix} w5")];
        let sentences = prepare_all(&model, &texts, Tokens::Own);
        let members: Vec<&Prepared> = sentences.iter().collect();
        let responses = model.responses(&members, Pooling::Max).unwrap();
        let of_prefix = responses.row(0);
        for sentence in [1, 2] {
            let longer = responses.row(sentence);
            assert!(of_prefix.iter().zip(longer).all(|(short, long)| long >= short), "a maximum over more tokens");
            let ties = of_prefix.iter().zip(longer).filter(|(short, long)| short.to_bits() == long.to_bits()).count();
            assert!(ties * 4 > of_prefix.len(), "{ties} of {}", of_prefix.len());
        }
    }
}

#[test]
fn batches_of_another_shape_are_refused() {
    let folder = tiny::folder(&tiny::gpt2(), 7);
    let model = load(folder.path());
    let mut random = tiny::Random::new(5);
    let texts = [400, 400, 600].map(|len| random.text(len));
    let sentences = prepare_all(&model, &texts, Tokens::Own);
    let refused =
        |batch: &[&Prepared]| matches!(model.responses(batch, Pooling::Max), Err(ModelError::BadBatch { .. }));
    assert!(refused(&[&sentences[0], &sentences[1]]), "800 tokens in 512 rows");
    assert!(refused(&[&sentences[2], &sentences[0]]), "long and short");
    assert_eq!(model.responses(&[], Pooling::Max).unwrap().sentences(), 0);
}

#[test]
fn numbers_that_overflow_are_named() {
    let mut config = tiny::gpt2();
    config["n_positions"] = json!(32);
    let folder = tiny::folder(&config, 7);
    let path = folder.path().join("model.safetensors");
    let mut tensors = tiny::tensors(&config, 7);
    let huge = &tensors["transformer.h.0.mlp.c_fc.weight"];
    let huge = (huge.ones_like().unwrap() * 3e38).unwrap();
    tensors.insert("transformer.h.0.mlp.c_fc.weight".to_owned(), huge);
    candle_core::safetensors::save(&tensors, path).unwrap();
    let model = load(folder.path());
    let sentences = prepare_all(&model, &["w3 w4 w5".to_owned()], Tokens::Own);
    let message = model.responses(&[&sentences[0]], Pooling::Max).unwrap_err().to_string();
    assert!(message.contains("transformer.h.0.mlp.c_fc[") && message.contains("not finite"), "{message}");
}
