//! Log probabilities of given continuations: those of PyTorch, those of one step after the other, the same in any company.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

mod common;

use std::sync::Arc;

use common::{cases, load, tiny};
use lode_domain::{
    intervention::{ForcedUnit, Intervention, Positions},
    unit::{UnitId, UnitName},
};
use lode_model::{Conditions, Model, ModelError, Passage, pack};
use serde_json::Value;

/// Between one shape of batch and another, and f32 and float64 (`tests/golden/README.md`).
const TOLERANCE: f64 = 1e-4;

fn log_softmax(logits: &[f32], token: usize) -> f64 {
    let largest = logits.iter().copied().fold(f32::MIN, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - largest).exp()).sum();
    f64::from(logits[token] - largest) - sum.ln()
}

fn conditions(model: &Model, interventions: &[Intervention]) -> Arc<Conditions> {
    Arc::new(Conditions::of(model.unit_space(), interventions).unwrap())
}

fn forcing(model: &Model, positions: Positions) -> (Arc<Conditions>, Intervention) {
    let units = model.unit_space().len() as u32;
    let forced = (0..20).map(|n| ForcedUnit { unit: UnitId(n * 37 % units), value: n as f32 / 10.0 - 0.8 }).collect();
    let one = Intervention::new(positions, forced);
    (conditions(model, std::slice::from_ref(&one)), one)
}

fn alone(model: &Model, passage: &Passage, forced: &Arc<Conditions>) -> Vec<f32> {
    model.log_probabilities(&[passage], forced).unwrap().remove(0)
}

#[test]
fn they_are_those_of_one_step_after_the_other() {
    let folder = tiny::folder(&tiny::gpt2(), 3);
    let model = load(folder.path());
    let mut random = tiny::Random::new(5);
    for positions in [Positions::All, Positions::Generated, Positions::Last] {
        let (forced, one) = forcing(&model, positions);
        let (prompt, continuation) = (random.text(7), format!(" {}", random.text(6)));
        let passage = Passage::new(model.text(), &prompt, &continuation).unwrap();
        let found = alone(&model, &passage, &forced);
        assert_eq!(found.len(), 6);
        if positions == Positions::All {
            // Every position is forced, so that it does not matter where the prompt ends.
            let ids = model.text().encode(&format!("{prompt}{continuation}")).unwrap().ids;
            for (step, &found) in found.iter().enumerate() {
                let logits = model.next_logits(&ids[..7 + step], std::slice::from_ref(&one)).unwrap();
                let expected = log_softmax(&logits, ids[7 + step] as usize);
                assert!((f64::from(found) - expected).abs() < TOLERANCE, "{found}, not {expected}, at step {step}");
            }
        } else {
            // The first token: the prompt's last position is forced or not, as when the token is sampled.
            let ids = model.text().encode(&prompt).unwrap().ids;
            let logits = model.next_logits(&ids, &[one]).unwrap();
            let expected = log_softmax(&logits, passage.asked()[0].token as usize);
            assert!((f64::from(found[0]) - expected).abs() < TOLERANCE, "{positions}: {} not {expected}", found[0]);
        }
    }
}

/// With `--positions generated` the prompt is read unforced and the continuation is not.
#[test]
fn positions_are_counted_from_the_prompts_end() {
    let folder = tiny::folder(&tiny::llama(), 3);
    let model = load(folder.path());
    let passage = Passage::new(model.text(), "w5 w6 w7", " w8 w9 w10").unwrap();
    let plain = alone(&model, &passage, &conditions(&model, &[]));
    let forced = alone(&model, &passage, &forcing(&model, Positions::Generated).0);
    assert_eq!(plain[0], forced[0]);
    assert!((plain[1] - forced[1]).abs() > 1e-4 && (plain[2] - forced[2]).abs() > 1e-4, "{plain:?} {forced:?}");
}

#[test]
fn a_passage_has_the_same_bits_in_any_company() {
    for config in [tiny::gpt2(), tiny::llama()] {
        let folder = tiny::folder(&config, 9);
        let model = load(folder.path());
        let mut random = tiny::Random::new(11);
        let text = |random: &mut tiny::Random, most: usize| {
            let len = 1 + random.below(most);
            random.text(len)
        };
        let passages: Vec<Passage> = (0..24)
            .map(|number| {
                let most = if number % 8 == 0 { 300 } else { 20 };
                let (prompt, continuation) = (text(&mut random, most), format!(" {}", text(&mut random, most)));
                Passage::new(model.text(), &prompt, &continuation).unwrap()
            })
            .collect();
        let (forced, _) = forcing(&model, Positions::Generated);
        let batches = pack(&passages, &model.batch_shape());
        assert!(batches.len() < 12, "they share batches");
        for batch in batches {
            let members: Vec<&Passage> = batch.iter().map(|&number| &passages[number]).collect();
            let together = model.log_probabilities(&members, &forced).unwrap();
            for (member, together) in members.iter().zip(together) {
                assert_eq!(alone(&model, member, &forced), together);
            }
        }
    }
}

/// The logits of PyTorch in float64, with and without units forced.
#[test]
fn they_are_pytorchs() {
    let mut compared = 0;
    for case in cases() {
        let expected = case.join("expected");
        let generations = expected.read_dir().unwrap().map(|entry| entry.unwrap().path());
        let Some(file) = generations.into_iter().find(|path| path.to_string_lossy().ends_with(".do.json")) else {
            continue;
        };
        let model = load(&case.join("model"));
        let golden: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        for generation in golden.as_array().unwrap() {
            let logits = generation["logits"].as_array().map_or(&[][..], Vec::as_slice);
            let logits: Vec<f32> = logits.iter().map(|logit| logit.as_f64().unwrap() as f32).collect();
            // Of large vocabularies only the first logits are kept.
            if logits.len() != model.vocab_len() {
                continue;
            }
            let forced = generation["forced"].as_array().unwrap().iter().map(|forced| {
                let name: UnitName = format!("{}[{}]", forced[0].as_str().unwrap(), forced[1]).parse().unwrap();
                ForcedUnit { unit: model.unit_space().find(&name).unwrap(), value: forced[2].as_f64().unwrap() as f32 }
            });
            let forced = conditions(&model, &[Intervention::new(Positions::All, forced.collect())]);
            let prompt = generation["prompt"].as_str().unwrap();
            for continuation in [" the", " she", "x", ", and"] {
                let passage = Passage::new(model.text(), prompt, continuation).unwrap();
                if model.text().encode(prompt).unwrap().ids.len() as u32 != passage.asked()[0].after + 1 {
                    continue;
                }
                let found = alone(&model, &passage, &forced)[0];
                let expected = log_softmax(&logits, passage.asked()[0].token as usize);
                assert!((f64::from(found) - expected).abs() < TOLERANCE, "{}: {found}, not {expected}", case.display());
                compared += 1;
            }
        }
    }
    assert!(compared >= 40, "{compared}");
}

#[test]
fn continuations_that_ask_the_same_of_one_text_share_a_run() {
    let folder = tiny::folder(&tiny::gpt2(), 3);
    let model = load(folder.path());
    let passage = |continuation: &str| Passage::new(model.text(), "w5 w6", continuation).unwrap();
    let (mut first, second, longer) = (passage(" w7"), passage(" w8"), passage(" w8 w9"));
    assert_eq!(first.take_over(&second), Some(1));
    assert_eq!(first.take_over(&longer), None);
    let none = conditions(&model, &[]);
    let both = alone(&model, &first, &none);
    assert_eq!(both, [alone(&model, &passage(" w7"), &none), alone(&model, &second, &none)].concat());
}

#[test]
fn what_cannot_be_scored_is_refused() {
    let folder = tiny::folder(&tiny::gpt2(), 3);
    let model = load(folder.path());
    let text = model.text();
    assert!(matches!(Passage::new(text, "w5", " "), Err(ModelError::EmptyContinuation)));
    let long = tiny::Random::new(1).text(640);
    let refused = Passage::new(text, "w5 w6", &format!(" {long}")).unwrap_err();
    assert!(matches!(refused, ModelError::PassageTooLong { tokens: 641, limit: 640 }), "{refused}");
    assert!(Passage::new(text, "w5", &format!(" {long}")).is_ok(), "the last token is never run");
    // An empty prompt is the beginning of a text.
    let begun = Passage::new(text, "", "w5 w6").unwrap();
    assert_eq!(begun.asked().len(), 2);
}
