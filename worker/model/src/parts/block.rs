//! A transformer block: attention and MLP, each behind a norm, around a residual stream.

use candle_core::{Result, Tensor};

use super::{attention::Attention, mlp::Mlp, norm::Norm};
use crate::{
    hook::Hook,
    kernels::{buffers::recycle, rows::each_row_with},
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
        let normed = self.attention_norm.forward(&x)?;
        let attended = self.attention.forward(&normed, rows, keys, hook)?;
        recycle(normed)?;
        match self.residual {
            Residual::Sequential => {
                let x = add(x, attended)?;
                let fed = self.feed(&x, hook)?;
                add(x, fed)
            }
            Residual::Parallel => {
                let fed = self.feed(&x, hook)?;
                add(x, add(fed, attended)?)
            }
        }
    }

    fn feed(&self, x: &Tensor, hook: &mut dyn Hook) -> Result<Tensor> {
        let normed = self.mlp_norm.forward(x)?;
        let fed = self.mlp.forward(&normed, hook)?;
        recycle(normed)?;
        Ok(fed)
    }
}

/// Adds `more` to `x`, both `[row, width]` and nobody else's.
fn add(x: Tensor, more: Tensor) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return x + more;
    }
    each_row_with(
        &x,
        &more,
        #[inline(always)]
        |x, more| x.iter_mut().zip(more).for_each(|(x, more)| *x += more),
    )?;
    recycle(more)?;
    Ok(x)
}
