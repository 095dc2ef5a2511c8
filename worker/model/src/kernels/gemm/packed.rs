//! A matrix of weights in the order in which the product reads it.

use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

/// Outputs that stand side by side: 64 bytes, a line of the cache.
pub(super) const LINE: usize = 16;

/// The weights from one input to the outputs of a panel.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Line(pub [f32; LINE]);

/// W and b, `[in, out]` and `[out]`, in panels of [`LINE`] outputs, `[panel][in][LINE]`; outputs that there are not are zero.
pub(crate) struct Packed {
    input: usize,
    output: usize,
    lines: Vec<Line>,
    /// `[panel]`.
    bias: Vec<Line>,
}

impl Packed {
    /// Of `weight` `[in, out]`, f32 on the CPU, in any layout, and `bias` `[out]`.
    pub fn new(weight: &Tensor, bias: Option<&[f32]>) -> Result<Self> {
        let (input, output) = weight.dims2()?;
        let mut lines = vec![Line([0.0; LINE]); output.div_ceil(LINE) * input];
        // A few panels at a time: of a transposed weight no whole copy is made.
        const PANELS: usize = 64;
        for (number, lines) in lines.chunks_mut(PANELS * input).enumerate() {
            let first = number * PANELS * LINE;
            let width = (output - first).min(PANELS * LINE);
            // `[out, in]`: each output's weights side by side.
            let part = weight.narrow(1, first, width)?.t()?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            lines.par_chunks_exact_mut(input).zip(part.par_chunks(LINE * input)).for_each(|(lines, part)| {
                for (output, weights) in part.chunks_exact(input).enumerate() {
                    lines.iter_mut().zip(weights).for_each(|(line, weight)| line.0[output] = *weight);
                }
            });
        }
        let mut sums = vec![Line([0.0; LINE]); output.div_ceil(LINE)];
        for (line, part) in sums.iter_mut().zip(bias.unwrap_or_default().chunks(LINE)) {
            line.0[..part.len()].copy_from_slice(part);
        }
        Ok(Self { input, output, lines, bias: sums })
    }

    pub fn input(&self) -> usize {
        self.input
    }

    pub fn output(&self) -> usize {
        self.output
    }

    /// Panel number `panel`, `[in]`.
    pub(super) fn panel(&self, panel: usize) -> &[Line] {
        &self.lines[panel * self.input..(panel + 1) * self.input]
    }

    /// The bias of panel number `panel`.
    pub(super) fn bias(&self, panel: usize) -> &Line {
        &self.bias[panel]
    }
}
