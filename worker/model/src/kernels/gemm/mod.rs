//! Matrix products with a fixed matrix: y = x W + b, f32, on the CPU.
//!
//! Every element of y is summed in one order that depends on the input width alone: in blocks of `BLOCK` inputs,
//! within a block one multiply-add after the other, and block sums onto the bias in order. So a row's result is the same
//! bits alone and in any company, wherever it stands, on any number of threads, and at any width of vectors; on machines
//! without a fused multiply-add they are other bits, for there the product is rounded too.
//!
//! The blocking is that of Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008), with W packed once
//! and for all: a panel's block stays in the first-level cache while all rows of a task pass by, these in the second.

mod packed;
mod task;
mod tile;

#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

pub use self::packed::Packed;
use self::{
    packed::LINE,
    task::{Division, Gather, Task},
};
use super::{buffers, math::vectorised_with, rows::values};

/// Inputs whose products are summed before they are added to the rest.
const BLOCK: usize = 256;

/// `x` `[row, in]` times `weight` to a new `[row, out]`.
///
/// # Errors
/// If `x` is no contiguous f32 matrix on the CPU, as wide as the weight expects.
pub fn multiply(x: &Tensor, weight: &Packed) -> Result<Tensor> {
    x.apply_op1_no_bwd(&Multiply { weight })
}

struct Multiply<'a> {
    weight: &'a Packed,
}

impl CustomOp1 for Multiply<'_> {
    fn name(&self) -> &'static str {
        "multiply"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let (input, output) = (self.weight.input(), self.weight.output());
        if width != input {
            bail!("a matrix of {input} x {output} cannot follow one of {rows} x {width}");
        }
        let mut y = buffers::take(rows * output);
        multiply_into(values(storage, layout)?, self.weight, &mut y);
        Ok((CpuStorage::F32(y), Shape::from((rows, output))))
    }
}

/// `x` `[row, in]` times `weight` into `y` `[row, out]`, on all threads of the current pool.
fn multiply_into(x: &[f32], weight: &Packed, y: &mut [f32]) {
    let (input, output) = (weight.input(), weight.output());
    let division = Division::new(y.len() / output, weight, rayon::current_num_threads());
    let mut gathered = buffers::take(x.len());
    let bands = gathered.par_chunks_mut(division.rows * input).zip(x.par_chunks(division.rows * input));
    bands.for_each(|(gathered, x)| vectorised_with(Gather { x, input, gathered }));

    let columns = division.panels * LINE;
    let mut tasks = Vec::new();
    for (x, y) in gathered.chunks(division.rows * input).zip(y.chunks_mut(division.rows * output)) {
        let (first, rows) = (tasks.len(), y.len() / output);
        let panels = (0..output.div_ceil(LINE)).step_by(division.panels);
        tasks.extend(panels.map(|first_panel| Task { x, weight, first_panel, y: Vec::with_capacity(rows) }));
        for row in y.chunks_exact_mut(output) {
            tasks[first..].iter_mut().zip(row.chunks_mut(columns)).for_each(|(task, part)| task.y.push(part));
        }
    }
    tasks.into_par_iter().with_max_len(1).for_each(vectorised_with);
    buffers::give(gathered);
}
