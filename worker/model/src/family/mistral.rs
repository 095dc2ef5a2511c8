//! Mistral: no biases, a sliding window in some versions.

use super::llama_like::{self, Variant};
use crate::{config::Config, decoder::Decoder, error::Result, parts::builder::Builder};

pub(super) fn assemble(config: &Config, builder: &mut Builder<'_>) -> Result<Decoder> {
    llama_like::no_window(config)?;
    let variant = Variant { qkv_bias: false, output_bias: false, mlp_bias: false, qk_norm: false };
    llama_like::assemble(config, builder, variant)
}
