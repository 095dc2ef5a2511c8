//! Makes parts from named tensors, and numbers the hook points in the order in which linears are made.

use candle_core::Tensor;
use lode_domain::unit::{Layer, LayerName};

use super::{
    embedding::Embedding,
    linear::{Linear, Vector},
    norm::Norm,
};
use crate::{error::Result, weights::Weights};

/// Hands out parts while a family assembles its decoder.
pub(crate) struct Builder<'a> {
    weights: &'a mut Weights,
    layers: Vec<Layer>,
}

/// How a file stores a linear's weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// `[out, in]`, as torch's `Linear` does.
    OutIn,
    /// `[in, out]`, as GPT-2's `Conv1D` does.
    InOut,
}

/// The shape of a linear.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinearShape {
    /// Input width.
    pub input: usize,
    /// Output width: the number of units.
    pub output: usize,
    /// Whether there is a bias.
    pub bias: bool,
}

impl<'a> Builder<'a> {
    pub fn new(weights: &'a mut Weights) -> Self {
        Self { weights, layers: Vec::new() }
    }

    /// Accepts files that leave `prefix` out of every name, told by their lacking the tensor `prefix` + `probe`.
    pub fn allow_omitted(&mut self, prefix: &'static str, probe: &str) {
        self.weights.allow_omitted(prefix, probe);
    }

    /// The hook points so far, in the order in which their linears were made: make them in forward order.
    pub fn into_layers(self) -> Vec<Layer> {
        self.layers
    }

    /// The linear of module `name`, a hook point.
    pub fn linear(&mut self, name: &str, shape: LinearShape, stored: Stored) -> Result<Linear> {
        let LinearShape { input, output, bias } = shape;
        let weight = format!("{name}.weight");
        let weight = match stored {
            Stored::OutIn => self.weights.take(&weight, &[output, input])?.t()?,
            Stored::InOut => self.weights.take(&weight, &[input, output])?,
        };
        let bias = if bias { Some(self.vector(&format!("{name}.bias"), output)?) } else { None };
        let layer = self.layers.len();
        self.layers.push(Layer { name: LayerName::new(name), units: output as u32 });
        Ok(Linear::new(weight, bias, Some(layer))?)
    }

    /// Whether the files hold a tensor of this name.
    pub fn has(&self, tensor: &str) -> bool {
        self.weights.has(tensor)
    }

    /// The head of module `name`; `None` ties it to the table of token vectors.
    pub fn head(&mut self, name: Option<&str>, tokens: &Embedding) -> Result<Linear> {
        let weight = match name {
            None => tokens.table.clone(),
            Some(name) => self.weights.take(&format!("{name}.weight"), tokens.table.dims())?,
        };
        Ok(Linear::new(weight.t()?, None, None)?)
    }

    /// The table of module `name`.
    pub fn embedding(&mut self, name: &str, ids: usize, width: usize) -> Result<Embedding> {
        Ok(Embedding { table: self.take(&format!("{name}.weight"), &[ids, width])? })
    }

    /// The LayerNorm of module `name`.
    pub fn layer_norm(&mut self, name: &str, width: usize, eps: f64) -> Result<Norm> {
        let weight = self.vector(&format!("{name}.weight"), width)?;
        let bias = self.vector(&format!("{name}.bias"), width)?;
        Ok(Norm::Layer { weight, bias, eps: eps as f32 })
    }

    /// The RMSNorm of module `name`.
    pub fn rms_norm(&mut self, name: &str, width: usize, eps: f64) -> Result<Norm> {
        Ok(Norm::Rms { weight: self.vector(&format!("{name}.weight"), width)?, eps: eps as f32 })
    }

    fn vector(&mut self, name: &str, width: usize) -> Result<Vector> {
        Ok(Vector::new(self.take(name, &[width])?)?)
    }

    fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.weights.take(name, shape)
    }
}
