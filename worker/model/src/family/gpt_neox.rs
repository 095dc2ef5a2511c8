//! GPT-NeoX and Pythia: partial rotary positions, LayerNorm, parallel residual, projection interleaved by head.

use std::sync::Arc;

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
        rope::RopeSpec,
    },
};

pub(super) fn assemble(config: &Config, builder: &mut Builder<'_>) -> Result<Decoder> {
    let width = config.size("hidden_size")?;
    let inner = config.size("intermediate_size")?;
    let heads = config.size("num_attention_heads")?;
    let heads = Heads { query: heads, key: heads, dim: even_head(config, "num_attention_heads", width, heads)? };
    let eps = config.number_or("layer_norm_eps", 1e-5)?;
    let activation = Activation::read(config, "hidden_act", Activation::Gelu)?;
    let attention_bias = config.flag_or("attention_bias", true)?;
    let parallel = config.flag_or("use_parallel_residual", true)?;
    let residual = if parallel { Residual::Parallel } else { Residual::Sequential };
    // The family's own default turns a quarter of each head, where neither spelling says otherwise.
    let rope = Arc::new(RopeSpec::read(config, 0.25)?.tables(heads.dim, config.context_len()?));

    let tokens = builder.embedding("gpt_neox.embed_in", config.size("vocab_size")?, width)?;
    let mut blocks = Vec::new();
    for block in 0..config.size("num_hidden_layers")? {
        let name = |part: &str| format!("gpt_neox.layers.{block}.{part}");
        let mut linear = |part: &str, input, output, bias| {
            builder.linear(&name(part), LinearShape { input, output, bias }, Stored::OutIn)
        };
        let attention = Attention {
            block,
            heads,
            projection: Projection::Interleaved(linear("attention.query_key_value", width, 3 * width, attention_bias)?),
            qk_norm: None,
            rope: Some(Arc::clone(&rope)),
            output: linear("attention.dense", width, width, attention_bias)?,
        };
        let up = linear("mlp.dense_h_to_4h", width, inner, true)?;
        let down = linear("mlp.dense_4h_to_h", inner, width, true)?;
        blocks.push(Block {
            attention_norm: builder.layer_norm(&name("input_layernorm"), width, eps)?,
            attention,
            mlp_norm: builder.layer_norm(&name("post_attention_layernorm"), width, eps)?,
            mlp: Mlp { gate: None, up, activation, down },
            residual,
        });
    }
    let norm = builder.layer_norm("gpt_neox.final_layer_norm", width, eps)?;
    let tied = config.flag_or("tie_word_embeddings", false)?;
    // Published files say `embed_out`, those that transformers 5 keeps in memory `lm_head`.
    let name = if builder.has("lm_head.weight") { "lm_head" } else { "embed_out" };
    let head = builder.head((!tied).then_some(name), &tokens)?;
    Ok(Decoder { tokens, positions: None, blocks, norm, head })
}
