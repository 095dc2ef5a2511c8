//! What is told with tokens: log probabilities, strengths of observed concepts, and where a stop text ends the text.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod common;

use std::sync::Arc;

use common::{
    load, root,
    tiny::{self, Random},
};
use lode_domain::{
    generation::{FinishReason, Finished},
    intervention::{Action, ForcedUnit, Intervention, Positions},
    observation::{Observation, ObservedUnit},
    pooling::{Pooling, Tokens},
    sampling::Sampling,
    unit::UnitId,
};
use lode_model::{Conditions, Engine, EngineOptions, Model, SequenceRequest, StepEvent, Watch};

fn model() -> Arc<Model> {
    Arc::new(load(&root("tests/golden/cases/gpt2/model")))
}

fn run(model: &Arc<Model>, request: SequenceRequest) -> Vec<StepEvent> {
    let mut engine = Engine::new(Arc::clone(model), EngineOptions::default());
    engine.join(request).unwrap();
    let mut events = Vec::new();
    while engine.active() > 0 {
        events.extend(engine.step().unwrap());
    }
    events
}

fn text(events: &[StepEvent]) -> (String, Finished) {
    let text = events.iter().map(|event| event.text.as_str()).collect();
    (text, events.last().unwrap().finished.unwrap())
}

/// Log probabilities are those of `next_logits`, to 1e-4, whatever was drawn how; and those of all tokens sum to one.
#[test]
fn log_probabilities_are_the_models() {
    let model = model();
    let prompt = model.text().encode_prompt("we bake bread").unwrap();
    let force = [Intervention::with(Action::Scale, Positions::All, vec![ForcedUnit { unit: UnitId(70), value: 3.0 }])];
    let sampling = Sampling { temperature: 1.7, top_k: 50, seed: 5, logprobs: Some(20), ..Sampling::default() };
    let conditions = Arc::new(Conditions::of(model.unit_space(), &force).unwrap());
    let events = run(&model, SequenceRequest { conditions, ..SequenceRequest::new(&model, &prompt, sampling) });
    let mut tokens = prompt;
    for event in &events {
        let logits: Vec<f64> = model.next_logits(&tokens, &force).unwrap().into_iter().map(f64::from).collect();
        let largest = logits.iter().copied().fold(f64::MIN, f64::max);
        let total = largest + logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln();
        let told = event.logprobs.as_ref().unwrap();
        assert_eq!((told.drawn.token, told.top.len()), (event.token.unwrap(), 20));
        for scored in told.top.iter().chain([&told.drawn]) {
            let expected = logits[scored.token as usize] - total;
            assert!((f64::from(scored.logprob) - expected).abs() < 1e-4, "{scored:?}: {expected}");
        }
        assert!(told.top.is_sorted_by(|a, b| a.logprob >= b.logprob));
        let better = logits.iter().filter(|&&logit| logit - total > f64::from(told.top[19].logprob) + 1e-4).count();
        assert!(better < 20, "{better} are more probable than the last of 20");
        tokens.push(told.drawn.token);
    }
    assert_eq!(events.len(), 40);
    let silent = Sampling { temperature: 1.7, top_k: 50, seed: 5, ..Sampling::default() };
    let conditions = Arc::new(Conditions::of(model.unit_space(), &force).unwrap());
    let silent = SequenceRequest { conditions, ..SequenceRequest::new(&model, &tokens[..tokens.len() - 40], silent) };
    let silent = run(&model, silent);
    assert!(silent.iter().all(|event| event.logprobs.is_none()));
    assert_eq!(text(&silent), text(&events), "asking changes nothing");
}

/// Against the activations that mining captures at the last position of the same text.
#[test]
fn observed_strengths_are_those_of_a_captured_pass() {
    let folder = tiny::folder(&tiny::gpt2(), 23);
    let model = Arc::new(load(folder.path()));
    let mut random = Random::new(4);
    let units = model.unit_space().len();
    let observed = |random: &mut Random| Observation {
        units: (0..12)
            .map(|_| ObservedUnit { unit: UnitId(random.below(units) as u32), off: random.number(), span: 0.7 })
            .collect(),
    };
    let observations = [observed(&mut random), observed(&mut random)];
    let watch = Arc::new(Watch::new(model.unit_space(), &observations).unwrap());
    let mut sentence = "w5 w9 w33".to_owned();
    let ids = model.text().encode_prompt(&sentence).unwrap();
    let sampling = Sampling { temperature: 0.0, max_new_tokens: 8, ..Sampling::default() };
    let events = run(&model, SequenceRequest { watch, ..SequenceRequest::new(&model, &ids, sampling) });
    for event in &events {
        let prepared = model.text().prepare(&sentence, Tokens::Own).unwrap().unwrap();
        let responses = model.responses(&[&prepared], Pooling::Last).unwrap();
        for (observation, strength) in observations.iter().zip(&event.observed) {
            let expected = observation.strength(|unit| responses.row(0)[unit.index()]);
            assert!((strength - expected).abs() < 1e-4, "{strength} {expected}");
        }
        assert_eq!(event.observed.len(), 2);
        sentence += &format!(" w{}", event.token.unwrap());
    }
    // What is forced is seen as forced.
    let forced = observations[0].units.iter().map(|one| ForcedUnit { unit: one.unit, value: one.off + one.span });
    let force = [Intervention::new(Positions::Last, forced.collect())];
    let watch = Arc::new(Watch::new(model.unit_space(), &observations[..1]).unwrap());
    let conditions = Arc::new(Conditions::of(model.unit_space(), &force).unwrap());
    let sampling = Sampling { temperature: 0.0, max_new_tokens: 3, ..Sampling::default() };
    let request = SequenceRequest { watch, conditions, ..SequenceRequest::new(&model, &ids, sampling) };
    assert!(run(&model, request).iter().all(|event| (event.observed[0] - 1.0).abs() < 1e-6));
}

/// Every piece of a generated text as a stop text, wherever tokens and characters begin and end.
#[test]
fn stop_texts_are_found_across_tokens_and_characters() {
    let cases = root("tests/golden/cases");
    let mut stopped = 0;
    for case in cases.read_dir().unwrap() {
        let model = Arc::new(load(&case.unwrap().path().join("model")));
        let prompt = model.text().encode_prompt("we bake").unwrap();
        let sampling = Sampling { temperature: 2.0, seed: 1, max_new_tokens: 24, ..Sampling::default() };
        let request = |stop: &[&str]| {
            let stop = stop.iter().map(|&text| text.to_owned()).collect();
            SequenceRequest::new(&model, &prompt, Sampling { stop, ..sampling.clone() })
        };
        let (whole, finished) = text(&run(&model, request(&[])));
        let starts: Vec<usize> = whole.char_indices().map(|(start, _)| start).collect();
        for (number, &start) in starts.iter().enumerate().step_by(7) {
            for len in [1, 3, 8] {
                let Some(&end) = starts.get(number + len) else { continue };
                let stop = &whole[start..end];
                let (text, finished) = text(&run(&model, request(&["never \u{1f388} said", stop])));
                assert_eq!(text, whole[..whole.find(stop).unwrap()], "{stop:?}");
                assert_eq!(finished.reason, FinishReason::Stop);
                stopped += 1;
            }
        }
        // What only may have become one is given in the end.
        let last: String = whole.chars().skip(whole.chars().count().saturating_sub(2)).collect();
        let longer = format!("{last} and more");
        assert_eq!(text(&run(&model, request(&[&longer]))), (whole, finished));
    }
    assert!(stopped > 50, "{stopped}");
}
