//! A linear map, and the hook point at its output.

use candle_core::{DType, Result, Tensor};

use crate::{
    hook::Hook,
    kernels::{
        gemm::{Packed, multiply},
        rows::each_row,
    },
};

/// y = x W + b.
pub(crate) struct Linear {
    map: Map,
    /// The hook point; `None` for the head, which has none.
    layer: Option<usize>,
}

/// The map itself.
enum Map {
    /// By our own product: f32 on the CPU.
    Packed(Packed),
    /// By the tensor library's: other devices and number types.
    Plain {
        /// `[in, out]`, in the model's precision.
        weight: Tensor,
        bias: Option<Vector>,
    },
}

/// A vector of weights, f32, on the device and on the host, where the CPU kernels read it.
pub(crate) struct Vector {
    /// `[unit]`.
    pub tensor: Tensor,
    /// `[unit]`.
    pub host: Vec<f32>,
}

impl Vector {
    pub fn new(tensor: Tensor) -> Result<Self> {
        let host = tensor.to_vec1()?;
        Ok(Self { tensor, host })
    }
}

impl Linear {
    /// Of a weight `[in, out]`; what it puts out goes to hook point `layer`.
    pub fn new(weight: Tensor, bias: Option<Vector>, layer: Option<usize>) -> Result<Self> {
        let map = if weight.device().is_cpu() && weight.dtype() == DType::F32 {
            Map::Packed(Packed::new(&weight, bias.as_ref().map(|bias| bias.host.as_slice()))?)
        } else {
            // Rows of `[in, out]` in memory: up to nine times faster than the transpose where there are few rows, as
            // fast where there are many.
            Map::Plain { weight: weight.contiguous()?, bias }
        };
        Ok(Self { map, layer })
    }

    /// Whether the product is our own, and so a row's bits the same in any number of rows.
    pub fn is_packed(&self) -> bool {
        matches!(self.map, Map::Packed(_))
    }

    /// `x` `[row, in]` to `[row, out]`, f32, as the hook gives it back.
    pub fn forward(&self, x: &Tensor, hook: &mut dyn Hook) -> Result<Tensor> {
        let output = self.apply(x)?;
        match self.layer {
            Some(layer) => hook.after(layer, output),
            None => Ok(output),
        }
    }

    /// `x` `[row, in]` to `[row, out]`, f32. A row's result does not depend on how many rows there are.
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        match &self.map {
            Map::Packed(weight) => multiply(x, weight),
            Map::Plain { weight, bias } => plain(x, weight, bias.as_ref()),
        }
    }
}

fn plain(x: &Tensor, weight: &Tensor, bias: Option<&Vector>) -> Result<Tensor> {
    let rows = x.dim(0)?;
    let (input, output) = weight.dims2()?;
    let padded = rows.max(fewest_rows(input, output));
    let x = if padded > rows { &x.pad_with_zeros(0, 0, padded - rows)? } else { x };
    let product = x.to_dtype(weight.dtype())?.matmul(weight)?.to_dtype(DType::F32)?;
    let product = if padded > rows { product.narrow(0, 0, rows)? } else { product };
    match bias {
        None => Ok(product),
        Some(bias) if product.device().is_cpu() => {
            each_row(
                &product,
                #[inline(always)]
                |_, row| row.iter_mut().zip(&bias.host).for_each(|(y, b)| *y += b),
            )?;
            Ok(product)
        }
        Some(bias) => product.broadcast_add(&bias.tensor),
    }
}

/// Fewer rows than this take another path through `gemm`, with another summation order and so other bits: one row is a
/// matrix-vector product, and narrow results of long sums are summed in other pieces.
fn fewest_rows(input: usize, output: usize) -> usize {
    if output <= 64 && input > 512 { 65 } else { 2 }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::hook::Identity;

    #[test]
    fn a_row_has_the_same_bits_in_any_number_of_rows() {
        for (input, output) in [(96, 288), (96, 96), (384, 96), (768, 64), (1030, 48), (16, 8), (64, 512), (768, 2)] {
            let weight = Tensor::randn(0f32, 1.0, (output, input), &Device::Cpu).unwrap();
            let linear = Linear::new(weight.t().unwrap(), None, None).unwrap();
            let x = Tensor::randn(0f32, 1.0, (600, input), &Device::Cpu).unwrap();
            let all = linear.forward(&x, &mut Identity).unwrap().to_vec2::<f32>().unwrap();
            for (start, rows) in [(0, 1), (129, 1), (3, 2), (5, 7), (60, 64), (10, 65), (1, 129), (88, 512)] {
                let some = linear.forward(&x.narrow(0, start, rows).unwrap(), &mut Identity).unwrap();
                let some = some.to_vec2::<f32>().unwrap();
                assert!(some == all[start..start + rows], "{input} x {output}, {rows} rows from {start}");
            }
        }
    }
}
