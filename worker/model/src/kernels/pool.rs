//! Pooling: a sentence's activations to one response per unit.

use candle_core::{Result, Storage, Tensor};
use lode_domain::pooling::Pooling;

use super::{math::vectorised, rows::values};

/// Pools `activations` `[position, unit]` over the positions `counted` (ascending, at least one) into `pooled` `[unit]`.
///
/// Means are summed in f64, position by position. A NaN among the activations makes the response NaN.
pub fn pool(pooling: Pooling, activations: &Tensor, counted: &[u32], pooled: &mut [f32]) -> Result<()> {
    let (storage, layout) = activations.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        drop(storage);
        pooled.copy_from_slice(&composed(pooling, activations, counted)?.to_vec1()?);
        return Ok(());
    };
    let activations = values(storage, layout)?;
    let width = pooled.len();
    let mut rows = counted.iter().map(|&position| &activations[position as usize * width..][..width]);
    vectorised(
        #[inline(always)]
        || match pooling {
            Pooling::Max => max(rows, pooled),
            Pooling::Mean => mean(rows, pooled),
            Pooling::Last => rows.next_back().into_iter().for_each(|row| pooled.copy_from_slice(row)),
        },
    );
    Ok(())
}

#[inline(always)]
fn max<'a>(rows: impl Iterator<Item = &'a [f32]>, pooled: &mut [f32]) {
    pooled.fill(f32::NEG_INFINITY);
    for row in rows {
        for (largest, &value) in pooled.iter_mut().zip(row) {
            *largest = if *largest >= value || largest.is_nan() { *largest } else { value };
        }
    }
}

#[inline(always)]
fn mean<'a>(rows: impl ExactSizeIterator<Item = &'a [f32]>, pooled: &mut [f32]) {
    let count = rows.len() as f64;
    let mut totals = vec![0.0f64; pooled.len()];
    for row in rows {
        for (total, &value) in totals.iter_mut().zip(row) {
            *total += f64::from(value);
        }
    }
    for (mean, total) in pooled.iter_mut().zip(totals) {
        *mean = (total / count) as f32;
    }
}

/// The same from the tensor library's operations, for activations on another device.
fn composed(pooling: Pooling, activations: &Tensor, counted: &[u32]) -> Result<Tensor> {
    let counted = Tensor::new(counted, activations.device())?;
    let rows = activations.index_select(&counted, 0)?;
    match pooling {
        Pooling::Max => rows.max(0),
        Pooling::Mean => rows.mean(0),
        Pooling::Last => rows.get(rows.dim(0)? - 1),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn kernels_and_composed_operations_agree() {
        let activations = Tensor::randn(0f32, 1.0, (9, 37), &Device::Cpu).unwrap();
        for pooling in [Pooling::Max, Pooling::Mean, Pooling::Last] {
            for counted in [vec![0], vec![1, 2, 3, 8], (0..9).collect()] {
                let mut kernel = vec![0.0; 37];
                pool(pooling, &activations, &counted, &mut kernel).unwrap();
                let library = composed(pooling, &activations, &counted).unwrap().to_vec1::<f32>().unwrap();
                assert!(kernel.iter().zip(&library).all(|(a, b)| (a - b).abs() < 1e-6), "{pooling}");
            }
        }
    }

    #[test]
    fn a_nan_is_never_swallowed() {
        for place in 0..3 {
            let mut values = [1.0f32, 2.0, 3.0];
            values[place] = f32::NAN;
            let activations = Tensor::from_slice(&values, (3, 1), &Device::Cpu).unwrap();
            for pooling in [Pooling::Max, Pooling::Mean] {
                let mut pooled = [0.0];
                pool(pooling, &activations, &[0, 1, 2], &mut pooled).unwrap();
                assert!(pooled[0].is_nan(), "{pooling}, NaN at {place}");
            }
        }
    }
}
