//! Normalisations: LayerNorm and RMSNorm.

use candle_core::{Result, Tensor};

use super::linear::Vector;
use crate::kernels::{math::sum, rows::map_rows};

/// A normalisation over the last dimension.
pub(crate) enum Norm {
    /// (x - mean) / sqrt(variance + eps) * weight + bias.
    Layer {
        /// `[column]`.
        weight: Vector,
        /// `[column]`.
        bias: Vector,
        /// Added to the variance.
        eps: f32,
    },
    /// x / sqrt(mean of squares + eps) * weight.
    Rms {
        /// `[column]`.
        weight: Vector,
        /// Added to the mean of squares.
        eps: f32,
    },
}

impl Norm {
    /// `x` `[row, column]` to a new matrix of the same shape.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return self.composed(x);
        }
        match self {
            Self::Layer { weight, bias, eps } => map_rows(
                x,
                #[inline(always)]
                |from, to| {
                    let len = from.len();
                    let mean = sum(len, |i| from[i]) / len as f32;
                    let variance = sum(len, |i| (from[i] - mean) * (from[i] - mean)) / len as f32;
                    let scale = 1.0 / (variance + eps).sqrt();
                    for (((to, from), weight), bias) in to.iter_mut().zip(from).zip(&weight.host).zip(&bias.host) {
                        *to = (from - mean) * scale * weight + bias;
                    }
                },
            ),
            Self::Rms { weight, eps } => map_rows(
                x,
                #[inline(always)]
                |from, to| {
                    let len = from.len();
                    let scale = 1.0 / (sum(len, |i| from[i] * from[i]) / len as f32 + eps).sqrt();
                    for ((to, from), weight) in to.iter_mut().zip(from).zip(&weight.host) {
                        *to = from * scale * weight;
                    }
                },
            ),
        }
    }

    /// Normalises each head of `x` `[row, head * dim]` by itself.
    pub fn forward_heads(&self, x: &Tensor, dim: usize) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        self.forward(&x.reshape((rows * width / dim, dim))?)?.reshape((rows, width))
    }

    /// The same from the tensor library's operations.
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Layer { weight, bias, eps } => candle_nn::ops::layer_norm(x, &weight.tensor, &bias.tensor, *eps),
            Self::Rms { weight, eps } => candle_nn::ops::rms_norm(x, &weight.tensor, *eps),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn kernels_and_composed_operations_agree() {
        let random = |shape: &[usize]| Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap();
        let vector = || Vector::new(random(&[50])).unwrap();
        let x = (random(&[7, 50]) + 3.0).unwrap();
        for norm in
            [Norm::Layer { weight: vector(), bias: vector(), eps: 1e-5 }, Norm::Rms { weight: vector(), eps: 1e-6 }]
        {
            let kernel = norm.forward(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let library = norm.composed(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            // Rounding is relative, and the two sum in other orders.
            let far = |(a, b): (&f32, &f32)| (a - b).abs() > 1e-5 * (1.0 + b.abs());
            assert!(!kernel.iter().zip(&library).any(far), "{kernel:?} {library:?}");
        }
    }
}
