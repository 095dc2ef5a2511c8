//! Llama: biases where `attention_bias` and `mlp_bias` say so.

use super::llama_like::{self, Variant};
use crate::{config::Config, decoder::Decoder, error::Result, parts::builder::Builder};

pub(super) fn assemble(config: &Config, builder: &mut Builder<'_>) -> Result<Decoder> {
    let attention_bias = config.flag_or("attention_bias", false)?;
    let mlp_bias = config.flag_or("mlp_bias", false)?;
    let variant = Variant { qkv_bias: attention_bias, output_bias: attention_bias, mlp_bias, qk_norm: false };
    llama_like::assemble(config, builder, variant)
}
