//! Qwen2 and Qwen2.5: biases on queries, keys and values.

use super::llama_like::{self, Variant};
use crate::{config::Config, decoder::Decoder, error::Result, parts::builder::Builder};

pub(super) fn assemble(config: &Config, builder: &mut Builder<'_>) -> Result<Decoder> {
    llama_like::no_window_unless_unused(config)?;
    let variant = Variant { qkv_bias: true, output_bias: false, mlp_bias: false, qk_norm: false };
    llama_like::assemble(config, builder, variant)
}
