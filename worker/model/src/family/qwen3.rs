//! Qwen3: queries and keys normalised head by head, heads wider than `width / heads`.

use super::llama_like::{self, Variant};
use crate::{config::Config, decoder::Decoder, error::Result, parts::builder::Builder};

pub(super) fn assemble(config: &Config, builder: &mut Builder<'_>) -> Result<Decoder> {
    llama_like::no_window_unless_unused(config)?;
    let bias = config.flag_or("attention_bias", false)?;
    let variant = Variant { qkv_bias: bias, output_bias: bias, mlp_bias: false, qk_norm: true };
    llama_like::assemble(config, builder, variant)
}
