//! Row-wise operations on contiguous f32 matrices `[row, column]` on the CPU, rows spread over threads.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, InplaceOp1, InplaceOp2, Layout, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

use super::{buffers, math::vectorised};

/// Rows are handed to threads in blocks of about this many numbers.
const BLOCK: usize = 16_384;

/// Changes every row in place: `work(row number, row)`. Closures for this and the next two are to be `#[inline(always)]`:
/// see [`vectorised`].
pub fn each_row(x: &Tensor, work: impl Fn(usize, &mut [f32]) + Sync) -> Result<()> {
    x.inplace_op1(&EachRow { width: width(x)?, work })
}

/// Changes every row in place, seeing the row of `other` of the same number: `work(row, other row)`.
pub fn each_row_with(x: &Tensor, other: &Tensor, work: impl Fn(&mut [f32], &[f32]) + Sync) -> Result<()> {
    x.inplace_op2(other, &EachRowWith { width: width(x)?, other_width: width(other)?, work })
}

/// Makes a new matrix of the same shape: `work(row, new row)`.
pub fn map_rows(x: &Tensor, work: impl Fn(&[f32], &mut [f32]) + Sync) -> Result<Tensor> {
    x.apply_op1_no_bwd(&MapRows { width: width(x)?, work })
}

struct EachRow<F> {
    width: usize,
    work: F,
}

struct EachRowWith<F> {
    width: usize,
    other_width: usize,
    work: F,
}

struct MapRows<F> {
    width: usize,
    work: F,
}

impl<F: Fn(usize, &mut [f32]) + Sync> InplaceOp1 for EachRow<F> {
    fn name(&self) -> &'static str {
        "each-row"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let rows = block_rows(self.width);
        let values = values_mut(storage, layout)?;
        values.par_chunks_mut(rows * self.width).enumerate().for_each(|(block, values)| {
            vectorised(
                #[inline(always)]
                || {
                    for (i, row) in values.chunks_exact_mut(self.width).enumerate() {
                        (self.work)(block * rows + i, row);
                    }
                },
            );
        });
        Ok(())
    }
}

impl<F: Fn(&mut [f32], &[f32]) + Sync> InplaceOp2 for EachRowWith<F> {
    fn name(&self) -> &'static str {
        "each-row-with"
    }

    fn cpu_fwd(
        &self,
        storage: &mut CpuStorage,
        layout: &Layout,
        other: &CpuStorage,
        other_layout: &Layout,
    ) -> Result<()> {
        let rows = block_rows(self.width.max(self.other_width));
        let other = values(other, other_layout)?;
        let blocks = values_mut(storage, layout)?.par_chunks_mut(rows * self.width);
        blocks.zip(other.par_chunks(rows * self.other_width)).for_each(|(values, other)| {
            vectorised(
                #[inline(always)]
                || {
                    let others = other.chunks_exact(self.other_width);
                    for (row, other) in values.chunks_exact_mut(self.width).zip(others) {
                        (self.work)(row, other);
                    }
                },
            );
        });
        Ok(())
    }
}

impl<F: Fn(&[f32], &mut [f32]) + Sync> CustomOp1 for MapRows<F> {
    fn name(&self) -> &'static str {
        "map-rows"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let from = values(storage, layout)?;
        let block = block_rows(self.width) * self.width;
        let mut made = buffers::take(from.len());
        made.par_chunks_mut(block).zip(from.par_chunks(block)).for_each(|(made, from)| {
            vectorised(
                #[inline(always)]
                || {
                    for (from, made) in from.chunks_exact(self.width).zip(made.chunks_exact_mut(self.width)) {
                        (self.work)(from, made);
                    }
                },
            );
        });
        Ok((CpuStorage::F32(made), layout.shape().clone()))
    }
}

/// A matrix whose rows may lie apart: columns of a wider one.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    stride: usize,
    width: usize,
}

impl<'a> Matrix<'a> {
    /// Of an f32 tensor `[row, column]` whose columns lie side by side.
    pub fn new(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        match (storage, layout.dims(), layout.stride()) {
            (CpuStorage::F32(values), &[_, width], &[stride, 1]) => {
                Ok(Self { values: &values[layout.start_offset()..], stride, width })
            }
            _ => bail!("expected an f32 matrix of whole rows, found {:?} with {layout:?}", storage_type(storage)),
        }
    }

    /// Row number `row`.
    #[inline(always)]
    pub fn row(self, row: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..self.width]
    }

    /// The columns `columns` of the rows `rows`, row by row.
    #[inline(always)]
    pub fn part(self, rows: Range<usize>, columns: Range<usize>) -> impl Iterator<Item = &'a [f32]> {
        let first = if rows.is_empty() { self.values.len() } else { rows.start * self.stride + columns.start };
        let rows = self.values[first..].chunks(self.stride).take(rows.len());
        rows.map(
            #[inline(always)]
            move |row| &row[..columns.len()],
        )
    }
}

/// Has `work` look at the values of a contiguous f32 tensor, on whatever device.
pub fn with_values<R>(x: &Tensor, work: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let (storage, layout) = x.storage_and_layout();
    if let Storage::Cpu(storage) = &*storage {
        return Ok(work(values(storage, layout)?));
    }
    drop(storage);
    Ok(work(&x.flatten_all()?.to_vec1()?))
}

/// The values of a contiguous f32 tensor.
pub fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((from, to))) => Ok(&values[from..to]),
        _ => bail!("expected a contiguous f32 tensor, found {:?} with {layout:?}", storage_type(storage)),
    }
}

/// The values of a contiguous f32 tensor, to be changed.
pub fn values_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(values), Some((from, to))) => Ok(&mut values[from..to]),
        (storage, _) => bail!("expected a contiguous f32 tensor, found {:?} with {layout:?}", storage_type(storage)),
    }
}

fn storage_type(storage: &CpuStorage) -> candle_core::DType {
    use candle_core::backend::BackendStorage;
    storage.dtype()
}

fn width(x: &Tensor) -> Result<usize> {
    Ok(x.dims2()?.1)
}

fn block_rows(width: usize) -> usize {
    BLOCK.div_ceil(width)
}
