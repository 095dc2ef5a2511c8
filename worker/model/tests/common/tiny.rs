//! Small random models, written as Hugging Face folders.

use std::{collections::HashMap, fs, path::Path};

use candle_core::{Device, Tensor};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Tokens of a tiny model: `w0` to `w199`, of which `w0` ends a text.
pub const VOCAB: usize = 200;

/// A random number generator that needs no crate: xorshift64*.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound as u64) as usize
    }

    /// A number between -1 and 1.
    pub fn number(&mut self) -> f32 {
        self.below(2_000_001) as f32 / 1e6 - 1.0
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// A text of `len` tokens.
    pub fn text(&mut self, len: usize) -> String {
        (0..len).map(|_| format!("w{}", 1 + self.below(VOCAB - 1))).collect::<Vec<_>>().join(" ")
    }
}

/// A GPT-2 of width 96, as `config.json` says it.
pub fn gpt2() -> Value {
    json!({
        "model_type": "gpt2", "n_embd": 96, "n_head": 4, "n_layer": 2, "n_positions": 640, "vocab_size": VOCAB,
        "eos_token_id": 0, "activation_function": "gelu_new"
    })
}

/// A Llama with grouped heads and stretched rotary positions, as `config.json` says it.
pub fn llama() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2,
        "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": VOCAB, "max_position_embeddings": 640,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "eos_token_id": 0, "hidden_act": "silu",
        "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 64
        }
    })
}

/// Writes a folder with `config`, random weights and a word tokenizer.
pub fn folder(config: &Value, seed: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_config(folder.path(), config);
    let tensors = tensors(config, seed);
    candle_core::safetensors::save(&tensors, folder.path().join("model.safetensors")).unwrap();
    let vocab: serde_json::Map<String, Value> = (0..VOCAB).map(|id| (format!("w{id}"), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "w1"}
    });
    fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    folder
}

pub fn write_config(folder: &Path, config: &Value) {
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

/// Random weights of the right names and shapes; none of them trivial.
pub fn tensors(config: &Value, seed: u64) -> HashMap<String, Tensor> {
    let size = |key: &str| config[key].as_u64().unwrap() as usize;
    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: String, shape: &[usize]| shapes.push((name, shape.to_vec()));
    if config["model_type"] == "gpt2" {
        let width = size("n_embd");
        add("transformer.wte.weight".into(), &[VOCAB, width]);
        add("transformer.wpe.weight".into(), &[size("n_positions"), width]);
        let mut biased = |name: String, shape: &[usize]| {
            add(format!("{name}.weight"), shape);
            add(format!("{name}.bias"), &shape[shape.len() - 1..]);
        };
        for block in 0..size("n_layer") {
            let name = |part: &str| format!("transformer.h.{block}.{part}");
            biased(name("ln_1"), &[width]);
            biased(name("ln_2"), &[width]);
            biased(name("attn.c_attn"), &[width, 3 * width]);
            biased(name("attn.c_proj"), &[width, width]);
            biased(name("mlp.c_fc"), &[width, 4 * width]);
            biased(name("mlp.c_proj"), &[4 * width, width]);
        }
        biased("transformer.ln_f".into(), &[width]);
    } else {
        let (width, inner) = (size("hidden_size"), size("intermediate_size"));
        let keys = width / size("num_attention_heads") * size("num_key_value_heads");
        add("model.embed_tokens.weight".into(), &[VOCAB, width]);
        for block in 0..size("num_hidden_layers") {
            let mut add = |part: &str, shape: &[usize]| add(format!("model.layers.{block}.{part}.weight"), shape);
            add("input_layernorm", &[width]);
            add("post_attention_layernorm", &[width]);
            add("self_attn.q_proj", &[width, width]);
            add("self_attn.k_proj", &[keys, width]);
            add("self_attn.v_proj", &[keys, width]);
            add("self_attn.o_proj", &[width, width]);
            add("mlp.gate_proj", &[inner, width]);
            add("mlp.up_proj", &[inner, width]);
            add("mlp.down_proj", &[width, inner]);
        }
        add("model.norm.weight".into(), &[width]);
        add("lm_head.weight".into(), &[VOCAB, width]);
    }
    let mut random = Random::new(seed);
    shapes
        .into_iter()
        .map(|(name, shape)| {
            // Norms around one; products that neither vanish nor explode.
            let norm = name.ends_with("weight") && shape.len() == 1;
            let values: Vec<f32> =
                (0..shape.iter().product()).map(|_| random.number() * 0.3 + if norm { 1.0 } else { 0.0 }).collect();
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        })
        .collect()
}
