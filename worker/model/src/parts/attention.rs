//! The attention half of a block: projections, positions, the kernel, and the output map.

use std::sync::Arc;

use candle_core::{D, Result, Tensor};

use super::{linear::Linear, norm::Norm, rope::Rope};
use crate::{
    hook::Hook,
    kernels::{attention::Heads, buffers::recycle},
    rows::{Keys, Rows},
};

/// Self-attention of one block.
pub(crate) struct Attention {
    /// The block's number, by which a cache knows its keys.
    pub block: usize,
    /// How many heads, how wide.
    pub heads: Heads,
    /// Where queries, keys and values come from.
    pub projection: Projection,
    /// Normalises queries and keys head by head before they turn.
    pub qk_norm: Option<[Norm; 2]>,
    /// Turns queries and keys by position; `None` where positions are learned.
    pub rope: Option<Arc<Rope>>,
    /// Heads to width.
    pub output: Linear,
}

/// The linears that make queries, keys and values.
pub(crate) enum Projection {
    /// One linear each.
    Separate([Linear; 3]),
    /// One linear for all: queries of all heads, then keys, then values (GPT-2).
    Fused(Linear),
    /// One linear for all: head by head its query, key and value (GPT-NeoX).
    Interleaved(Linear),
}

impl Attention {
    /// `x` `[row, width]` to `[row, width]`.
    pub fn forward(&self, x: &Tensor, rows: &Rows, keys: &mut dyn Keys, hook: &mut dyn Hook) -> Result<Tensor> {
        let dim = self.heads.dim;
        let [mut q, mut k, v] = self.project(x, hook)?;
        if let Some([q_norm, k_norm]) = &self.qk_norm {
            q = q_norm.forward_heads(&q, dim)?;
            k = k_norm.forward_heads(&k, dim)?;
        }
        if let Some(rope) = &self.rope {
            q = rope.forward(q, dim, &rows.positions)?;
            k = rope.forward(k, dim, &rows.positions)?;
        }
        let attended = keys.attend(self.block, [&q, &k, &v], self.heads, rows)?;
        recycle(q)?;
        let output = self.output.forward(&attended, hook)?;
        recycle(attended)?;
        Ok(output)
    }

    /// Queries, keys and values, each `[row, head * dim]`: contiguous where something is to be done to them, else columns of
    /// one matrix.
    fn project(&self, x: &Tensor, hook: &mut dyn Hook) -> Result<[Tensor; 3]> {
        match &self.projection {
            Projection::Separate([q, k, v]) => Ok([q.forward(x, hook)?, k.forward(x, hook)?, v.forward(x, hook)?]),
            Projection::Fused(all) => {
                let all = all.forward(x, hook)?;
                let width = all.dim(1)? / 3;
                let untouched = self.rope.is_none() && self.qk_norm.is_none() && all.device().is_cpu();
                let part = |number| {
                    let part = all.narrow(D::Minus1, number * width, width)?;
                    if untouched { Ok(part) } else { part.contiguous() }
                };
                Ok([part(0)?, part(1)?, part(2)?])
            }
            Projection::Interleaved(all) => {
                let Heads { query, dim, .. } = self.heads;
                let all = all.forward(x, hook)?;
                let rows = all.dim(0)?;
                let all = all.reshape((rows, query, 3, dim))?;
                let part = |number| all.narrow(2, number, 1)?.contiguous()?.reshape((rows, query * dim));
                Ok([part(0)?, part(1)?, part(2)?])
            }
        }
    }
}
