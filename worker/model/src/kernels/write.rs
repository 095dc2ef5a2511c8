//! Single numbers of a matrix: written, scaled and read in place.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor};

use super::rows::{values, values_mut};

/// What is written into one row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowWrites<'a> {
    /// The row.
    pub row: usize,
    /// Columns and what they are set to.
    pub set: &'a [(u32, f32)],
    /// Columns and what they are multiplied by.
    pub scale: &'a [(u32, f32)],
    /// Columns and what is added to them.
    pub add: &'a [(u32, f32)],
}

impl RowWrites<'_> {
    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.scale.is_empty() && self.add.is_empty()
    }
}

/// Writes into `x` `[row, column]`, contiguous f32, in place. Cost grows with the numbers written alone.
pub(crate) fn write(x: &Tensor, rows: &[RowWrites<'_>]) -> Result<()> {
    let width = x.dims2()?.1;
    if x.device().is_cpu() { x.inplace_op1(&Write { width, rows }) } else { composed(x, width, rows) }
}

/// The numbers of `x` `[row, column]`, contiguous f32, at `places` (row, column).
pub(crate) fn read(x: &Tensor, places: &[(usize, u32)]) -> Result<Vec<f32>> {
    let width = x.dims2()?.1;
    let (storage, layout) = x.storage_and_layout();
    if let Storage::Cpu(storage) = &*storage {
        let x = values(storage, layout)?;
        return Ok(places.iter().map(|&(row, column)| x[row * width + column as usize]).collect());
    }
    drop(storage);
    let places: Vec<u32> = places.iter().map(|&(row, column)| (row * width) as u32 + column).collect();
    x.flatten_all()?.index_select(&Tensor::new(places, x.device())?, 0)?.to_vec1()
}

struct Write<'a> {
    width: usize,
    rows: &'a [RowWrites<'a>],
}

impl InplaceOp1 for Write<'_> {
    fn name(&self) -> &'static str {
        "write"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let x = values_mut(storage, layout)?;
        for writes in self.rows {
            let row = &mut x[writes.row * self.width..][..self.width];
            writes.set.iter().for_each(|&(column, value)| row[column as usize] = value);
            writes.scale.iter().for_each(|&(column, factor)| row[column as usize] *= factor);
            writes.add.iter().for_each(|&(column, amount)| row[column as usize] += amount);
        }
        Ok(())
    }
}

/// The same from the tensor library's operations, for other devices.
fn composed(x: &Tensor, width: usize, rows: &[RowWrites<'_>]) -> Result<()> {
    // The flat view shares the storage.
    let flat = x.flatten_all()?;
    let listed = |part: fn(&RowWrites<'_>) -> Vec<(u32, f32)>| -> Result<Option<(Tensor, Tensor)>> {
        let all = rows.iter().flat_map(|writes| {
            let start = (writes.row * width) as u32;
            part(writes).into_iter().map(move |(column, value)| (start + column, value))
        });
        let (places, values): (Vec<u32>, Vec<f32>) = all.unzip();
        if places.is_empty() {
            return Ok(None);
        }
        Ok(Some((Tensor::new(places, x.device())?, Tensor::new(values, x.device())?)))
    };
    if let Some((places, values)) = listed(|writes| writes.set.to_vec())? {
        flat.scatter_set(&places, &values, 0)?;
    }
    if let Some((places, factors)) = listed(|writes| writes.scale.to_vec())? {
        let scaled = (flat.index_select(&places, 0)? * factors)?;
        flat.scatter_set(&places, &scaled, 0)?;
    }
    if let Some((places, amounts)) = listed(|writes| writes.add.to_vec())? {
        let moved = (flat.index_select(&places, 0)? + amounts)?;
        flat.scatter_set(&places, &moved, 0)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn kernel_and_composed_operations_agree() {
        let x = Tensor::randn(0f32, 1.0, (5, 7), &Device::Cpu).unwrap();
        let rows = [
            RowWrites { row: 1, set: &[(0, 3.0), (6, -1.0)], scale: &[(2, 0.5)], add: &[(5, 0.25)] },
            RowWrites { row: 4, set: &[], scale: &[(3, -2.0), (4, 0.0)], add: &[(0, -1.0)] },
        ];
        let (kernel, library) = (x.copy().unwrap(), x.copy().unwrap());
        write(&kernel, &rows).unwrap();
        composed(&library, 7, &rows).unwrap();
        let before = x.to_vec2::<f32>().unwrap();
        let after = kernel.to_vec2::<f32>().unwrap();
        assert_eq!(after, library.to_vec2::<f32>().unwrap());
        assert_eq!([after[1][0], after[1][6], after[1][2]], [3.0, -1.0, before[1][2] * 0.5]);
        assert_eq!([after[1][5], after[4][0]], [before[1][5] + 0.25, before[4][0] - 1.0]);
        assert_eq!((&after[0], &after[2], after[4][3]), (&before[0], &before[2], before[4][3] * -2.0));
        assert_eq!(read(&kernel, &[(1, 6), (0, 3)]).unwrap(), [-1.0, before[0][3]]);
    }
}
