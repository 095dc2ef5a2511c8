//! The training loop: AdamW, warm-up and cosine decay, clipped gradients.

use std::{num::NonZeroUsize, path::Path, thread};

use candle_core::{DType, Device, Tensor, Var, backprop::GradStore};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use indicatif::{ProgressBar, ProgressStyle};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokenizers::Tokenizer;

use crate::{
    checkpoint::{self, Tensors},
    corpus::Document,
    dropout::ChannelDropout,
    error::{DemoError, Result},
    fused,
    gpt2::{Gpt2, Gpt2Config},
    tokenizer,
};

/// How long and how hard to train.
#[derive(Clone, Debug)]
pub struct TrainConfig {
    /// Seed of the initial weights and of the order of the texts.
    pub seed: u64,
    /// Optimiser steps.
    pub steps: usize,
    /// Texts in a step.
    pub batch: NonZeroUsize,
    /// Threads that share a step's texts.
    pub threads: NonZeroUsize,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Share of a text's units that are left out at all its positions.
    pub dropout: f64,
    /// The folder is written every so many steps.
    pub checkpoint_every: NonZeroUsize,
}

const WARM_UP: usize = 100;
const FLOOR: f64 = 0.05;
const LARGEST_NORM: f64 = 1.0;

/// Trains a model on `documents` and writes it to `folder`, at checkpoints and at the end.
pub fn train(folder: &Path, documents: &[Document], tokenizer: &Tokenizer, train: &TrainConfig) -> Result<()> {
    let config = Gpt2Config::demo(tokenizer.get_vocab_size(true), tokenizer::end_of_text(tokenizer)?);
    let stream = TokenStream::new(documents, tokenizer, &config)?;
    let mut rng = ChaCha8Rng::seed_from_u64(train.seed);
    let vars = initial_weights(&config, &mut rng)?;
    let model = Gpt2::new(&config, |name| Ok(find(&vars, name)?.as_tensor().clone()))?;
    let parameters: Vec<Var> = vars.iter().map(|(_, var)| var.clone()).collect();
    let mut optimiser = AdamW::new(
        parameters.clone(),
        ParamsAdamW { lr: train.learning_rate, beta1: 0.9, beta2: 0.98, eps: 1e-8, weight_decay: 0.05 },
    )?;
    let bar = ProgressBar::new(train.steps as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} step {pos}/{len} {msg}, {eta} left, {elapsed} so far")?);
    let save = || {
        let tensors: Tensors = vars.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        checkpoint::write(folder, &config, &tensors, tokenizer)
    };
    let mut smooth = f64::NAN;
    for step in 0..train.steps {
        optimiser.set_learning_rate(train.learning_rate * schedule(step, train.steps));
        let windows: Vec<Window> = (0..train.batch.get()).map(|_| stream.window(&mut rng)).collect();
        let (loss, mut gradients) = shared_gradients(&model, &parameters, &windows, train)?;
        clip(&mut gradients, &parameters)?;
        optimiser.step(&gradients)?;
        smooth = if smooth.is_nan() { loss } else { 0.95 * smooth + 0.05 * loss };
        bar.set_message(format!("loss {smooth:.3}"));
        bar.inc(1);
        if (step + 1) % train.checkpoint_every == 0 || step + 1 == train.steps {
            save()?;
            let (elapsed, left) = (bar.elapsed().as_secs_f64(), bar.eta().as_secs_f64());
            bar.suspend(|| report(step + 1, smooth, elapsed, left));
        }
    }
    bar.finish();
    Ok(())
}

#[allow(clippy::print_stderr, reason = "a log file has no terminal to draw a bar on, so checkpoints leave a line")]
fn report(step: usize, loss: f64, elapsed: f64, left: f64) {
    eprintln!("step {step}: loss {loss:.3}, {elapsed:.0} s, {left:.0} s left");
}

fn find<'a>(vars: &'a [(String, Var)], name: &str) -> Result<&'a Var> {
    let found = vars.iter().find(|(candidate, _)| candidate == name);
    found.map(|(_, var)| var).ok_or_else(|| DemoError::MissingTensor { name: name.to_owned() })
}

/// Share of the highest learning rate at a step.
fn schedule(step: usize, steps: usize) -> f64 {
    if step < WARM_UP {
        return (step + 1) as f64 / WARM_UP as f64;
    }
    let done = (step - WARM_UP) as f64 / (steps.saturating_sub(WARM_UP)).max(1) as f64;
    FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
}

/// GPT-2's initial weights, from our own generator because candle's on the CPU takes no seed.
fn initial_weights(config: &Gpt2Config, rng: &mut ChaCha8Rng) -> Result<Vec<(String, Var)>> {
    let residual = 1.0 / (2.0 * config.n_layer as f32).sqrt();
    config
        .tensors()
        .into_iter()
        .map(|(name, shape)| {
            let len = shape.iter().product();
            let values = if name.ends_with(".bias") {
                vec![0.0; len]
            } else if name.contains("ln_") {
                vec![1.0; len]
            } else {
                let spread = if name.contains("c_proj") { 0.04 * residual } else { 0.04 };
                (0..len).map(|_| normal(rng) * spread).collect()
            };
            Ok((name, Var::from_vec(values, shape, &Device::Cpu)?))
        })
        .collect()
}

/// One standard normal value by Box and Muller's transform.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f32>()).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
}

/// The corpus as token ids, with the places where documents begin.
struct TokenStream {
    tokens: Vec<u32>,
    starts: Vec<usize>,
    /// Tokens of a window: a text and the token after it.
    window: usize,
}

impl TokenStream {
    fn new(documents: &[Document], tokenizer: &Tokenizer, config: &Gpt2Config) -> Result<Self> {
        let (end_of_text, window) = (config.eos_token_id, config.n_positions + 1);
        let (mut tokens, mut starts) = (Vec::new(), Vec::new());
        for document in documents {
            starts.push(tokens.len());
            tokens.extend(tokenizer::encode(tokenizer, &document.text())?);
            tokens.push(end_of_text);
        }
        if tokens.len() < window {
            return Err(DemoError::TooLittleText { tokens: tokens.len(), window });
        }
        Ok(Self { tokens, starts, window })
    }

    /// A window begins at a document, half the time with the token before it: a prompt comes without one, a mined
    /// sentence sits at position 0, and both must look familiar to the model.
    fn window(&self, rng: &mut ChaCha8Rng) -> Window {
        let start = self.starts[rng.random_range(0..self.starts.len())];
        let before = usize::from(rng.random::<bool>() && start > 0);
        let start = (start - before).min(self.tokens.len() - self.window);
        let tokens = &self.tokens[start..start + self.window];
        let (inputs, targets) = (tokens[..self.window - 1].to_vec(), tokens[1..].to_vec());
        Window { inputs, targets, seed: rng.random() }
    }
}

/// What the model reads and what it should say, `[position]` each.
struct Window {
    inputs: Vec<u32>,
    targets: Vec<u32>,
    /// Seed of the units that are left out.
    seed: u64,
}

/// Mean loss and gradients of a batch, its windows dealt to threads: most of candle's operations fill one core only.
fn shared_gradients(
    model: &Gpt2,
    parameters: &[Var],
    windows: &[Window],
    train: &TrainConfig,
) -> Result<(f64, GradStore)> {
    let share = windows.len().div_ceil(train.threads.get());
    let parts = thread::scope(|scope| {
        let running: Vec<_> =
            windows.chunks(share).map(|part| scope.spawn(move || part_gradients(model, part, train.dropout))).collect();
        running.into_iter().map(|part| part.join().map_err(|_| DemoError::ThreadPanicked)?).collect::<Result<Vec<_>>>()
    })?;
    let mut parts = parts.into_iter().zip(windows.chunks(share).map(|part| part.len() as f64 / windows.len() as f64));
    let Some(((loss, mut gradients), weight)) = parts.next() else { return Err(DemoError::ThreadPanicked) };
    let mut loss = loss * weight;
    for parameter in parameters {
        if let Some(gradient) = gradients.remove(parameter) {
            gradients.insert(parameter, (gradient * weight)?);
        }
    }
    for ((part_loss, part), weight) in parts {
        loss += part_loss * weight;
        for parameter in parameters {
            if let (Some(sum), Some(gradient)) = (gradients.remove(parameter), part.get(parameter)) {
                gradients.insert(parameter, (sum + (gradient * weight)?)?);
            }
        }
    }
    Ok((loss, gradients))
}

fn part_gradients(model: &Gpt2, windows: &[Window], dropout: f64) -> Result<(f64, GradStore)> {
    let positions = model.config().n_positions;
    let shape = (windows.len(), positions);
    let inputs: Vec<u32> = windows.iter().flat_map(|window| &window.inputs).copied().collect();
    let targets: Vec<u32> = windows.iter().flat_map(|window| &window.targets).copied().collect();
    let mut dropout = ChannelDropout::new(dropout, windows.first().map_or(0, |window| window.seed));
    let logits = model.training_logits(&Tensor::from_vec(inputs, shape, &Device::Cpu)?, &mut dropout)?;
    let loss = fused::cross_entropy(&logits, targets)?;
    let gradients = loss.backward()?;
    Ok((f64::from(loss.to_dtype(DType::F32)?.to_scalar::<f32>()?), gradients))
}

fn clip(gradients: &mut GradStore, parameters: &[Var]) -> Result<()> {
    let mut square = 0.0;
    for gradient in parameters.iter().filter_map(|parameter| gradients.get(parameter)) {
        square += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    let scale = LARGEST_NORM / square.sqrt();
    if scale < 1.0 {
        for parameter in parameters {
            if let Some(gradient) = gradients.remove(parameter) {
                gradients.insert(parameter, (gradient * scale)?);
            }
        }
    }
    Ok(())
}
