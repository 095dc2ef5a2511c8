//! The feed-forward half of a block.

use candle_core::{Result, Tensor};

use super::{activation::Activation, linear::Linear};
use crate::{hook::Hook, kernels::buffers::recycle};

/// Up, non-linearity, down; with a gate or without.
pub(crate) struct Mlp {
    /// Multiplies what goes up by the activation of this, if there; else the activation acts on `up` itself.
    pub gate: Option<Linear>,
    /// Width to inner width.
    pub up: Linear,
    /// The non-linearity.
    pub activation: Activation,
    /// Inner width to width.
    pub down: Linear,
}

impl Mlp {
    /// `x` `[row, width]` to `[row, width]`.
    pub fn forward(&self, x: &Tensor, hook: &mut dyn Hook) -> Result<Tensor> {
        let inner = match &self.gate {
            Some(gate) => {
                let (gate, up) = (gate.forward(x, hook)?, self.up.forward(x, hook)?);
                let inner = self.activation.forward_gated(gate, &up)?;
                recycle(up)?;
                inner
            }
            None => self.activation.forward(self.up.forward(x, hook)?)?,
        };
        let output = self.down.forward(&inner, hook)?;
        recycle(inner)?;
        Ok(output)
    }
}
