//! The hook of generation: it forces what is to be forced, then looks at what is observed.

use candle_core::{Result, Tensor};

use crate::{force::Force, hook::Hook, watch::Watching};

/// What happens to the rows of a batch at every linear.
#[derive(Default)]
pub(crate) struct Steer {
    /// What is forced.
    pub force: Force,
    /// What is observed, as the model goes on with it.
    pub watching: Watching,
}

impl Hook for Steer {
    fn after(&mut self, layer: usize, output: Tensor) -> Result<Tensor> {
        self.force.carry_out(layer, &output)?;
        self.watching.look(layer, &output)?;
        Ok(output)
    }
}
