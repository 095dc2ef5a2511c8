//! Non-linearities of the MLP.

use candle_core::{Result, Tensor};

use crate::{
    config::Config,
    error,
    kernels::{
        math::{erfc, exp},
        rows::{each_row, each_row_with},
    },
};

/// An activation function, by the names Hugging Face gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    /// `gelu`: x/2 (1 + erf(x / sqrt 2)).
    Gelu,
    /// `gelu_new`, `gelu_pytorch_tanh`, `gelu_fast`: the same with a tanh for the erf.
    GeluTanh,
    /// `silu`, `swish`: x / (1 + e^-x).
    Silu,
    /// `relu`.
    Relu,
}

impl Activation {
    /// The function that `config` names under `key`.
    pub fn read(config: &Config, key: &str, default: Self) -> error::Result<Self> {
        match config.text(key)? {
            None => Ok(default),
            Some("gelu") => Ok(Self::Gelu),
            Some("gelu_new" | "gelu_pytorch_tanh" | "gelu_fast") => Ok(Self::GeluTanh),
            Some("silu" | "swish") => Ok(Self::Silu),
            Some("relu") => Ok(Self::Relu),
            Some(_) => {
                Err(config.refuse(key, "gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, silu, swish and relu are"))
            }
        }
    }

    /// Replaces `x` `[row, unit]` by its activation and gives it back.
    pub fn forward(self, x: Tensor) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return self.composed(&x);
        }
        // One loop per function: the choice is made outside the loop.
        match self {
            Self::Gelu => each_row(
                &x,
                #[inline(always)]
                |_, row| row.iter_mut().for_each(|x| *x = gelu(*x)),
            )?,
            Self::GeluTanh => each_row(
                &x,
                #[inline(always)]
                |_, row| row.iter_mut().for_each(|x| *x = gelu_tanh(*x)),
            )?,
            Self::Silu => each_row(
                &x,
                #[inline(always)]
                |_, row| row.iter_mut().for_each(|x| *x = silu(*x)),
            )?,
            Self::Relu => each_row(
                &x,
                #[inline(always)]
                |_, row| row.iter_mut().for_each(|x| *x = x.max(0.0)),
            )?,
        }
        Ok(x)
    }

    /// Replaces `gate` `[row, unit]` by its activation times `up` `[row, unit]` and gives it back.
    pub fn forward_gated(self, gate: Tensor, up: &Tensor) -> Result<Tensor> {
        if !gate.device().is_cpu() {
            return self.composed(&gate)?.mul(up);
        }
        if self == Self::Silu {
            each_row_with(
                &gate,
                up,
                #[inline(always)]
                |gate, up| gate.iter_mut().zip(up).for_each(|(x, up)| *x = silu(*x) * up),
            )?;
            return Ok(gate);
        }
        let gate = self.forward(gate)?;
        each_row_with(
            &gate,
            up,
            #[inline(always)]
            |gate, up| gate.iter_mut().zip(up).for_each(|(x, up)| *x *= up),
        )?;
        Ok(gate)
    }

    /// The same from the tensor library's operations.
    fn composed(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gelu => x.gelu_erf(),
            Self::GeluTanh => x.gelu(),
            Self::Silu => x.silu(),
            Self::Relu => x.relu(),
        }
    }
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    // Of 1 + erf, which cancels for negative x, the small part is taken as it is.
    let tail = erfc(x.abs() * std::f32::consts::FRAC_1_SQRT_2);
    0.5 * x * if x < 0.0 { tail } else { 2.0 - tail }
}

#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    // (1 + tanh u) / 2 = 1 / (1 + e^-2u), with u = sqrt(2/pi) (x + 0.044715 x^3)
    const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769;
    x / (1.0 + exp(-TWICE_SQRT_2_OVER_PI * (x + 0.044715 * x * x * x)))
}

#[inline(always)]
fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn kernels_and_composed_operations_agree() {
        let values: Vec<f32> = (-2000..2000).map(|step| step as f32 / 150.0).collect();
        let x = Tensor::from_vec(values, (40, 100), &Device::Cpu).unwrap();
        let flat = |x: Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Silu, Activation::Relu] {
            let library = flat(activation.composed(&x).unwrap());
            let kernel = flat(activation.forward(x.copy().unwrap()).unwrap());
            for (a, b) in kernel.iter().zip(&library) {
                assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{activation:?}: {a} {b}");
            }
            let gated = flat(activation.forward_gated(x.copy().unwrap(), &x).unwrap());
            let expected = flat((activation.composed(&x).unwrap() * &x).unwrap());
            assert!(gated.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 2e-6 * b.abs().max(1.0)));
        }
    }
}
