//! Plain sampling, to read what the model writes.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokenizers::Tokenizer;

use crate::{error::Result, gpt2::Gpt2, tokenizer};

/// Continues `prompt` until the end of the text or `most` tokens.
pub fn sample(model: &Gpt2, tokenizer: &Tokenizer, prompt: &str, most: usize, rng: &mut ChaCha8Rng) -> Result<String> {
    let end_of_text = tokenizer::end_of_text(tokenizer)?;
    let mut tokens = tokenizer::encode(tokenizer, prompt)?;
    if tokens.is_empty() {
        tokens.push(end_of_text);
    }
    for _ in 0..most {
        let next = draw(&model.next_logits(&tokens)?, rng);
        if next == end_of_text {
            break;
        }
        tokens.push(next);
    }
    Ok(tokenizer.decode(&tokens, true)?)
}

/// One token by its probability at temperature 1.
fn draw(logits: &[f32], rng: &mut ChaCha8Rng) -> u32 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    for (token, weight) in weights.iter().enumerate() {
        left -= weight;
        if left <= 0.0 {
            return token as u32;
        }
    }
    weights.len() as u32 - 1
}
