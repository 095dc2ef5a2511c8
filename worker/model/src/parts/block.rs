//! A transformer block: attention and MLP, each behind a norm, around a residual stream.

use candle_core::{Result, Tensor};

use super::{attention::Attention, mlp::Mlp, norm::Norm};
use crate::{
    hook::Hook,
    rows::{Keys, Rows},
};

/// One block.
pub(crate) struct Block {
    /// Before the attention.
    pub attention_norm: Norm,
    /// Reads other rows.
    pub attention: Attention,
    /// Before the MLP.
    pub mlp_norm: Norm,
    /// Works row by row.
    pub mlp: Mlp,
    /// What the MLP sees.
    pub residual: Residual,
}

/// The order in which attention and MLP join the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Residual {
    /// The MLP sees the stream with the attention's output added.
    Sequential,
    /// Both see the stream as it came in.
    Parallel,
}

impl Block {
    /// `x` `[row, width]` to `[row, width]`.
    pub fn forward(&self, x: Tensor, rows: &Rows, keys: &mut dyn Keys, hook: &mut dyn Hook) -> Result<Tensor> {
        let attended = self.attention.forward(&self.attention_norm.forward(&x)?, rows, keys, hook)?;
        match self.residual {
            Residual::Sequential => {
                let x = (x + attended)?;
                let fed = self.mlp.forward(&self.mlp_norm.forward(&x)?, hook)?;
                x + fed
            }
            Residual::Parallel => {
                let fed = self.mlp.forward(&self.mlp_norm.forward(&x)?, hook)?;
                x + (fed + attended)?
            }
        }
    }
}
