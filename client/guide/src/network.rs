//! The network as candle trains it.

use candle_core::{DType, Device, Result, Tensor, Var};
use lode_domain::guide::Discriminator;
use rand::Rng;

/// The weights of a [`Discriminator`], as variables.
pub(crate) struct Network {
    vectors: Var,
    input: Var,
    input_bias: Var,
    recurrent: Var,
    recurrent_bias: Var,
    output: Var,
    output_bias: Var,
}

/// Numbers of a token's vector and of the state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Tokens that it knows, and the unknown one.
    pub tokens: usize,
    pub width: usize,
    pub state: usize,
}

impl Network {
    /// With random weights, uniform within one over the square root of the state's size, as PyTorch begins.
    pub fn new(shape: Shape, rng: &mut impl Rng) -> Result<Self> {
        let Shape { tokens, width, state } = shape;
        let most = 1.0 / (state as f32).sqrt();
        let mut var = |rows: usize, columns: usize, most: f32| {
            let values: Vec<f32> = (0..rows * columns).map(|_| rng.random_range(-most..most)).collect();
            Var::from_tensor(&Tensor::from_vec(values, (rows, columns), &Device::Cpu)?)
        };
        Ok(Self {
            vectors: var(tokens, width, 1.0)?,
            input: var(3 * state, width, most)?,
            input_bias: var(1, 3 * state, most)?,
            recurrent: var(3 * state, state, most)?,
            recurrent_bias: var(1, 3 * state, most)?,
            output: var(1, state, most)?,
            output_bias: var(1, 1, most)?,
        })
    }

    pub fn vars(&self) -> Vec<Var> {
        let Self { vectors, input, input_bias, recurrent, recurrent_bias, output, output_bias } = self;
        [vectors, input, input_bias, recurrent, recurrent_bias, output, output_bias].map(Var::clone).to_vec()
    }

    /// Log odds `[text, position]` after every token of `texts` `[text, position]`, places among the known tokens.
    pub fn odds(&self, texts: &Tensor) -> Result<Tensor> {
        let (count, length) = texts.dims2()?;
        let vectors = self.vectors.index_select(&texts.flatten_all()?, 0)?;
        let gates = vectors.matmul(&self.input.t()?)?.broadcast_add(&self.input_bias)?;
        let gates = gates.reshape((count, length, ()))?;
        let size = self.output.dim(1)?;
        let mut state = Tensor::zeros((count, size), DType::F32, &Device::Cpu)?;
        let mut odds = Vec::with_capacity(length);
        for position in 0..length {
            let given = gates.narrow(1, position, 1)?.squeeze(1)?;
            let before = state.matmul(&self.recurrent.t()?)?.broadcast_add(&self.recurrent_bias)?;
            let gate = |number: usize| -> Result<(Tensor, Tensor)> {
                Ok((given.narrow(1, number * size, size)?, before.narrow(1, number * size, size)?))
            };
            let ((reset, reset_before), (update, update_before), (new, new_before)) = (gate(0)?, gate(1)?, gate(2)?);
            let reset = candle_nn::ops::sigmoid(&(reset + reset_before)?)?;
            let update = candle_nn::ops::sigmoid(&(update + update_before)?)?;
            let new = (new + (reset * new_before)?)?.tanh()?;
            // (1 - update) new + update state
            state = ((&new + (&update * &state)?)? - (&update * &new)?)?;
            odds.push(state.matmul(&self.output.t()?)?.broadcast_add(&self.output_bias)?);
        }
        Tensor::cat(&odds, 1)
    }

    /// The weights, for the `tokens` that it knows.
    pub fn finish(&self, tokens: Vec<u32>) -> Result<Discriminator> {
        let values = |var: &Var| var.flatten_all()?.to_vec1::<f32>();
        Ok(Discriminator {
            tokens,
            vectors: values(&self.vectors)?,
            input: values(&self.input)?,
            input_bias: values(&self.input_bias)?,
            recurrent: values(&self.recurrent)?,
            recurrent_bias: values(&self.recurrent_bias)?,
            output: values(&self.output)?,
            output_bias: self.output_bias.flatten_all()?.get(0)?.to_scalar()?,
        })
    }
}
