//! GPT-2: learned positions, LayerNorm, fused projection, `Conv1D` weights stored `[in, out]`.

use super::even_head;
use crate::{
    config::Config,
    decoder::Decoder,
    error::Result,
    kernels::attention::Heads,
    parts::{
        activation::Activation,
        attention::{Attention, Projection},
        block::{Block, Residual},
        builder::{Builder, LinearShape, Stored},
        mlp::Mlp,
    },
};

pub(super) fn assemble(config: &Config, builder: &mut Builder<'_>) -> Result<Decoder> {
    config.require("scale_attn_weights", true)?;
    config.require("scale_attn_by_inverse_layer_idx", false)?;
    config.require("reorder_and_upcast_attn", false)?;
    config.require("add_cross_attention", false)?;
    let width = config.size("n_embd")?;
    let inner = config.size_or("n_inner", 4 * width)?;
    let heads = config.size("n_head")?;
    let heads = Heads { query: heads, key: heads, dim: even_head(config, "n_head", width, heads)? };
    let eps = config.number_or("layer_norm_epsilon", 1e-5)?;
    let activation = Activation::read(config, "activation_function", Activation::GeluTanh)?;

    // The first checkpoints were saved from the bare model, without the prefix.
    builder.allow_omitted("transformer.", "wte.weight");
    let tokens = builder.embedding("transformer.wte", config.size("vocab_size")?, width)?;
    let positions = builder.embedding("transformer.wpe", config.context_len()?, width)?;
    let mut blocks = Vec::new();
    for block in 0..config.size("n_layer")? {
        let name = |part: &str| format!("transformer.h.{block}.{part}");
        let mut linear = |part: &str, input, output| {
            builder.linear(&name(part), LinearShape { input, output, bias: true }, Stored::InOut)
        };
        let attention = Attention {
            block,
            heads,
            projection: Projection::Fused(linear("attn.c_attn", width, 3 * width)?),
            qk_norm: None,
            rope: None,
            output: linear("attn.c_proj", width, width)?,
        };
        let up = linear("mlp.c_fc", width, inner)?;
        let down = linear("mlp.c_proj", inner, width)?;
        blocks.push(Block {
            attention_norm: builder.layer_norm(&name("ln_1"), width, eps)?,
            attention,
            mlp_norm: builder.layer_norm(&name("ln_2"), width, eps)?,
            mlp: Mlp { gate: None, up, activation, down },
            residual: Residual::Sequential,
        });
    }
    let norm = builder.layer_norm("transformer.ln_f", width, eps)?;
    let tied = config.flag_or("tie_word_embeddings", true)?;
    let head = builder.head((!tied).then_some("lm_head"), &tokens)?;
    Ok(Decoder { tokens, positions: Some(positions), blocks, norm, head })
}
