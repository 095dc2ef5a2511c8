//! A matrix of weights in the order in which the product reads it.

use candle_core::{CpuStorage, Result, Storage, Tensor, bail};
use rayon::prelude::*;

/// Outputs that stand side by side: 64 bytes, a line of the cache.
pub(super) const LINE: usize = 16;

/// The weights from one input to the outputs of a panel.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Line(pub [f32; LINE]);

/// W and b, `[in, out]` and `[out]`, in panels of `LINE` outputs, `[panel][in][LINE]`; outputs that there are not are zero.
pub struct Packed {
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
        let (storage, layout) = weight.storage_and_layout();
        let Storage::Cpu(CpuStorage::F32(values)) = &*storage else {
            bail!("expected an f32 matrix on the CPU, found {:?} on {:?}", weight.dtype(), weight.device());
        };
        let (down, right) = (layout.stride()[0], layout.stride()[1]);
        let mut lines = vec![Line([0.0; LINE]); output.div_ceil(LINE) * input];
        lines.par_chunks_exact_mut(input).enumerate().for_each(|(panel, lines)| {
            let first = layout.start_offset() + panel * LINE * right;
            let width = (output - panel * LINE).min(LINE);
            for (number, line) in lines.iter_mut().enumerate() {
                let weights = values[first + number * down..].iter().step_by(right);
                line.0[..width].iter_mut().zip(weights).for_each(|(place, weight)| *place = *weight);
            }
        });
        drop(storage);
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
