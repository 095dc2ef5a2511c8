//! What Llama, Mistral and the Qwens share: rotary positions, RMSNorm, gated MLP, grouped heads.

use std::sync::Arc;

use serde_json::Value;

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

/// Where the relatives differ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variant {
    /// Biases on queries, keys and values.
    pub qkv_bias: bool,
    /// A bias on the attention's output map.
    pub output_bias: bool,
    /// Biases in the MLP.
    pub mlp_bias: bool,
    /// Queries and keys are normalised head by head.
    pub qk_norm: bool,
}

pub(super) fn assemble(config: &Config, builder: &mut Builder<'_>, variant: Variant) -> Result<Decoder> {
    let width = config.size("hidden_size")?;
    let inner = config.size("intermediate_size")?;
    let heads = heads(config, width)?;
    let eps = config.number_or("rms_norm_eps", 1e-6)?;
    let activation = Activation::read(config, "hidden_act", Activation::Silu)?;
    let rope = Arc::new(RopeSpec::read(config, 1.0)?.tables(heads.dim, config.context_len()?));

    let tokens = builder.embedding("model.embed_tokens", config.size("vocab_size")?, width)?;
    let mut blocks = Vec::new();
    for block in 0..config.size("num_hidden_layers")? {
        let name = |part: &str| format!("model.layers.{block}.{part}");
        let mut linear = |part: &str, input, output, bias| {
            builder.linear(&name(part), LinearShape { input, output, bias }, Stored::OutIn)
        };
        let (query_width, key_width) = (heads.query * heads.dim, heads.key * heads.dim);
        let projection = Projection::Separate([
            linear("self_attn.q_proj", width, query_width, variant.qkv_bias)?,
            linear("self_attn.k_proj", width, key_width, variant.qkv_bias)?,
            linear("self_attn.v_proj", width, key_width, variant.qkv_bias)?,
        ]);
        let output = linear("self_attn.o_proj", query_width, width, variant.output_bias)?;
        let mlp = Mlp {
            gate: Some(linear("mlp.gate_proj", width, inner, variant.mlp_bias)?),
            up: linear("mlp.up_proj", width, inner, variant.mlp_bias)?,
            activation,
            down: linear("mlp.down_proj", inner, width, variant.mlp_bias)?,
        };
        let mut norm = |part: &str, width| builder.rms_norm(&name(part), width, eps);
        let qk_norm = if variant.qk_norm {
            Some([norm("self_attn.q_norm", heads.dim)?, norm("self_attn.k_norm", heads.dim)?])
        } else {
            None
        };
        blocks.push(Block {
            attention_norm: norm("input_layernorm", width)?,
            attention: Attention { block, heads, projection, qk_norm, rope: Some(Arc::clone(&rope)), output },
            mlp_norm: norm("post_attention_layernorm", width)?,
            mlp,
            residual: Residual::Sequential,
        });
    }
    let norm = builder.rms_norm("model.norm", width, eps)?;
    let tied = config.flag_or("tie_word_embeddings", false)?;
    let head = builder.head((!tied).then_some("lm_head"), &tokens)?;
    Ok(Decoder { tokens, positions: None, blocks, norm, head })
}

fn heads(config: &Config, width: usize) -> Result<Heads> {
    let query = config.size("num_attention_heads")?;
    let key = config.size_or("num_key_value_heads", query)?;
    if !query.is_multiple_of(key) {
        return Err(config.refuse("num_key_value_heads", format!("a divisor of num_attention_heads = {query} is")));
    }
    let dim = match config.get("head_dim") {
        Some(_) => config.size("head_dim")?,
        None => even_head(config, "num_attention_heads", width, query)?,
    };
    Ok(Heads { query, key, dim })
}

/// Refuses a sliding window that would cut texts of the model's context.
pub(super) fn no_window(config: &Config) -> Result<()> {
    let context = config.context_len()?;
    if config.size_or("sliding_window", context)? < context {
        let reason = format!("only full attention over the context of {context} is implemented");
        return Err(config.refuse("sliding_window", reason));
    }
    Ok(())
}

/// The Qwens' way to ask for a window: a switch, and a type per layer.
pub(super) fn no_window_unless_unused(config: &Config) -> Result<()> {
    if config.flag_or("use_sliding_window", false)? {
        no_window(config)?;
    }
    let full = |kind: &Value| matches!(kind.as_str(), Some("full_attention" | "sliding_attention"));
    match config.get("layer_types") {
        Some(Value::Array(kinds)) if !kinds.iter().all(full) => {
            Err(config.refuse("layer_types", "only full_attention is implemented"))
        }
        Some(Value::Array(kinds)) if kinds.iter().any(|kind| kind == "sliding_attention") => no_window(config),
        _ => Ok(()),
    }
}
