//! Rotary positions: NeoX style (first half with second half), full or partial, with the scalings `linear` and `llama3`.

use std::f64::consts::PI;

use candle_core::{D, Result, Tensor};

use crate::{config::Config, error, kernels::rows::each_row};

/// Angles for every position of the context.
pub(crate) struct Rope {
    /// Dimensions of a head that turn; the rest pass.
    dims: usize,
    /// `[position, dims / 2]`.
    cos: Vec<f32>,
    /// `[position, dims / 2]`.
    sin: Vec<f32>,
}

/// What `config.json` says about the rotation.
#[derive(Debug, PartialEq)]
pub(crate) struct RopeSpec {
    theta: f64,
    /// The share of a head's dimensions that turn.
    partial: f64,
    scaling: Scaling,
}

#[derive(Debug, PartialEq)]
enum Scaling {
    Default,
    Linear { factor: f64 },
    Llama3 { factor: f64, low: f64, high: f64, original_context: f64 },
}

impl RopeSpec {
    /// Reads the newer spelling (`rope_parameters`) or the older one (`rope_theta`, `rope_scaling`; in GPT-NeoX
    /// `rotary_emb_base`, `rotary_pct`). `partial` is the family's share of turning dimensions where neither says.
    pub fn read(config: &Config, partial: f64) -> error::Result<Self> {
        let theta = config.number_or("rope_theta", config.number_or("rotary_emb_base", 10_000.0)?)?;
        let partial = config.number_or("partial_rotary_factor", config.number_or("rotary_pct", partial)?)?;
        let Some(rope) = config.object("rope_parameters")?.or(config.object("rope_scaling")?) else {
            return Ok(Self { theta, partial, scaling: Scaling::Default });
        };
        if rope.is_nested() {
            return Err(config.refuse("rope_parameters", "only one set of parameters for all layers is"));
        }
        let theta = rope.number_or("rope_theta", theta)?;
        let partial = rope.number_or("partial_rotary_factor", partial)?;
        let key = if rope.get("rope_type").is_some() { "rope_type" } else { "type" };
        let scaling = match rope.text(key)? {
            None | Some("default") => Scaling::Default,
            Some("linear") => Scaling::Linear { factor: rope.number("factor")? },
            Some("llama3") => Scaling::Llama3 {
                factor: rope.number("factor")?,
                low: rope.number("low_freq_factor")?,
                high: rope.number("high_freq_factor")?,
                original_context: rope.number("original_max_position_embeddings")?,
            },
            Some(_) => return Err(rope.refuse(key, "default, linear and llama3 are")),
        };
        Ok(Self { theta, partial, scaling })
    }

    /// Tables for heads of `dim` dimensions, as Hugging Face computes them: angles in f32.
    pub fn tables(&self, dim: usize, context_len: usize) -> Rope {
        let dims = (dim as f64 * self.partial) as usize;
        let frequency = |i: usize| {
            let plain = 1.0 / (self.theta as f32).powf(2.0 * i as f32 / dims as f32);
            self.scaling.apply(plain.into()) as f32
        };
        let frequencies: Vec<f32> = (0..dims / 2).map(frequency).collect();
        let angles = (0..context_len).flat_map(|p| frequencies.iter().map(move |f| f64::from(p as f32 * f)));
        let (sin, cos) = angles.map(|angle| (angle.sin() as f32, angle.cos() as f32)).unzip();
        Rope { dims, cos, sin }
    }
}

impl Scaling {
    fn apply(&self, frequency: f64) -> f64 {
        match *self {
            Self::Default => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low, high, original_context } => {
                let wavelength = 2.0 * PI / frequency;
                if wavelength > original_context / low {
                    frequency / factor
                } else if wavelength < original_context / high {
                    frequency
                } else {
                    let smooth = (original_context / wavelength - low) / (high - low);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        }
    }
}

impl Rope {
    /// Turns every head of `x` `[row, head * dim]`; row `r` stands at `positions[r]`.
    pub fn forward(&self, x: Tensor, dim: usize, positions: &[u32]) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return self.composed(&x, dim, positions);
        }
        let half = self.dims / 2;
        each_row(
            &x,
            #[inline(always)]
            |number, row| {
                let place = positions[number] as usize * half;
                let (cos, sin) = (&self.cos[place..place + half], &self.sin[place..place + half]);
                for head in row.chunks_exact_mut(dim) {
                    let (first, second) = head[..2 * half].split_at_mut(half);
                    for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                    }
                }
            },
        )?;
        Ok(x)
    }

    /// The same from the tensor library's operations.
    fn composed(&self, x: &Tensor, dim: usize, positions: &[u32]) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let half = self.dims / 2;
        let gather = |table: &[f32]| {
            let values: Vec<f32> = positions
                .iter()
                .flat_map(|&position| &table[position as usize * half..(position as usize + 1) * half])
                .copied()
                .collect();
            Tensor::from_vec(values, (rows, 1, half), x.device())
        };
        let (cos, sin) = (gather(&self.cos)?, gather(&self.sin)?);
        let heads = x.reshape((rows, width / dim, dim))?;
        let (a, b) = (heads.narrow(D::Minus1, 0, half)?, heads.narrow(D::Minus1, half, half)?);
        let first = (a.broadcast_mul(&cos)? - b.broadcast_mul(&sin)?)?;
        let second = (b.broadcast_mul(&cos)? + a.broadcast_mul(&sin)?)?;
        let rest = heads.narrow(D::Minus1, 2 * half, dim - 2 * half)?;
        let parts = if dim > 2 * half { vec![first, second, rest] } else { vec![first, second] };
        Tensor::cat(&parts, D::Minus1)?.reshape((rows, width))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn kernel_and_composed_operations_agree() {
        for (partial, scaling) in [
            (1.0, Scaling::Default),
            (0.25, Scaling::Linear { factor: 2.0 }),
            (1.0, Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, original_context: 16.0 }),
        ] {
            let rope = RopeSpec { theta: 10_000.0, partial, scaling }.tables(16, 64);
            let x = Tensor::randn(0f32, 1.0, (5, 48), &Device::Cpu).unwrap();
            let positions = [0, 1, 2, 63, 17];
            let library = rope.composed(&x, 16, &positions).unwrap().to_vec2::<f32>().unwrap();
            let kernel = rope.forward(x.copy().unwrap(), 16, &positions).unwrap().to_vec2::<f32>().unwrap();
            for (a, b) in kernel.iter().flatten().zip(library.iter().flatten()) {
                assert!((a - b).abs() < 1e-6);
            }
        }
    }

    /// Values of transformers' `_compute_llama3_parameters` for Llama 3.2's settings with a head of 64.
    #[test]
    fn llama3_scaling_leaves_short_waves_and_stretches_long_ones() {
        let scaling = Scaling::Llama3 { factor: 32.0, low: 1.0, high: 4.0, original_context: 8192.0 };
        assert_eq!(scaling.apply(1.0), 1.0);
        assert_eq!(scaling.apply(1e-5), 1e-5 / 32.0);
        // Wavelength 4096: halfway in 8192 / wavelength between 1 and 4 is a third.
        let middle = scaling.apply(2.0 * PI / 4096.0) / (2.0 * PI / 4096.0);
        assert!((middle - (2.0 / 3.0 / 32.0 + 1.0 / 3.0)).abs() < 1e-12);
    }
}
