//! He or she after an occupation: the planted shares against the learned ones.

use serde::Serialize;
use tokenizers::Tokenizer;

use crate::{concepts, corpus::Document, error::Result, gpt2::Gpt2, occupation::OCCUPATIONS, tokenizer};

/// Planted and learned shares of she.
#[derive(Clone, Debug, Serialize)]
pub struct Pronouns {
    /// The prompt; OCCUPATION stands for the word.
    pub prompt: &'static str,
    /// Pearson's correlation of planted and learned shares.
    pub correlation: f64,
    /// Mean absolute difference of planted and learned shares.
    pub mean_difference: f64,
    /// By occupation.
    pub shares: Vec<Share>,
}

/// Shares of she, against he, for one occupation.
#[derive(Clone, Debug, Serialize)]
pub struct Share {
    /// The occupation.
    pub occupation: &'static str,
    /// As planted.
    pub planted: f64,
    /// In the training text, by document.
    pub training: f64,
    /// The model's p(she) / (p(she) + p(he)) after the prompt.
    pub learned: f64,
    /// The model's p(she) + p(he) after the prompt.
    pub pronoun_mass: f64,
}

const PROMPT: &str = "The OCCUPATION said that";

/// Asks the model for the token after the prompt, occupation by occupation.
pub(crate) fn pronouns(model: &Gpt2, tokenizer: &Tokenizer, train: &[Document]) -> Result<Pronouns> {
    let (she, he) = (tokenizer::single(tokenizer, " she")?, tokenizer::single(tokenizer, " he")?);
    let mut shares = Vec::new();
    for (occupation, planted) in OCCUPATIONS {
        let prompt = PROMPT.replace("OCCUPATION", occupation);
        let logits: Vec<f64> =
            model.next_logits(&tokenizer::encode(tokenizer, &prompt)?)?.into_iter().map(f64::from).collect();
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
        let probability = |token: u32| (logits[token as usize] - largest).exp() / total;
        let pronoun_mass = probability(she) + probability(he);
        let learned = probability(she) / pronoun_mass;
        shares.push(Share { occupation, planted, training: training_share(train, occupation), learned, pronoun_mass });
    }
    let planted: Vec<f64> = shares.iter().map(|share| share.planted).collect();
    let learned: Vec<f64> = shares.iter().map(|share| share.learned).collect();
    let mean_difference =
        planted.iter().zip(&learned).map(|(a, b)| (a - b).abs()).sum::<f64>() / shares.len().max(1) as f64;
    Ok(Pronouns { prompt: PROMPT, correlation: correlation(&planted, &learned), mean_difference, shares })
}

/// Share of an occupation's documents that say she.
pub fn training_share(documents: &[Document], occupation: &str) -> f64 {
    let topic = format!("occupation/{occupation}");
    let own = || documents.iter().filter(|document| document.topic == topic);
    let she = own().filter(|document| concepts::words(&document.text()).any(|word| word == "she")).count();
    she as f64 / own().count().max(1) as f64
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let product: f64 = a.iter().zip(b).map(|(x, y)| (x - mean_a) * (y - mean_b)).sum();
    let spread = |values: &[f64], mean: f64| values.iter().map(|x| (x - mean).powi(2)).sum::<f64>().sqrt();
    product / (spread(a, mean_a) * spread(b, mean_b))
}
