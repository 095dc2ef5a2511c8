//! GPT-2 for training: every operation here has a gradient, which candle's own fused ones lack.

use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::{dropout::ChannelDropout, error::Result, fused};

/// The fields of a Hugging Face GPT-2 `config.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are Hugging Face's")]
pub struct Gpt2Config {
    pub model_type: String,
    pub architectures: Vec<String>,
    pub activation_function: String,
    pub vocab_size: usize,
    pub n_positions: usize,
    pub n_ctx: usize,
    pub n_embd: usize,
    pub n_head: usize,
    pub n_layer: usize,
    pub layer_norm_epsilon: f64,
    pub bos_token_id: u32,
    pub eos_token_id: u32,
    pub tie_word_embeddings: bool,
    pub attn_pdrop: f64,
    pub embd_pdrop: f64,
    pub resid_pdrop: f64,
    pub torch_dtype: String,
}

impl Gpt2Config {
    /// The demo model: 4 blocks of width 128.
    pub fn demo(vocab_size: usize, end_of_text: u32) -> Self {
        Self {
            model_type: "gpt2".into(),
            architectures: vec!["GPT2LMHeadModel".into()],
            activation_function: "gelu_new".into(),
            vocab_size,
            n_positions: 128,
            n_ctx: 128,
            n_embd: 128,
            n_head: 4,
            n_layer: 4,
            layer_norm_epsilon: 1e-5,
            bos_token_id: end_of_text,
            eos_token_id: end_of_text,
            tie_word_embeddings: true,
            attn_pdrop: 0.0,
            embd_pdrop: 0.0,
            resid_pdrop: 0.0,
            torch_dtype: "float16".into(),
        }
    }

    /// Every tensor of the model: its Hugging Face name and shape. Conv1D weights are `[in, out]`.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let d = self.n_embd;
        let mut tensors = vec![
            ("transformer.wte.weight".to_owned(), vec![self.vocab_size, d]),
            ("transformer.wpe.weight".to_owned(), vec![self.n_positions, d]),
        ];
        for layer in 0..self.n_layer {
            let mut push =
                |name: &str, shape: Vec<usize>| tensors.push((format!("transformer.h.{layer}.{name}"), shape));
            for norm in ["ln_1", "ln_2"] {
                push(&format!("{norm}.weight"), vec![d]);
                push(&format!("{norm}.bias"), vec![d]);
            }
            for (linear, input, output) in
                [("attn.c_attn", d, 3 * d), ("attn.c_proj", d, d), ("mlp.c_fc", d, 4 * d), ("mlp.c_proj", 4 * d, d)]
            {
                push(&format!("{linear}.weight"), vec![input, output]);
                push(&format!("{linear}.bias"), vec![output]);
            }
        }
        tensors.push(("transformer.ln_f.weight".to_owned(), vec![d]));
        tensors.push(("transformer.ln_f.bias".to_owned(), vec![d]));
        tensors
    }

    /// Parameters of the model; the tied head counts once.
    pub fn parameters(&self) -> usize {
        self.tensors().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }
}

struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl Norm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let normed = fused::normalise(x, self.epsilon)?;
        Ok(normed.broadcast_mul(&self.weight)?.broadcast_add(&self.bias)?)
    }
}

struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// `[row, in]` to `[row, out]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.matmul(&self.weight)?.broadcast_add(&self.bias)?)
    }
}

struct Block {
    ln_1: Norm,
    c_attn: Linear,
    attn_c_proj: Linear,
    ln_2: Norm,
    c_fc: Linear,
    mlp_c_proj: Linear,
}

/// A GPT-2 decoder over borrowed tensors: it sees what an optimiser writes into them.
pub struct Gpt2 {
    config: Gpt2Config,
    wte: Tensor,
    wpe: Tensor,
    blocks: Vec<Block>,
    ln_f: Norm,
}

impl Gpt2 {
    /// Assembles the model from tensors by Hugging Face name.
    pub fn new(config: &Gpt2Config, tensor: impl Fn(&str) -> Result<Tensor>) -> Result<Self> {
        let norm = |name: String| -> Result<Norm> {
            Ok(Norm {
                weight: tensor(&format!("{name}.weight"))?,
                bias: tensor(&format!("{name}.bias"))?,
                epsilon: config.layer_norm_epsilon,
            })
        };
        let linear = |name: String| -> Result<Linear> {
            Ok(Linear { weight: tensor(&format!("{name}.weight"))?, bias: tensor(&format!("{name}.bias"))? })
        };
        let blocks = (0..config.n_layer)
            .map(|layer| {
                let block = format!("transformer.h.{layer}");
                Ok(Block {
                    ln_1: norm(format!("{block}.ln_1"))?,
                    c_attn: linear(format!("{block}.attn.c_attn"))?,
                    attn_c_proj: linear(format!("{block}.attn.c_proj"))?,
                    ln_2: norm(format!("{block}.ln_2"))?,
                    c_fc: linear(format!("{block}.mlp.c_fc"))?,
                    mlp_c_proj: linear(format!("{block}.mlp.c_proj"))?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            wte: tensor("transformer.wte.weight")?,
            wpe: tensor("transformer.wpe.weight")?,
            blocks,
            ln_f: norm("transformer.ln_f".to_owned())?,
            config: config.clone(),
        })
    }

    /// The model's shape.
    pub fn config(&self) -> &Gpt2Config {
        &self.config
    }

    /// Token ids `[text, position]` to logits `[text * position, vocab]`.
    pub fn logits(&self, tokens: &Tensor) -> Result<Tensor> {
        self.training_logits(tokens, &mut ChannelDropout::none())
    }

    /// [`Self::logits`] with units left out.
    pub(crate) fn training_logits(&self, tokens: &Tensor, dropout: &mut ChannelDropout) -> Result<Tensor> {
        let (texts, positions) = tokens.dims2()?;
        let d = self.config.n_embd;
        let words = self.wte.index_select(&tokens.flatten_all()?, 0)?.reshape((texts, positions, d))?;
        let mut hidden = words.broadcast_add(&self.wpe.narrow(0, 0, positions)?)?.reshape((texts * positions, d))?;
        for block in &self.blocks {
            let qkv = dropout.apply(block.c_attn.forward(&block.ln_1.forward(&hidden)?)?, texts)?;
            let mixed = self.attention(&qkv, (texts, positions))?;
            hidden = (&hidden + dropout.apply(block.attn_c_proj.forward(&mixed)?, texts)?)?;
            let inner = block.c_fc.forward(&block.ln_2.forward(&hidden)?)?;
            let inner = dropout.apply(fused::gelu(&inner)?, texts)?;
            hidden = (&hidden + dropout.apply(block.mlp_c_proj.forward(&inner)?, texts)?)?;
        }
        Ok(self.ln_f.forward(&hidden)?.matmul(&self.wte.t()?)?)
    }

    /// What the heads mix, `[text * position, width]`, from queries, keys and values `[text * position, 3 * width]`.
    fn attention(&self, qkv: &Tensor, (texts, positions): (usize, usize)) -> Result<Tensor> {
        let (heads, width) = (self.config.n_head, self.config.n_embd / self.config.n_head);
        let qkv = qkv.reshape((texts, positions, 3, heads, width))?;
        // each [text, head, position, width]
        let part = |index: usize| -> Result<Tensor> {
            Ok(qkv.narrow(2, index, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous()?)
        };
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scores = q.matmul(&k.transpose(2, 3)?.contiguous()?)?;
        let weights = fused::causal_softmax(&scores, 1.0 / (width as f64).sqrt())?;
        Ok(weights.matmul(&v)?.transpose(1, 2)?.reshape((texts * positions, heads * width))?)
    }

    /// Logits `[vocab]` of the token after `tokens`, of which the last `n_positions` count.
    pub fn next_logits(&self, tokens: &[u32]) -> Result<Vec<f32>> {
        let start = tokens.len().saturating_sub(self.config.n_positions);
        let logits = self.logits(&Tensor::new(&tokens[start..], &Device::Cpu)?.unsqueeze(0)?)?;
        let last = logits.dim(0)? - 1;
        Ok(logits.get(last)?.to_dtype(DType::F32)?.to_vec1()?)
    }
}
