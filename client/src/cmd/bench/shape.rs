//! Models of well-known shapes with random weights: as fast and as large as the real ones, and as clever as dice.

use std::{borrow::Cow, fs, path::Path};

use anyhow::Context as _;
use clap::ValueEnum;
use rand::{RngCore as _, SeedableRng as _, rngs::StdRng};
use safetensors::{Dtype, View};
use serde_json::{Map, Value, json};

use super::sentences::word;

/// Which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    /// 2 blocks of 64.
    Tiny,
    /// 12 blocks of 768.
    Gpt2,
    /// 24 blocks of 1,024.
    Gpt2Medium,
    /// 36 blocks of 1,280.
    Gpt2Large,
    /// 48 blocks of 1,600.
    Gpt2Xl,
}

struct Size {
    blocks: usize,
    width: usize,
    heads: usize,
    vocabulary: u32,
}

/// Standard deviation of the weights, as GPT-2 is initialised.
const DEVIATION: f32 = 0.02;
const CONTEXT: usize = 1024;

impl Shape {
    fn size(self) -> Size {
        let (blocks, width, heads, vocabulary) = match self {
            Self::Tiny => (2, 64, 2, 1_000),
            Self::Gpt2 => (12, 768, 12, 50_257),
            Self::Gpt2Medium => (24, 1_024, 16, 50_257),
            Self::Gpt2Large => (36, 1_280, 20, 50_257),
            Self::Gpt2Xl => (48, 1_600, 25, 50_257),
        };
        Size { blocks, width, heads, vocabulary }
    }

    /// How many words its tokenizer knows, one token each.
    pub(super) fn vocabulary(self) -> u32 {
        self.size().vocabulary
    }

    /// Writes a folder in Hugging Face layout; the weights are bf16, two bytes each, and made one tensor at a time.
    pub(super) fn write(self, folder: &Path) -> anyhow::Result<()> {
        let size = self.size();
        let write = |name: &str, value: &Value| {
            let path = folder.join(name);
            fs::write(&path, value.to_string()).with_context(|| format!("cannot write {}", path.display()))
        };
        write("config.json", &config(&size))?;
        write("tokenizer.json", &tokenizer(size.vocabulary))?;
        let path = folder.join("model.safetensors");
        safetensors::serialize_to_file(tensors(&size), None, &path)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

fn config(size: &Size) -> Value {
    json!({
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "activation_function": "gelu_new",
        "n_layer": size.blocks, "n_embd": size.width, "n_head": size.heads, "n_positions": CONTEXT,
        "vocab_size": size.vocabulary, "eos_token_id": 0, "bos_token_id": 0,
    })
}

/// One token a word, and white space between them.
fn tokenizer(vocabulary: u32) -> Value {
    let vocab: Map<String, Value> = (0..vocabulary).map(|number| (word(number), number.into())).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": word(0)},
    })
}

/// A tensor that is made when it is written.
struct Made {
    shape: Vec<usize>,
    /// Around which value the weights lie.
    mean: f32,
    seed: u64,
}

fn tensors(size: &Size) -> Vec<(String, Made)> {
    let width = size.width;
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: &[usize], mean| {
        let seed = tensors.len() as u64;
        tensors.push((format!("transformer.{name}"), Made { shape: shape.to_vec(), mean, seed }));
    };
    add("wte.weight".into(), &[size.vocabulary as usize, width], 0.0);
    add("wpe.weight".into(), &[CONTEXT, width], 0.0);
    let norm = |name: String, add: &mut dyn FnMut(String, &[usize], f32)| {
        add(format!("{name}.weight"), &[width], 1.0);
        add(format!("{name}.bias"), &[width], 0.0);
    };
    for block in 0..size.blocks {
        norm(format!("h.{block}.ln_1"), &mut add);
        norm(format!("h.{block}.ln_2"), &mut add);
        for (linear, input, output) in [
            ("attn.c_attn", width, 3 * width),
            ("attn.c_proj", width, width),
            ("mlp.c_fc", width, 4 * width),
            ("mlp.c_proj", 4 * width, width),
        ] {
            add(format!("h.{block}.{linear}.weight"), &[input, output], 0.0);
            add(format!("h.{block}.{linear}.bias"), &[output], 0.0);
        }
    }
    norm("ln_f".to_owned(), &mut add);
    tensors
}

impl View for Made {
    fn dtype(&self) -> Dtype {
        Dtype::BF16
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut chance = StdRng::seed_from_u64(self.seed);
        let weight = |bits: u64| {
            // Four even numbers of 16 bits add up to something close to a normal one, with variance 1/3.
            let sum: i32 = (0..4).map(|place| i32::from((bits >> (16 * place)) as u16)).sum::<i32>() - 2 * 65_535;
            let normal = sum as f32 / 65_535.0 * 3f32.sqrt();
            let value = self.mean + DEVIATION * normal;
            ((value.to_bits() >> 16) as u16).to_le_bytes()
        };
        (0..self.shape.iter().product::<usize>()).flat_map(|_| weight(chance.next_u64())).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        2 * self.shape.iter().product::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_spread_as_gpt2_is_initialised() {
        let made = Made { shape: vec![100, 100], mean: 1.0, seed: 3 };
        let bytes = made.data();
        assert_eq!(bytes.len(), made.data_len());
        let (pairs, _) = bytes.as_chunks::<2>();
        let weights: Vec<f64> =
            pairs.iter().map(|pair| f32::from_bits(u32::from(u16::from_le_bytes(*pair)) << 16).into()).collect();
        let mean = weights.iter().sum::<f64>() / weights.len() as f64;
        let deviation = (weights.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / weights.len() as f64).sqrt();
        // bf16 near 1 has steps of 1/128 to 1/256, and cutting goes down by half a step.
        assert!((mean - 1.0).abs() < 0.005 && (deviation - 0.02).abs() < 0.002, "{mean} {deviation}");
    }

    #[test]
    fn shapes_have_as_many_units_as_their_namesakes() {
        for (shape, units) in [(Shape::Gpt2, 82_944), (Shape::Gpt2Large, 414_720), (Shape::Gpt2Xl, 691_200)] {
            let tensors = tensors(&shape.size());
            let linears = tensors.iter().filter(|(name, _)| name.contains(".c_") && name.ends_with("bias"));
            assert_eq!(linears.map(|(_, tensor)| tensor.shape[0]).sum::<usize>(), units);
        }
    }
}
