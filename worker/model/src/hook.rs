//! Hooks: what may look at, or change, the output of every linear in every block, and look at the residual stream between blocks.

use candle_core::{Result, Tensor};

/// Called with the output of each linear of each block, before any non-linearity.
pub(crate) trait Hook {
    /// Sees `output` `[row, unit]`, f32, of layer number `layer` (its place in the unit space) and gives back what
    /// the model goes on with. It may be changed in place, and will be by what follows: copy what is to be kept, for its memory is used again.
    fn after(&mut self, layer: usize, output: Tensor) -> Result<Tensor>;

    /// Sees the residual stream `x` `[row, width]` after block number `block`; copy what is to be kept.
    fn stream(&mut self, _block: usize, _x: &Tensor) -> Result<()> {
        Ok(())
    }
}

/// The hook that changes nothing.
pub(crate) struct Identity;

impl Hook for Identity {
    fn after(&mut self, _layer: usize, output: Tensor) -> Result<Tensor> {
        Ok(output)
    }
}
