//! Generation: the same tokens alone and in company, whole characters, honest endings and counts.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, helpers included")]

mod common;

use std::{collections::BTreeMap, sync::Arc};

use common::{load, root, tiny};
use lode_domain::generation::{FinishReason, Finished};
use lode_domain::{
    intervention::{Coverage, ForcedUnit, Intervention, Positions},
    sampling::Sampling,
    unit::UnitId,
};
use lode_model::{Conditions, Engine, EngineOptions, Model, ModelError, SequenceRequest};

const GREEDY: Sampling = Sampling {
    temperature: 0.0,
    top_p: 1.0,
    top_k: 0,
    repetition_penalty: 1.0,
    presence_penalty: 0.0,
    frequency_penalty: 0.0,
    logit_bias: BTreeMap::new(),
    seed: 0,
    max_new_tokens: 20,
    stop: Vec::new(),
    logprobs: None,
};

fn forced(model: &Model, interventions: &[Intervention], request: SequenceRequest) -> SequenceRequest {
    SequenceRequest { conditions: Arc::new(Conditions::of(model.unit_space(), interventions).unwrap()), ..request }
}

/// Everything one sequence gave.
#[derive(Clone, Debug, Default, PartialEq)]
struct Outcome {
    tokens: Vec<u32>,
    text: String,
    finished: Option<Finished>,
}

/// Runs requests; number `i` joins before step `joins[i]`.
fn run(model: &Arc<Model>, requests: &[SequenceRequest], joins: &[usize]) -> Vec<Outcome> {
    let mut engine = Engine::new(Arc::clone(model), EngineOptions::default());
    let mut outcomes = vec![Outcome::default(); requests.len()];
    let mut numbers = BTreeMap::new();
    let mut step = 0;
    while numbers.len() < requests.len() || engine.active() > 0 {
        for (number, request) in requests.iter().enumerate().filter(|(number, _)| joins[*number] == step) {
            numbers.insert(engine.join(request.clone()).unwrap()[0], number);
        }
        for event in engine.step().unwrap() {
            let outcome = &mut outcomes[numbers[&event.sequence]];
            assert_eq!(outcome.finished, None, "nothing comes after the end");
            outcome.tokens.extend(event.token);
            outcome.text.push_str(&event.text);
            outcome.finished = event.finished;
        }
        step += 1;
    }
    outcomes
}

fn alone(model: &Arc<Model>, request: &SequenceRequest) -> Outcome {
    run(model, std::slice::from_ref(request), &[0]).remove(0)
}

fn random_request(model: &Model, random: &mut tiny::Random) -> SequenceRequest {
    let prompt: Vec<u32> = (0..1 + random.below(30)).map(|_| 1 + random.below(tiny::VOCAB - 1) as u32).collect();
    let interventions = (0..random.below(3)).map(|_| {
        let positions = [Positions::All, Positions::Generated, Positions::Last][random.below(3)];
        let units = (0..1 + random.below(40)).map(|_| ForcedUnit {
            unit: UnitId(random.below(model.unit_space().len()) as u32),
            value: random.number(),
        });
        Intervention::new(positions, units.collect())
    });
    let interventions: Vec<_> = interventions.collect();
    let sampling = Sampling {
        temperature: [0.0, 0.7, 1.5][random.below(3)],
        top_p: [0.9, 1.0][random.below(2)],
        top_k: [0, 20][random.below(2)] as u32,
        repetition_penalty: [1.0, 1.3][random.below(2)],
        presence_penalty: [0.0, 0.7][random.below(2)],
        frequency_penalty: [0.0, -0.4, 1.1][random.below(3)],
        logit_bias: (0..random.below(3)).map(|_| (random.below(60) as u32, random.number())).collect(),
        seed: random.below(1000) as u64,
        max_new_tokens: 5 + random.below(25) as u32,
        ..Sampling::default()
    };
    let request = SequenceRequest::new(model, &prompt, sampling);
    let sample = random.below(3) as u32;
    SequenceRequest { samples: sample..sample + 1, ..forced(model, &interventions, request) }
}

#[test]
fn company_changes_nothing() {
    for config in [tiny::gpt2(), tiny::llama()] {
        let folder = tiny::folder(&config, 23);
        let model = Arc::new(load(folder.path()));
        let mut random = tiny::Random::new(1);
        let requests: Vec<_> = (0..12).map(|_| random_request(&model, &mut random)).collect();
        let expected: Vec<_> = requests.iter().map(|request| alone(&model, request)).collect();
        assert!(expected.iter().any(|outcome| outcome.finished.unwrap().coverage.writes > 0));
        let joins: Vec<usize> = (0..12).map(|_| random.below(15)).collect();
        assert_eq!(run(&model, &requests, &joins), expected, "staggered");
        assert_eq!(run(&model, &requests, &[0; 12]), expected, "all at once");
    }
}

/// Reading the prompt in one pass and token by token gives the same distribution: 1e-4 of logits of order ten.
#[test]
fn the_cache_holds_what_a_whole_pass_computes() {
    let folder = tiny::folder(&tiny::llama(), 23);
    let model = Arc::new(load(folder.path()));
    let force = Intervention::new(Positions::All, vec![ForcedUnit { unit: UnitId(70), value: 2.0 }]);
    let request = SequenceRequest::new(&model, &[5, 9, 33], GREEDY);
    let outcome = alone(&model, &forced(&model, std::slice::from_ref(&force), request));
    let mut tokens = vec![5, 9, 33];
    for &token in &outcome.tokens {
        let logits = model.next_logits(&tokens, std::slice::from_ref(&force)).unwrap();
        let best = logits.iter().copied().fold(f32::MIN, f32::max);
        assert!(best - logits[token as usize] < 1e-4, "token {token} after {tokens:?}");
        tokens.push(token);
    }
}

#[test]
fn coverage_counts_what_was_written() {
    let folder = tiny::folder(&tiny::gpt2(), 23);
    let model = Arc::new(load(folder.path()));
    let space = model.unit_space();
    let at = |layer: usize, index: usize, value| ForcedUnit {
        unit: UnitId((space.range(layer).start + index) as u32),
        value,
    };
    let all = Intervention::new(Positions::All, vec![at(0, 3, 1.0), at(2, 7, 0.5)]);
    let generated = Intervention::new(Positions::Generated, vec![at(2, 7, -0.5), at(5, 0, 0.0)]);
    let sampling = Sampling { max_new_tokens: 4, ..GREEDY };
    let run = |interventions: &[Intervention]| {
        let request = SequenceRequest::new(&model, &[4, 5, 6], sampling.clone());
        let outcome = alone(&model, &forced(&model, interventions, request));
        let finished = outcome.finished.unwrap();
        assert_eq!((finished.prompt_tokens, finished.generated_tokens, finished.reason), (3, 4, FinishReason::Length));
        finished.coverage
    };
    // The last token drawn is not run: three prompt positions and three generated ones are.
    assert_eq!(run(std::slice::from_ref(&all)), Coverage { units: 2, layers: 2, positions: 6, writes: 12 });
    assert_eq!(run(std::slice::from_ref(&generated)), Coverage { units: 2, layers: 2, positions: 3, writes: 6 });
    assert_eq!(run(&[all, generated]), Coverage { units: 3, layers: 3, positions: 6, writes: 6 + 9 });
    let last = Intervention::new(Positions::Last, vec![at(1, 1, 1.0)]);
    assert_eq!(run(&[last]), Coverage { units: 1, layers: 1, positions: 4, writes: 4 });
    assert_eq!(run(&[]), Coverage::default());
}

#[test]
fn the_later_intervention_wins() {
    let folder = tiny::folder(&tiny::gpt2(), 23);
    let model = load(folder.path());
    let force = |value| Intervention::new(Positions::All, vec![ForcedUnit { unit: UnitId(400), value }]);
    let logits = |interventions: &[Intervention]| model.next_logits(&[4, 5, 6], interventions).unwrap();
    assert_eq!(logits(&[force(9.0), force(1.0)]), logits(&[force(1.0)]));
    assert_ne!(logits(&[force(1.0), force(9.0)]), logits(&[force(1.0)]));
}

#[test]
fn requests_out_of_range_are_refused_and_others_go_on() {
    let folder = tiny::folder(&tiny::gpt2(), 23);
    let model = Arc::new(load(folder.path()));
    let mut engine = Engine::new(Arc::clone(&model), EngineOptions::default());
    engine.join(SequenceRequest::new(&model, &[1], GREEDY)).unwrap();
    let mut refuse = |request| engine.join(request).unwrap_err();
    let long = refuse(SequenceRequest::new(&model, &[1; 640], GREEDY)).to_string();
    assert!(long.contains("640 tokens") && long.contains("639"), "{long}");
    assert!(matches!(
        refuse(SequenceRequest::new(&model, &[200], GREEDY)),
        ModelError::UnknownToken { token: 200, vocab: 200 }
    ));
    let biased = Sampling { logit_bias: [(200, 1.0)].into(), ..GREEDY };
    assert!(matches!(
        refuse(SequenceRequest::new(&model, &[1], biased)),
        ModelError::UnknownToken { token: 200, vocab: 200 }
    ));
    assert!(matches!(
        refuse(SequenceRequest::new(&model, &[1], Sampling { top_p: 0.0, ..GREEDY })),
        ModelError::Sampling(_)
    ));
    let force = |unit, value| {
        let intervention = Intervention::new(Positions::All, vec![ForcedUnit { unit: UnitId(unit), value }]);
        Conditions::of(model.unit_space(), &[intervention]).unwrap_err()
    };
    assert!(matches!(force(99_999, 0.0), ModelError::UnknownUnit { unit: 99_999, .. }));
    assert!(force(0, f32::INFINITY).to_string().contains("transformer.h.0.attn.c_attn[0]"));
    assert_eq!(engine.active(), 1);
    assert_eq!(engine.step().unwrap().len(), 1);
}

#[test]
fn texts_end_at_the_context_and_empty_prompts_begin_one() {
    let folder = tiny::folder(&tiny::gpt2(), 23);
    let model = Arc::new(load(folder.path()));
    // A penalty this large keeps the end token away, which greedy decoding never reaches here anyway.
    let outcome = alone(&model, &SequenceRequest::new(&model, &[7; 637], GREEDY));
    let finished = outcome.finished.unwrap();
    assert!(finished.generated_tokens <= 3, "640 tokens are the context");
    assert_eq!(
        alone(&model, &SequenceRequest::new(&model, &[], GREEDY)),
        alone(&model, &SequenceRequest::new(&model, &[0], GREEDY)),
        "0 is the end token"
    );
}

#[test]
fn sequences_may_leave() {
    let folder = tiny::folder(&tiny::gpt2(), 23);
    let model = Arc::new(load(folder.path()));
    let mut engine = Engine::new(Arc::clone(&model), EngineOptions::default());
    let ids = [3, 4].map(|token| engine.join(SequenceRequest::new(&model, &[token], GREEDY)).unwrap()[0]);
    engine.step().unwrap();
    engine.leave(ids[0]);
    engine.leave(ids[0]);
    assert!(engine.step().unwrap().iter().all(|event| event.sequence == ids[1]));
    assert_eq!(engine.active(), 1);
    engine.leave(ids[1]);
    assert!(engine.step().unwrap().is_empty());
}

#[test]
fn forcing_beyond_all_numbers_ends_one_sequence_only() {
    let folder = tiny::folder(&tiny::gpt2(), 23);
    let model = Arc::new(load(folder.path()));
    // LayerNorm of values whose sum overflows is no number.
    let last = model.unit_space().layers().len() - 1;
    let units = model.unit_space().range(last).map(|unit| ForcedUnit { unit: UnitId(unit as u32), value: 3e38 });
    let force = Intervention::new(Positions::All, units.collect());
    let wild = forced(&model, &[force], SequenceRequest::new(&model, &[5], GREEDY));
    let outcomes = run(&model, &[wild, SequenceRequest::new(&model, &[5], GREEDY)], &[0, 0]);
    assert_eq!(outcomes[0].finished.unwrap().reason, FinishReason::NotFinite);
    assert!(outcomes[0].tokens.is_empty());
    assert_eq!(outcomes[1], alone(&model, &SequenceRequest::new(&model, &[5], GREEDY)));
}

/// A model that was really trained, and what its README says it tells.
#[test]
fn stories260k_tells_its_story() {
    let folder = root("../shared/models/stories260K");
    if !folder.exists() {
        eprintln!("{} is not here: the golden cases cover its family", folder.display());
        return;
    }
    let readme = std::fs::read_to_string(root("../shared/models/README.md")).unwrap();
    let expected = readme.split("Greedy from \"Once upon a time\": \"").nth(1).unwrap().split('"').next().unwrap();
    let model = Arc::new(load(&folder));
    let prompt = model.text().encode_prompt("Once upon a time").unwrap();
    let outcome = alone(&model, &SequenceRequest::new(&model, &prompt, Sampling { max_new_tokens: 60, ..GREEDY }));
    assert!(outcome.text.starts_with(expected), "{:?}", outcome.text);
}
