//! A decoder: embeddings, blocks, final norm and head. One forward pass serves mining and generation.

use candle_core::{Result, Tensor};

use crate::{
    hook::{Hook, Identity},
    parts::{block::Block, embedding::Embedding, linear::Linear, norm::Norm},
    rows::{Keys, Rows},
};

/// A causal language model.
pub(crate) struct Decoder {
    /// Vectors of tokens.
    pub tokens: Embedding,
    /// Vectors of positions, where they are learned.
    pub positions: Option<Embedding>,
    /// In forward order.
    pub blocks: Vec<Block>,
    /// Before the head.
    pub norm: Norm,
    /// Width to vocabulary.
    pub head: Linear,
}

impl Decoder {
    /// The residual stream after the last block, `[row, width]`; every linear's output goes through `hook`.
    pub fn forward(&self, rows: &Rows, keys: &mut dyn Keys, hook: &mut dyn Hook) -> Result<Tensor> {
        let mut x = self.tokens.forward(&rows.tokens)?;
        if let Some(positions) = &self.positions {
            x = (x + positions.forward(&rows.positions)?)?;
        }
        for (number, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, rows, keys, hook)?;
            hook.stream(number, &x)?;
        }
        Ok(x)
    }

    /// Logits `[chosen, token]` for the rows `chosen` of the residual stream `x` `[row, width]`.
    pub fn logits(&self, x: &Tensor, chosen: &[u32]) -> Result<Tensor> {
        let x = x.index_select(&Tensor::new(chosen, x.device())?, 0)?;
        self.head.forward(&self.norm.forward(&x)?, &mut Identity)
    }
}
