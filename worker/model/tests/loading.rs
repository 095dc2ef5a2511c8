//! Loading: what is accepted, what is refused, and what the refusal says.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, helpers included")]

mod common;

use std::{collections::HashMap, fs, path::Path};

use candle_core::{DType, Tensor};
use common::{load, prepare_all, tiny};
use lode_domain::{
    control::Control,
    pooling::{Pooling, Tokens},
};
use lode_model::{DeviceChoice, Dropped, LoadOptions, Model, Precision, Text};
use serde_json::{Value, json};

const CPU: LoadOptions = LoadOptions { device: DeviceChoice::Cpu, precision: Precision::F32, control: None };

fn refusal(folder: &Path) -> String {
    Model::load(folder, &CPU).err().expect("must be refused").to_string()
}

fn save(folder: &Path, name: &str, tensors: &HashMap<String, Tensor>) {
    candle_core::safetensors::save(tensors, folder.join(name)).unwrap();
}

fn logits(model: &Model) -> Vec<f32> {
    model.next_logits(&[3, 4, 5], &[]).unwrap()
}

#[test]
fn shards_are_the_same_model_with_the_same_hash() {
    let whole = tiny::folder(&tiny::llama(), 5);
    let sharded = tiny::folder(&tiny::llama(), 5);
    fs::remove_file(sharded.path().join("model.safetensors")).unwrap();
    let mut map = serde_json::Map::new();
    let mut shards = [HashMap::new(), HashMap::new()];
    for (i, (name, tensor)) in tiny::tensors(&tiny::llama(), 5).into_iter().enumerate() {
        map.insert(name.clone(), json!(format!("model-{}.safetensors", i % 2)));
        shards[i % 2].insert(name, tensor);
    }
    for (i, shard) in shards.iter().enumerate() {
        save(sharded.path(), &format!("model-{i}.safetensors"), shard);
    }
    let index = json!({"metadata": {}, "weight_map": map}).to_string();
    fs::write(sharded.path().join("model.safetensors.index.json"), index).unwrap();
    let (whole, sharded) = (load(whole.path()), load(sharded.path()));
    assert_eq!(whole.hash(), sharded.hash());
    assert_eq!(logits(&whole), logits(&sharded));
    assert_eq!(whole.parameters(), sharded.parameters());
    assert_ne!(whole.hash(), load(tiny::folder(&tiny::llama(), 6).path()).hash(), "other weights");
}

#[test]
fn a_shard_outside_the_folder_is_refused() {
    let folder = tiny::folder(&tiny::llama(), 5);
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let index = json!({"weight_map": {"model.norm.weight": "../model.safetensors"}}).to_string();
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    assert!(refusal(folder.path()).contains("outside the folder"));
}

#[test]
fn halves_are_loaded_and_computed_with() {
    let folder = tiny::folder(&tiny::gpt2(), 5);
    let exact = logits(&load(folder.path()));
    for (stored, tolerance) in [(DType::F16, 0.02), (DType::BF16, 0.2), (DType::F64, 1e-6)] {
        let tensors = tiny::tensors(&tiny::gpt2(), 5);
        let tensors = tensors.into_iter().map(|(name, tensor)| (name, tensor.to_dtype(stored).unwrap())).collect();
        save(folder.path(), "model.safetensors", &tensors);
        let found = logits(&load(folder.path()));
        let worst = found.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < tolerance, "{stored:?}: {worst}");
    }
    let half = Model::load(folder.path(), &LoadOptions { precision: Precision::F16, ..CPU }).unwrap();
    let worst = logits(&half).iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 0.2, "{worst}");
    let Err(error) = Model::load(folder.path(), &LoadOptions { precision: Precision::Bf16, ..CPU }) else {
        panic!("bf16 has no products on the CPU")
    };
    assert!(error.to_string().contains("use f32 or f16"));
}

#[test]
fn what_is_wrong_with_weights_is_named() {
    let config = tiny::gpt2();
    let name = "transformer.h.1.mlp.c_fc.weight";
    let refused = |change: &dyn Fn(&mut HashMap<String, Tensor>)| {
        let folder = tiny::folder(&config, 5);
        let mut tensors = tiny::tensors(&config, 5);
        change(&mut tensors);
        save(folder.path(), "model.safetensors", &tensors);
        refusal(folder.path())
    };
    let message = refused(&|tensors| drop(tensors.remove(name)));
    assert!(message.contains(name) && message.contains("missing"), "{message}");
    let message = refused(&|tensors| {
        let transposed = tensors[name].t().unwrap().contiguous().unwrap();
        tensors.insert(name.to_owned(), transposed);
    });
    assert!(message.contains(name) && message.contains("[384, 96]") && message.contains("[96, 384]"), "{message}");
    let message = refused(&|tensors| {
        tensors.insert(name.to_owned(), tensors[name].to_dtype(DType::U8).unwrap());
    });
    assert!(message.contains(name) && message.contains("U8"), "{message}");
    let message = refused(&|tensors| {
        let mut values = tensors[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        values[77] = f32::INFINITY;
        tensors.insert(name.to_owned(), Tensor::from_vec(values, (96, 384), &candle_core::Device::Cpu).unwrap());
    });
    assert!(message.contains(name) && message.contains("element 77"), "{message}");
}

#[test]
fn broken_files_are_named() {
    let folder = tiny::folder(&tiny::gpt2(), 5);
    let weights = folder.path().join("model.safetensors");
    let whole = fs::read(&weights).unwrap();
    for bytes in [&whole[..whole.len() - 1], &whole[..100], &whole[..3], &[0xff; 64]] {
        fs::write(&weights, bytes).unwrap();
        let message = refusal(folder.path());
        assert!(message.contains("model.safetensors: not a whole safetensors file"), "{message}");
    }
    for file in ["model.safetensors", "tokenizer.json", "config.json"] {
        let folder = tiny::folder(&tiny::gpt2(), 5);
        fs::remove_file(folder.path().join(file)).unwrap();
        assert!(refusal(folder.path()).contains(file), "{file}");
        fs::write(folder.path().join(file), "{ nonsense").unwrap();
        assert!(refusal(folder.path()).contains(file), "{file}");
    }
}

/// Settings that change the arithmetic are refused by name, and never passed over.
#[test]
fn settings_without_an_implementation_are_refused() {
    let refused = |config: &Value, key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        let folder = tiny::folder(&tiny::gpt2(), 5);
        tiny::write_config(folder.path(), &config);
        let message = refusal(folder.path());
        assert!(message.contains(key), "{key}: {message}");
        message
    };
    let gpt2 = tiny::gpt2();
    refused(&gpt2, "scale_attn_by_inverse_layer_idx", json!(true));
    refused(&gpt2, "reorder_and_upcast_attn", json!(true));
    refused(&gpt2, "add_cross_attention", json!(true));
    refused(&gpt2, "scale_attn_weights", json!(false));
    refused(&gpt2, "quantization_config", json!({"bits": 4}));
    refused(&gpt2, "n_head", json!(5));
    refused(&gpt2, "n_embd", json!("wide"));
    assert!(refused(&gpt2, "activation_function", json!("mish")).contains("\"mish\""));
    let llama = tiny::llama();
    for kind in ["yarn", "dynamic", "longrope", "mrope"] {
        assert!(refused(&llama, "rope_scaling", json!({"type": kind, "factor": 2.0})).contains(kind));
    }
    refused(&llama, "rope_parameters", json!({"full_attention": {"rope_type": "default"}}));
    refused(&llama, "num_key_value_heads", json!(3));
    let mut mistral = llama.clone();
    mistral["model_type"] = json!("mistral");
    assert!(refused(&mistral, "sliding_window", json!(128)).contains("640"));
    let mut qwen = llama;
    qwen["model_type"] = json!("qwen2");
    qwen["use_sliding_window"] = json!(true);
    refused(&qwen, "sliding_window", json!(128));
    refused(&qwen, "layer_types", json!(["full_attention", "linear_attention"]));
}

#[test]
fn the_tokenizer_side_works_without_weights() {
    let folder = tiny::folder(&tiny::gpt2(), 5);
    fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    let text = Text::load(folder.path()).unwrap();
    assert_eq!((text.context_len(), text.vocab_len()), (640, 200));
    assert_eq!(text.encode("w3 w4").unwrap().ids, [3, 4]);
    assert_eq!(text.prepare("w3 w4", Tokens::Own).unwrap().unwrap().len(), 2);
    assert_eq!(text.prepare("  ", Tokens::Own).unwrap(), Err(Dropped::Empty));
    let long = vec!["w3"; 641].join(" ");
    assert_eq!(text.prepare(&long, Tokens::Own).unwrap(), Err(Dropped::TooLong { tokens: 641, limit: 640 }));
    assert_eq!(text.prepare("w3", Tokens::Selfcond).unwrap().unwrap().len(), 128);
    let long = vec!["w3"; 129].join(" ");
    assert_eq!(text.prepare(&long, Tokens::Selfcond).unwrap(), Err(Dropped::TooLong { tokens: 129, limit: 128 }));
}

#[test]
fn special_tokens_run_but_never_count() {
    for case in common::cases() {
        let text = Text::load(&case.join("model")).unwrap();
        let encoded = text.encode("bread").unwrap();
        assert!(encoded.own.contains(&true));
        let empty = text.prepare("", Tokens::Own).unwrap();
        assert_eq!(empty, Err(Dropped::Empty), "{}: BOS alone is no sentence", case.display());
    }
}

#[test]
fn selfcond_needs_room_and_an_end_token() {
    let refused = |key: &str, value: Value| {
        let mut config = tiny::gpt2();
        config[key] = value;
        let folder = tiny::folder(&config, 5);
        let text = Text::load(folder.path()).unwrap();
        let message = text.check(Tokens::Selfcond).unwrap_err().to_string();
        assert_eq!(text.prepare("w3", Tokens::Selfcond).unwrap_err().to_string(), message);
        assert!(text.check(Tokens::Own).is_ok());
        message
    };
    assert!(refused("n_positions", json!(64)).contains("only 64"));
    assert!(refused("eos_token_id", Value::Null).contains("eos_token_id"));
}

/// Pads see the text, the text never sees pads: pooled over the text alone, a padded sentence is the sentence.
#[test]
fn pads_do_not_disturb_the_text() {
    let folder = tiny::folder(&tiny::gpt2(), 5);
    let model = load(folder.path());
    let texts = ["w3 w4 w5 w6".to_owned()];
    let plain = prepare_all(&model, &texts, Tokens::Own);
    let padded = prepare_all(&model, &texts, Tokens::Selfcond);
    let plain = model.responses(&[&plain[0]], Pooling::Max).unwrap();
    let padded = model.responses(&[&padded[0]], Pooling::Max).unwrap();
    assert!(plain.row(0).iter().zip(padded.row(0)).all(|(text, all)| all >= text));
    assert_ne!(plain, padded, "pads count in this mode");
}

#[test]
fn a_prompt_that_spells_its_beginning_out_begins_once() {
    let text = lode_model::Text::load(&common::root("tests/golden/cases/llama/model")).unwrap();
    let plain = text.encode_prompt("once upon").unwrap();
    let start = text.encode("").unwrap().ids;
    assert_eq!((start.len(), plain[0]), (1, start[0]), "this tokenizer adds a token that begins a text");
    let config = std::fs::read_to_string(common::root("tests/golden/cases/llama/model/tokenizer.json")).unwrap();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let added = config["added_tokens"].as_array().unwrap().iter().find(|token| token["id"] == start[0]).unwrap();
    let spelled = text.encode_prompt(&format!("{}once upon", added["content"].as_str().unwrap())).unwrap();
    assert_eq!(spelled, plain);
}

/// A control has the model's shape, an identity of its own, and the same bits whenever it is made.
#[test]
fn a_control_is_drawn_anew_and_never_the_model_itself() {
    for case in ["gpt2", "llama", "gpt_neox", "qwen3"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/cases").join(case).join("model");
        let with = |control| Model::load(&folder, &LoadOptions { control, ..CPU }).unwrap();
        let seeded = |seed| with(Some(Control::RandomInit { seed }));
        let (trained, control, again, other) = (with(None), seeded(0), seeded(0), seeded(1));
        assert_eq!(trained.unit_space().layers(), control.unit_space().layers());
        assert_eq!(trained.parameters(), control.parameters());
        let hashes = [&trained, &control, &other].map(Model::hash);
        assert_eq!(again.hash(), control.hash());
        assert!(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
        let sentence = trained.text().prepare("we bake bread", Tokens::Own).unwrap().unwrap();
        let responses = |model: &Model| model.responses(&[&sentence], Pooling::Max).unwrap();
        assert_eq!(responses(&control), responses(&again), "{case}");
        assert!(responses(&control) != responses(&other) && responses(&control) != responses(&trained), "{case}");
    }
}
