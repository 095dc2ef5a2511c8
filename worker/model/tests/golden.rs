//! Golden cases: what PyTorch computed for small models of every family, in float64 (`golden/README.md`).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, helpers included")]

mod common;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use common::{cases, load, prepare_all, root};
use lode_domain::{
    intervention::{ForcedUnit, Intervention, Positions},
    pooling::{Pooling, Tokens},
    sampling::Sampling,
    unit::UnitName,
};
use lode_model::{Conditions, Engine, EngineOptions, LoadOptions, Model, SequenceRequest, pack};
use serde_json::Value;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The files of a case whose names end in `suffix`, with their stems: `intent__alarm`.
fn files(case: &Path, suffix: &str) -> Vec<(String, std::path::PathBuf)> {
    let paths = fs::read_dir(case.join("expected")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        paths.filter_map(|path| Some((path.file_name()?.to_str()?.strip_suffix(suffix)?.to_owned(), path))).collect();
    files.sort();
    files
}

/// Hook points in Hugging Face's module order, with their widths.
#[test]
fn layers_are_those_of_transformers() {
    for case in cases() {
        let model = load(&case.join("model"));
        let meta = json(&case.join("expected/meta.json"));
        let expected: Vec<(String, u64)> = meta["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| (layer["layer"].as_str().unwrap().to_owned(), layer["units"].as_u64().unwrap()))
            .collect();
        let found: Vec<(String, u64)> =
            model.unit_space().layers().iter().map(|layer| (layer.name.to_string(), layer.units.into())).collect();
        assert_eq!(found, expected, "{}", case.display());
    }
}

/// f32 against f64, values of order one: PyTorch's own f32 is off by 1e-5 at most, 5e-5 is a good bound.
#[test]
fn responses_are_those_of_pytorch() {
    let mut compared = 0;
    for case in cases() {
        let model = load(&case.join("model"));
        for (concept, path) in files(&case, ".responses.safetensors") {
            let bytes = fs::read(path).unwrap();
            let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let expected: Vec<f32> = stored
                .tensor("responses")
                .unwrap()
                .data()
                .chunks_exact(4)
                .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                .collect();
            let found = responses(&model, &sentences(&case, &concept));
            assert_eq!(found.len(), expected.len(), "{}", case.display());
            let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f32::max);
            println!("{}/{concept}: responses differ by {worst:e} at most", case.display());
            assert!(worst <= 5e-5, "{}/{concept}: {worst:e}", case.display());
            compared += 1;
        }
    }
    assert!(compared > 0, "no golden responses were found");
}

/// The concept's sentences, positives first.
fn sentences(case: &Path, concept: &str) -> Vec<String> {
    let (group, name) = concept.split_once("__").unwrap();
    let concept = json(&case.join("concepts").join(group).join(format!("{name}.json")));
    ["positive", "negative"]
        .iter()
        .flat_map(|class| concept["sentences"][class].as_array().unwrap())
        .map(|sentence| sentence.as_str().unwrap().to_owned())
        .collect()
}

/// Responses to all sentences that are not dropped, `[sentence, unit]`.
fn responses(model: &Model, sentences: &[String]) -> Vec<f32> {
    let prepared = prepare_all(model, sentences, Tokens::Own);
    let units = model.unit_space().len();
    let mut all = vec![0.0; prepared.len() * units];
    for batch in pack(&prepared, &model.batch_shape()) {
        let members: Vec<_> = batch.iter().map(|&sentence| &prepared[sentence]).collect();
        let responses = model.responses(&members, Pooling::Max).unwrap();
        for (place, &sentence) in batch.iter().enumerate() {
            all[sentence * units..(sentence + 1) * units].copy_from_slice(responses.row(place));
        }
    }
    all
}

/// The interventions that a golden generation lists.
fn forced(model: &Model, generation: &Value) -> Vec<Intervention> {
    let units = generation["forced"].as_array().unwrap().iter().map(|forced| {
        let name: UnitName = format!("{}[{}]", forced[0].as_str().unwrap(), forced[1]).parse().unwrap();
        ForcedUnit { unit: model.unit_space().find(&name).unwrap(), value: forced[2].as_f64().unwrap() as f32 }
    });
    vec![Intervention::new(Positions::All, units.collect())]
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// PyTorch's own f32 is off by 6e-6 at most; 5e-5 still tells a wrong epsilon or GELU from rounding.
#[test]
fn forced_logits_are_those_of_pytorch() {
    let mut compared = 0;
    for case in cases() {
        let model = load(&case.join("model"));
        for (concept, path) in files(&case, ".do.json") {
            let mut worst = 0.0f64;
            for generation in json(&path).as_array().unwrap() {
                let prompt = ids(&generation["prompt_ids"]);
                let encoded = model.text().encode_prompt(generation["prompt"].as_str().unwrap()).unwrap();
                assert_eq!(encoded, prompt);
                let logits = model.next_logits(&prompt, &forced(&model, generation)).unwrap();
                for top in generation["top_logits"].as_array().unwrap() {
                    let found: f64 = logits[top[0].as_u64().unwrap() as usize].into();
                    worst = worst.max((found - top[1].as_f64().unwrap()).abs());
                }
                compared += 1;
            }
            println!("{}/{concept}: logits differ by {worst:e} at most", case.display());
            assert!(worst <= 5e-5, "{}/{concept}: {worst:e}", case.display());
        }
    }
    assert!(compared > 0, "no golden logits were found");
}

/// The margin between the best two logits is above 1e-3 on the way (`greedy_margin`), far above f32's error.
#[test]
fn greedy_ids_are_those_of_pytorch() {
    let mut compared = 0;
    for case in cases() {
        let model = Arc::new(load(&case.join("model")));
        for (concept, path) in files(&case, ".do.json") {
            let generations = json(&path);
            let mut engine = Engine::new(Arc::clone(&model), EngineOptions::default());
            let mut expected = BTreeMap::new();
            for generation in generations.as_array().unwrap() {
                let greedy = ids(&generation["greedy_ids"]);
                let sampling =
                    Sampling { temperature: 0.0, max_new_tokens: greedy.len() as u32, ..Sampling::default() };
                let conditions = Conditions::of(model.unit_space(), &forced(&model, generation)).unwrap();
                let request = SequenceRequest::new(&model, &ids(&generation["prompt_ids"]), sampling);
                let id = engine.join(SequenceRequest { conditions: Arc::new(conditions), ..request }).unwrap()[0];
                expected.insert(id, greedy);
                compared += 1;
            }
            for (id, greedy) in expected.iter_mut() {
                // PyTorch's run does not stop at the end of a text, the engine does.
                let end = greedy.iter().position(|&token| model.text().is_end(token));
                greedy.truncate(end.map_or(greedy.len(), |end| end + 1));
                assert!(!greedy.is_empty(), "{id:?}");
            }
            let mut found: BTreeMap<_, Vec<u32>> = BTreeMap::new();
            while engine.active() > 0 {
                for event in engine.step().unwrap() {
                    found.entry(event.sequence).or_default().extend(event.token);
                }
            }
            assert_eq!(found, expected, "{}/{concept}", case.display());
        }
    }
    assert!(compared > 0, "no golden generations were found");
}

/// The oldest checkpoints leave `transformer.` out and hold the causal masks.
#[test]
fn bare_gpt2_names_are_the_same_model() {
    let bare = load(&root("tests/golden/variants/gpt2_bare_names/model"));
    let named = load(&root("tests/golden/cases/gpt2/model"));
    assert_eq!(bare.unit_space(), named.unit_space());
    let texts = ["bread and butter".to_owned(), "the harbour in fog".to_owned()];
    assert_eq!(responses(&bare, &texts), responses(&named, &texts));
    assert_ne!(bare.hash(), named.hash(), "other content, other identity");
}

/// What must be refused, and what the message must name.
#[test]
fn bad_models_are_refused_by_name() {
    for (name, parts) in [
        ("nan_weight", &["transformer.h.1.mlp.c_fc.weight", "not finite"][..]),
        ("truncated", &["model.safetensors", "bytes"]),
        ("missing_tensor", &["transformer.h.1.attn.c_proj.weight", "missing"]),
        ("unsupported_family", &["`bert`", "gpt2, gpt_neox, llama, mistral, qwen2, qwen3"]),
        ("unsupported_rope", &["yarn", "rope_type"]),
        ("wrong_tokenizer", &["wrong tokenizer", "319", "299"]),
    ] {
        let folder = root("tests/golden/bad").join(name);
        let Err(error) = Model::load(&folder, &LoadOptions::default()) else { panic!("{name} was loaded") };
        let message = error.to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{name}: {message}");
        println!("{message}");
    }
}

/// The reference's way of pooling counts the pads; 1e-4 of values of order one, as for the other responses.
#[test]
fn compat_responses_are_those_of_the_reference() {
    let case = root("tests/golden/cases/gpt2");
    let model = load(&case.join("model"));
    let concept = "topic__baking";
    let document = json(&case.join("concepts/topic/baking.json"));
    let positives: Vec<String> = document["sentences"]["positive"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sentence| sentence.as_str().unwrap().to_owned())
        .collect();
    let prepared = prepare_all(&model, &positives, Tokens::Selfcond);
    let units = model.unit_space().len();
    let mut columns = vec![Vec::new(); units];
    for batch in pack(&prepared, &model.batch_shape()) {
        let members: Vec<_> = batch.iter().map(|&sentence| &prepared[sentence]).collect();
        let responses = model.responses(&members, Pooling::Max).unwrap();
        for sentence in 0..responses.sentences() {
            columns.iter_mut().zip(responses.row(sentence)).for_each(|(column, &value)| column.push(value));
        }
    }
    let csv = fs::read_to_string(case.join(format!("expected/{concept}.compat.csv"))).unwrap();
    let mut lines = csv.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let place = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let mut compared = 0;
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let layer = fields[place("layer")].trim_end_matches(":0");
        let name: UnitName = format!("{layer}[{}]", fields[place("unit")]).parse().unwrap();
        let mut column = columns[model.unit_space().find(&name).unwrap().index()].clone();
        column.sort_by(f32::total_cmp);
        let middle = (column.len() - 1) as f32 / 2.0;
        let median = (column[middle.floor() as usize] + column[middle.ceil() as usize]) / 2.0;
        let expected: f32 = fields[place("on_p50")].parse().unwrap();
        assert!((median - expected).abs() < 1e-4, "{name}: {median} {expected}");
        compared += 1;
    }
    assert_eq!(compared, units);
}
