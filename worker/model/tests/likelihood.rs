//! Log probabilities of given continuations: those of PyTorch, those of one step after the other, the same in any company.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed, as it should")]

mod common;

use std::sync::Arc;

use common::{cases, guide, load, tiny};
use lode_domain::{
    intervention::{Action, ForcedUnit, Intervention, Positions},
    unit::{UnitId, UnitName},
};
use lode_model::{Conditions, Model, ModelError, Passage, Question, pack};
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

fn question(forced: &Arc<Conditions>) -> Question {
    Question { conditions: Arc::clone(forced), guide: None, residual: Vec::new() }
}

fn alone(model: &Model, passage: &Passage, forced: &Arc<Conditions>) -> Vec<f32> {
    model.answer(&[passage], &question(forced)).unwrap().remove(0).log_probabilities
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
            let together = model.answer(&members, &question(&forced)).unwrap();
            for (member, together) in members.iter().zip(together) {
                assert_eq!(alone(&model, member, &forced), together.log_probabilities);
            }
        }
    }
}

/// A direction that is added where a block writes last moves the residual stream by itself, for its own request alone.
#[test]
fn the_residual_stream_is_what_a_direction_moves() {
    let folder = tiny::folder(&tiny::gpt2(), 3);
    let model = load(folder.path());
    let mut random = tiny::Random::new(11);
    let text = format!(" {}", random.text(9));
    let passage = Passage::new(model.text(), &random.text(4), &text).unwrap();
    let layers = model.unit_space().layers();
    let last = layers.iter().rposition(|layer| layer.name.block() == Some(0)).unwrap();
    let units = model.unit_space().range(last);
    let ask_all = |interventions: &[Intervention], blocks: &[u32]| {
        let question = Question { residual: blocks.to_vec(), ..question(&conditions(&model, interventions)) };
        model.answer(&[&passage], &question).unwrap().remove(0)
    };
    let ask = |interventions: &[Intervention], block| ask_all(interventions, &[block]);
    let plain = ask(&[], 0);
    assert_eq!(plain.residual.len(), units.len());
    let moved = |amount: f32| {
        let forced = units.clone().map(|unit| ForcedUnit { unit: UnitId(unit as u32), value: amount }).collect();
        Intervention::with(Action::Add, Positions::All, forced)
    };
    let steered = ask(&[moved(0.5)], 0);
    for (plain, steered) in plain.residual.iter().zip(&steered.residual) {
        assert!((steered - plain - 0.5).abs() < 1e-5, "{plain} {steered}");
    }
    assert_ne!(ask(&[moved(0.5)], 1).residual, ask(&[], 1).residual);
    assert_eq!(ask(&[moved(0.0)], 1), ask(&[], 1), "nothing added changes nothing");
    let both = [ask(&[moved(0.5)], 0).residual, ask(&[moved(0.5)], 1).residual].concat();
    assert_eq!(ask_all(&[moved(0.5)], &[0, 1]).residual, both, "several blocks are one pass");
    let beyond = Question { residual: vec![0, layers.len() as u32], ..question(&conditions(&model, &[])) };
    assert!(model.check_question(&beyond).unwrap_err().to_string().contains("its blocks are 0 to"));
}

/// p'(x) is p(x) P(concept | before, x)^strength over the candidates, normalised; the same in any company.
#[test]
fn a_guide_weighs_what_the_model_says() {
    let folder = tiny::folder(&tiny::gpt2(), 3);
    let model = load(folder.path());
    let mut random = tiny::Random::new(13);
    let prompt = random.text(5);
    let (some, other) = (format!(" {}", random.text(4)), format!(" {}", random.text(6)));
    let passage = |continuation: &str| Passage::new(model.text(), &prompt, continuation).unwrap();
    let (passage, company) = (passage(&some), passage(&other));
    let free = conditions(&model, &[]);
    let ask = |guide, members: &[&Passage]| model.answer(members, &Question { guide, ..question(&free) }).unwrap();
    let guide = |strength, candidates| Some(guide(strength, candidates));
    let vocabulary = model.vocab_len() as u32;
    let plain = ask(None, &[&passage]).remove(0).log_probabilities;
    let without = ask(guide(0.0, vocabulary), &[&passage]).remove(0).log_probabilities;
    plain.iter().zip(&without).for_each(|(a, b)| assert!((a - b).abs() < 1e-5, "strength 0 changes nothing"));
    let guided = ask(guide(3.0, vocabulary), &[&passage]).remove(0).log_probabilities;
    assert!(plain.iter().zip(&guided).any(|(a, b)| (a - b).abs() > 1e-3), "{plain:?} {guided:?}");
    assert_eq!(ask(guide(3.0, vocabulary), &[&company, &passage])[1].log_probabilities, guided, "in company too");

    // The first token by hand, from the model's logits.
    let ids: Vec<u32> = model.text().encode_prompt(&prompt).unwrap();
    let logits = model.next_logits(&ids, &[]).unwrap();
    let reader = guide(3.0, vocabulary).unwrap();
    let mut state = reader.start();
    ids.iter().for_each(|&token| reader.read(&mut state, token));
    let weighed: Vec<f32> = (0..vocabulary)
        .map(|token| {
            let mut after = state.clone();
            reader.read(&mut after, token);
            logits[token as usize] + 3.0 * reader.log_probability(&after)
        })
        .collect();
    let expected = log_softmax(&weighed, passage.asked()[0].token as usize);
    assert!((f64::from(guided[0]) - expected).abs() < TOLERANCE, "{} {expected}", guided[0]);

    // Few candidates: their probabilities are larger, and others have none.
    let few = ask(guide(0.0, 1), &[&passage]).remove(0).log_probabilities;
    assert!(few.iter().all(|&log| log == 0.0 || log == f32::NEG_INFINITY), "{few:?}");
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
