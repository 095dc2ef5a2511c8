//! Families: each file maps one kind of `config.json` and its tensor names onto the parts.
//!
//! A new family is a file here and a line in [`FAMILIES`].

mod gpt2;
mod gpt_neox;
mod llama;
mod llama_like;
mod mistral;
mod qwen2;
mod qwen3;

use lode_domain::unit::Layer;

use crate::{config::Config, decoder::Decoder, error::Result, parts::builder::Builder, weights::Weights};

type Assemble = fn(&Config, &mut Builder<'_>) -> Result<Decoder>;

/// `model_type` and how to assemble it.
const FAMILIES: [(&str, Assemble); 6] = [
    ("gpt2", gpt2::assemble),
    ("gpt_neox", gpt_neox::assemble),
    ("llama", llama::assemble),
    ("mistral", mistral::assemble),
    ("qwen2", qwen2::assemble),
    ("qwen3", qwen3::assemble),
];

/// A known architecture.
#[derive(Clone, Copy)]
pub(crate) struct Family {
    /// `model_type` in `config.json`.
    pub name: &'static str,
    assemble: Assemble,
}

impl Family {
    /// The family that `config` names.
    pub fn of(config: &Config) -> Result<Self> {
        let asked = config.text("model_type")?.unwrap_or("absent");
        let Some(&(name, assemble)) = FAMILIES.iter().find(|(name, _)| *name == asked) else {
            return Err(config.unknown_family(asked, &FAMILIES.map(|(name, _)| name)));
        };
        if config.get("quantization_config").is_some() {
            return Err(config.refuse("quantization_config", "weights must be plain floats"));
        }
        Ok(Self { name, assemble })
    }

    /// The decoder, and its hook points in forward order.
    pub fn assemble(self, config: &Config, weights: &mut Weights) -> Result<(Decoder, Vec<Layer>)> {
        let mut builder = Builder::new(weights);
        let decoder = (self.assemble)(config, &mut builder)?;
        Ok((decoder, builder.into_layers()))
    }
}

/// The width of a head: `width / heads`, which must come out even.
fn even_head(config: &Config, key: &str, width: usize, heads: usize) -> Result<usize> {
    if width.is_multiple_of(heads) {
        return Ok(width / heads);
    }
    Err(config.refuse(key, format!("a divisor of the width {width} is")))
}
