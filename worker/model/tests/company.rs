//! A sequence's tokens depend on its request alone: not on what shares its batch, on the pieces in which its prompt runs, on what
//! another ran before, or on how much room there is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, helpers included")]

mod common;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use common::{guide, load, root, tiny::Random};
use lode_domain::{
    generation::{FinishReason, Finished, Logprobs},
    intervention::{Action, ForcedUnit, Intervention, Positions},
    observation::{Observation, ObservedUnit},
    sampling::Sampling,
    unit::UnitId,
};
use lode_model::{Conditions, Engine, EngineOptions, Model, ModelError, Reuse, SequenceId, SequenceRequest, Watch};

/// What one sequence gave.
#[derive(Clone, Debug, Default, PartialEq)]
struct Outcome {
    tokens: Vec<u32>,
    text: String,
    logprobs: Vec<Option<Logprobs>>,
    observed: Vec<Vec<f32>>,
    finished: Option<Finished>,
}

/// That many sequences at the same time.
fn many(sequences: u32) -> NonZeroU32 {
    NonZeroU32::new(sequences).unwrap()
}

fn demo() -> Arc<Model> {
    Arc::new(load(&root("client/demo/assets/model")))
}

const SENTENCES: [&str; 4] = [
    "Yesterday the children saw the bank vault and the bank manager.",
    "The striker waited in the penalty area while the goalkeeper asked about the penalty. A few minutes later the defender \
     passed the football, and the young couple talked about it before the match.",
    "In the evening",
    "The next day the cashier showed the visitors the bank on the bank of the river.",
];

fn random_request(model: &Model, random: &mut Random, samples: u32) -> SequenceRequest {
    let units = model.unit_space().len();
    let mut prompt = model.text().encode_prompt(SENTENCES[random.below(SENTENCES.len())]).unwrap();
    // Beginnings of a few texts: many prompts are alike up to some point.
    prompt.truncate(1 + random.below(prompt.len()));
    let positions = |random: &mut Random| {
        let window = Positions::Window { from: random.below(8) as u32, to: 9 + random.below(40) as u32 };
        [Positions::All, Positions::Generated, Positions::Last, window][random.below(4)]
    };
    let interventions = (0..random.below(3)).map(|_| {
        let count = 1 + random.below(40);
        let forced = |_| ForcedUnit { unit: UnitId(random.below(units) as u32), value: random.number() };
        let forced = (0..count).map(forced).collect();
        let action = [Action::Set, Action::Scale, Action::Add][random.below(3)];
        Intervention::with(action, positions(random), forced)
    });
    let interventions: Vec<_> = interventions.collect();
    let observations = (0..random.below(2)).map(|_| {
        let count = 1 + random.below(9);
        let observed = |_| ObservedUnit { unit: UnitId(random.below(units) as u32), off: random.number(), span: 0.5 };
        Observation { units: (0..count).map(observed).collect() }
    });
    let observations: Vec<_> = observations.collect();
    let sampling = Sampling {
        temperature: [0.0, 0.7, 1.5][random.below(3)],
        top_p: [0.9, 1.0][random.below(2)],
        top_k: [0, 20][random.below(2)] as u32,
        repetition_penalty: [1.0, 1.3][random.below(2)],
        presence_penalty: [0.0, 0.7][random.below(2)],
        frequency_penalty: [0.0, -0.4, 1.1][random.below(3)],
        logit_bias: (0..random.below(3)).map(|_| (random.below(60) as u32, random.number())).collect(),
        seed: random.below(3) as u64,
        max_new_tokens: 1 + random.below(20) as u32,
        stop: [vec![], vec![" the".to_owned(), ".".to_owned()]][random.below(2)].clone(),
        logprobs: [None, Some(2)][random.below(2)],
    };
    let first = random.below(3) as u32;
    SequenceRequest {
        prompt: prompt.into(),
        conditions: Arc::new(Conditions::of(model.unit_space(), &interventions).unwrap()),
        watch: Arc::new(Watch::new(model.unit_space(), &observations).unwrap()),
        guide: [None, Some(guide(2.0, 30))][random.below(2)].clone(),
        sampling,
        samples: first..first + samples,
    }
}

/// Runs requests; number `i` joins before step `joins[i]`. Gives the outcomes of all sequences in the order of requests and samples.
fn run(engine: &mut Engine, requests: &[SequenceRequest], joins: &[usize]) -> Vec<Outcome> {
    let mut outcomes: BTreeMap<SequenceId, Outcome> = BTreeMap::new();
    let mut ids = vec![Vec::new(); requests.len()];
    let mut step = 0;
    while ids.iter().any(Vec::is_empty) || engine.active() > 0 {
        for (number, request) in requests.iter().enumerate().filter(|(number, _)| joins[*number] == step) {
            ids[number] = engine.join(request.clone()).unwrap();
            outcomes.extend(ids[number].iter().map(|id| (*id, Outcome::default())));
        }
        for event in engine.step().unwrap() {
            let outcome = outcomes.get_mut(&event.sequence).unwrap();
            assert_eq!(outcome.finished, None, "nothing comes after the end");
            outcome.tokens.extend(event.token);
            outcome.text.push_str(&event.text);
            outcome.logprobs.push(event.logprobs);
            outcome.observed.push(event.observed);
            outcome.finished = event.finished;
        }
        let load = engine.load();
        assert!(load.positions <= load.room, "{load:?}");
        step += 1;
    }
    assert_eq!(engine.load().positions, 0, "whoever has left holds nothing");
    ids.concat().iter().map(|id| outcomes.remove(id).unwrap()).collect()
}

#[test]
fn company_pieces_and_reuse_change_nothing() {
    let model = demo();
    let mut random = Random::new(7);
    let requests: Vec<_> = (0..200).map(|_| random_request(&model, &mut random, 1)).collect();
    let engine = |options| Engine::new(Arc::clone(&model), options);
    let plain = EngineOptions { reuse: Reuse::Off, ..EngineOptions::default() };
    let expected: Vec<Outcome> =
        requests.iter().flat_map(|request| run(&mut engine(plain), std::slice::from_ref(request), &[0])).collect();
    let finished = |reason| expected.iter().filter(|outcome| outcome.finished.unwrap().reason == reason).count();
    assert!(finished(FinishReason::Stop) > 10 && finished(FinishReason::Length) > 10);
    assert!(expected.iter().filter(|outcome| outcome.finished.unwrap().coverage.writes > 0).count() > 50);

    let together = vec![0; requests.len()];
    let staggered: Vec<usize> = (0..requests.len()).map(|_| random.below(60)).collect();
    let small = 40 * 32 * kv_bytes(&model);
    for (name, options) in [
        ("alone but for reuse", EngineOptions { sequences: NonZeroU32::MIN, ..EngineOptions::default() }),
        ("all at once", EngineOptions::default()),
        ("without reuse", plain),
        ("in small pieces", EngineOptions { prompt_rows: 3, ..EngineOptions::default() }),
        ("in little room", EngineOptions { kv_bytes: small, sequences: many(64), ..EngineOptions::default() }),
    ] {
        let mut engine = engine(options);
        assert!(run(&mut engine, &requests, &together) == expected, "{name}");
        // Again on the same engine, with what was kept from before.
        assert!(run(&mut engine, &requests, &staggered) == expected, "{name}, staggered");
    }
}

/// Bytes of a position's keys and values.
fn kv_bytes(model: &Arc<Model>) -> u64 {
    let options = EngineOptions { kv_bytes: 1 << 30, ..EngineOptions::default() };
    (1 << 30) / Engine::new(Arc::clone(model), options).load().room as u64
}

#[test]
fn samples_share_their_prompt_and_are_what_they_are_alone() {
    let model = demo();
    let mut random = Random::new(3);
    for _ in 0..12 {
        let request = random_request(&model, &mut random, 9);
        let alone = request.samples.clone().flat_map(|sample| {
            let request = SequenceRequest { samples: sample..sample + 1, ..request.clone() };
            run(&mut Engine::new(Arc::clone(&model), EngineOptions::default()), &[request], &[0])
        });
        let alone: Vec<_> = alone.collect();
        for (prompt_rows, sequences) in [(64, many(256)), (2, many(256)), (64, many(2))] {
            let options = EngineOptions { prompt_rows, sequences, ..EngineOptions::default() };
            let mut engine = Engine::new(Arc::clone(&model), options);
            assert!(run(&mut engine, std::slice::from_ref(&request), &[0]) == alone);
        }
    }
}

fn greedy(model: &Model, prompt: usize, new: u32) -> SequenceRequest {
    let sampling = Sampling { temperature: 0.0, max_new_tokens: new, ..Sampling::default() };
    SequenceRequest::new(model, &vec![9; prompt], sampling)
}

#[test]
fn samples_hold_their_prompt_once() {
    let model = demo();
    let mut engine = Engine::new(Arc::clone(&model), EngineOptions::default());
    engine.join(SequenceRequest { samples: 0..8, ..greedy(&model, 70, 4) }).unwrap();
    engine.step().unwrap();
    // Two full pages for all, and one for each: of positions 64 to 72.
    assert_eq!((engine.load().running, engine.load().positions), (8, (2 + 8) * 32));
    // Another request that begins alike: its first full pages are there.
    engine.join(greedy(&model, 80, 4)).unwrap();
    engine.step().unwrap();
    assert_eq!(engine.load().positions, (2 + 8 + 1) * 32);
}

#[test]
fn a_long_prompt_does_not_keep_others_waiting() {
    let model = demo();
    let mut engine = Engine::new(Arc::clone(&model), EngineOptions { prompt_rows: 16, ..EngineOptions::default() });
    let talking = engine.join(greedy(&model, 3, 60)).unwrap()[0];
    engine.step().unwrap();
    let long = engine.join(greedy(&model, 120, 2)).unwrap()[0];
    for step in 1.. {
        let events = engine.step().unwrap();
        assert!(events.iter().any(|event| event.sequence == talking), "a token every step");
        if events.iter().any(|event| event.sequence == long) {
            return assert_eq!(step, 120usize.div_ceil(16));
        }
    }
}

#[test]
fn requests_take_turns_and_wait_for_room() {
    let model = demo();
    let mut engine = Engine::new(Arc::clone(&model), EngineOptions { sequences: many(4), ..EngineOptions::default() });
    let samples = engine.join(SequenceRequest { samples: 0..40, ..greedy(&model, 5, 6) }).unwrap();
    let one = engine.join(greedy(&model, 6, 6)).unwrap()[0];
    let (mut left, mut steps) = (0, 0);
    loop {
        let events = engine.step().unwrap();
        assert!(engine.load().running <= 4);
        left += events.iter().filter(|event| event.finished.is_some() && samples.contains(&event.sequence)).count();
        steps += 1;
        if events.iter().any(|event| event.sequence == one && event.finished.is_some()) {
            break;
        }
    }
    assert!(left <= 8, "{left} of 40 samples were before it, in {steps} steps");
    // Those that wait may leave, too.
    samples.iter().for_each(|id| engine.leave(*id));
    assert_eq!((engine.active(), engine.load().positions), (0, 0));
}

#[test]
fn what_can_never_fit_is_refused() {
    let model = demo();
    let options = EngineOptions { kv_bytes: 2 * 32 * kv_bytes(&model), ..EngineOptions::default() };
    let mut engine = Engine::new(Arc::clone(&model), options);
    assert_eq!(engine.load().room, 64);
    // The last token does not run.
    engine.join(greedy(&model, 60, 5)).unwrap();
    let refused = engine.join(greedy(&model, 60, 6)).unwrap_err();
    assert!(matches!(refused, ModelError::NoRoom { positions: 65, room: 64 }), "{refused}");
    assert!(refused.to_string().contains("--kv-budget"));
    while engine.active() > 0 {
        engine.step().unwrap();
    }
}

/// Who asks for all that there may be has what there can be: the context's end, or the budget's.
#[test]
fn texts_without_an_end_of_their_own_end_where_the_room_does() {
    let model = demo();
    let options = EngineOptions { kv_bytes: 2 * 32 * kv_bytes(&model), ..EngineOptions::default() };
    let mut engine = Engine::new(Arc::clone(&model), options);
    let endless = |prompt| {
        let endless = Sampling { logit_bias: [(17, 100.0)].into(), ..greedy(&model, 1, u32::MAX).sampling };
        SequenceRequest { sampling: endless, ..greedy(&model, prompt, u32::MAX) }
    };
    let outcome = run(&mut engine, &[endless(60)], &[0]).remove(0);
    assert_eq!((outcome.tokens.len(), outcome.finished.unwrap().reason), (5, FinishReason::Length));
    assert!(matches!(engine.join(endless(65)).unwrap_err(), ModelError::NoRoom { positions: 65, room: 64 }));
    let mut engine = Engine::new(Arc::clone(&model), EngineOptions::default());
    let outcome = run(&mut engine, &[endless(60)], &[0]).remove(0);
    assert_eq!(60 + outcome.tokens.len(), model.context_len());
}

/// Callers go at any moment: in line, amid a prompt, amid a text. Who stays has what they have alone.
#[test]
fn whoever_leaves_changes_nothing_for_those_who_stay() {
    let model = demo();
    let mut random = Random::new(11);
    let requests: Vec<_> = (0..60).map(|_| random_request(&model, &mut random, 2)).collect();
    let plain = EngineOptions { reuse: Reuse::Off, ..EngineOptions::default() };
    let expected: Vec<Vec<u32>> = requests
        .iter()
        .flat_map(|request| run(&mut Engine::new(Arc::clone(&model), plain), std::slice::from_ref(request), &[0]))
        .map(|outcome| outcome.tokens)
        .collect();
    let small = EngineOptions { kv_bytes: 40 * 32 * kv_bytes(&model), prompt_rows: 5, ..EngineOptions::default() };
    let mut engine = Engine::new(Arc::clone(&model), small);
    let ids: Vec<SequenceId> = requests.iter().flat_map(|request| engine.join(request.clone()).unwrap()).collect();
    let mut tokens: BTreeMap<SequenceId, Vec<u32>> = ids.iter().map(|id| (*id, Vec::new())).collect();
    let mut gone = Vec::new();
    for step in 0.. {
        if engine.active() == 0 {
            break;
        }
        if step % 2 == 0 {
            let id = ids[random.below(ids.len())];
            engine.leave(id);
            gone.push(id);
        }
        for event in engine.step().unwrap() {
            assert!(!gone.contains(&event.sequence), "it has left");
            tokens.get_mut(&event.sequence).unwrap().extend(event.token);
        }
    }
    assert_eq!(engine.load().positions, 0);
    let stayed: Vec<usize> = (0..ids.len()).filter(|place| !gone.contains(&ids[*place])).collect();
    assert!(stayed.len() > 20 && gone.len() > 10, "{} of {}", stayed.len(), ids.len());
    stayed.iter().for_each(|&place| assert_eq!(tokens[&ids[place]], expected[place], "{place}"));
}

/// Whoever runs the prompt for others may leave amid it: one of them goes on.
#[test]
fn samples_go_on_without_the_one_that_ran_their_prompt() {
    let model = demo();
    let request = SequenceRequest { samples: 0..3, ..greedy(&model, 100, 5) };
    let expected =
        run(&mut Engine::new(Arc::clone(&model), EngineOptions::default()), std::slice::from_ref(&request), &[0]);
    for steps in 0..6 {
        let mut engine = Engine::new(Arc::clone(&model), EngineOptions { prompt_rows: 20, ..EngineOptions::default() });
        // Somebody generates, so the prompt runs in pieces.
        let talking = engine.join(greedy(&model, 1, 50)).unwrap()[0];
        engine.step().unwrap();
        let ids = engine.join(request.clone()).unwrap();
        (0..steps).for_each(|_| drop(engine.step().unwrap()));
        engine.leave(ids[0]);
        let mut found: BTreeMap<SequenceId, Vec<u32>> = BTreeMap::new();
        let mut coverage = BTreeMap::new();
        while engine.active() > 1 {
            for event in engine.step().unwrap() {
                found.entry(event.sequence).or_default().extend(event.token);
                coverage.extend(event.finished.map(|finished| (event.sequence, finished)));
            }
        }
        engine.leave(talking);
        assert_eq!(engine.load().positions, 0);
        for (id, expected) in ids[1..].iter().zip(&expected[1..]) {
            let found = &found[id];
            assert_eq!(found[..], expected.tokens[expected.tokens.len() - found.len()..], "left after {steps} steps");
            assert_eq!(Some(coverage[id]), expected.finished);
        }
    }
}
