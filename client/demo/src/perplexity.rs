//! Perplexity per token on held-out text, the model's against n-grams' on the same tokens.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use candle_core::{D, Device, Tensor};
use candle_nn::ops::log_softmax;
use serde::Serialize;
use tokenizers::Tokenizer;

use crate::{
    checkpoint,
    corpus::{Corpus, Document},
    error::Result,
    gpt2::Gpt2,
    ngram::Ngrams,
    tokenizer,
};

/// The held-out text.
#[derive(Clone, Debug, Serialize)]
pub struct HeldOut {
    /// Documents.
    pub documents: usize,
    /// Sentences.
    pub sentences: usize,
    /// Tokens scored, the ends of documents included.
    pub tokens: usize,
    /// Sentences that stand in the training text word by word.
    pub seen_sentences: usize,
    /// Tokens of the sentences that do not.
    pub unseen_tokens: usize,
}

/// Perplexity per token of one model.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Perplexity {
    /// On every held-out token.
    pub all: f64,
    /// On the sentences that are not in the training text.
    pub unseen_sentences: f64,
}

/// A document's tokens between two ends of text, and the sentence of each.
struct Text {
    tokens: Vec<u32>,
    /// `[token]`: index of its sentence; an end of text has none.
    sentences: Vec<Option<usize>>,
}

impl Text {
    fn encode(document: &Document, tokenizer: &Tokenizer, end_of_text: u32) -> Result<Self> {
        let mut text = Self { tokens: vec![end_of_text], sentences: vec![None] };
        for (index, sentence) in document.sentences.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            let tokens = tokenizer::encode(tokenizer, &format!("{space}{sentence}"))?;
            text.sentences.extend(tokens.iter().map(|_| Some(index)));
            text.tokens.extend(tokens);
        }
        text.tokens.push(end_of_text);
        text.sentences.push(None);
        Ok(text)
    }
}

/// Sum of negative log-probabilities and tokens summed.
#[derive(Default)]
pub(crate) struct Surprise {
    nats: f64,
    tokens: usize,
}

impl Surprise {
    pub(crate) fn add(&mut self, log_probability: f64) {
        self.nats -= log_probability;
        self.tokens += 1;
    }

    pub(crate) fn perplexity(&self) -> f64 {
        (self.nats / self.tokens.max(1) as f64).exp()
    }
}

/// Scores the corpus's held-out documents by the model and by n-grams counted on its training documents.
pub(crate) fn perplexities(
    model: &Gpt2,
    tokenizer: &Tokenizer,
    corpus: &Corpus,
) -> Result<(HeldOut, BTreeMap<&'static str, Perplexity>)> {
    let end_of_text = tokenizer::end_of_text(tokenizer)?;
    let encode = |documents: &[Document]| -> Result<Vec<Text>> {
        documents.iter().map(|document| Text::encode(document, tokenizer, end_of_text)).collect()
    };
    let train = encode(&corpus.train)?;
    let ngrams = Ngrams::count(train.iter().map(|text| text.tokens.as_slice()), model.config().vocab_size);
    let seen: BTreeSet<&String> = corpus.train.iter().flat_map(|document| &document.sentences).collect();
    let (texts, documents) = (encode(&corpus.held_out)?, &corpus.held_out);
    let names = ["model", "bigram", "unigram"];
    let mut all: [Surprise; 3] = Default::default();
    let mut unseen: [Surprise; 3] = Default::default();
    for (text, document) in texts.iter().zip(documents) {
        let scores = log_probabilities(model, &text.tokens)?;
        // a text longer than the model's context is scored as far as the model can see, by all three
        for (index, score) in scores.into_iter().enumerate() {
            let (before, token) = (text.tokens[index], text.tokens[index + 1]);
            let scores = [score, ngrams.bigram(before, token).ln(), ngrams.unigram(token).ln()];
            let is_unseen =
                text.sentences[index + 1].is_some_and(|sentence| !seen.contains(&document.sentences[sentence]));
            for (which, score) in scores.into_iter().enumerate() {
                all[which].add(score);
                if is_unseen {
                    unseen[which].add(score);
                }
            }
        }
    }
    let sentences = || documents.iter().flat_map(|document| &document.sentences);
    let held_out = HeldOut {
        documents: documents.len(),
        sentences: sentences().count(),
        tokens: all[0].tokens,
        seen_sentences: sentences().filter(|sentence| seen.contains(sentence)).count(),
        unseen_tokens: unseen[0].tokens,
    };
    let perplexity = names
        .into_iter()
        .zip(all.iter().zip(&unseen))
        .map(|(name, (all, unseen))| {
            (name, Perplexity { all: all.perplexity(), unseen_sentences: unseen.perplexity() })
        })
        .collect();
    Ok((held_out, perplexity))
}

/// The model's log-probability of every token but the first, `[token - 1]`, as far as its context reaches.
pub(crate) fn log_probabilities(model: &Gpt2, tokens: &[u32]) -> Result<Vec<f64>> {
    let len = (tokens.len() - 1).min(model.config().n_positions);
    let inputs = Tensor::new(&tokens[..len], &Device::Cpu)?.unsqueeze(0)?;
    let targets = Tensor::new(&tokens[1..=len], &Device::Cpu)?.unsqueeze(1)?;
    let scores = log_softmax(&model.logits(&inputs)?, D::Minus1)?.gather(&targets, 1)?.squeeze(1)?;
    Ok(scores.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
}

/// Perplexity per token of the model in `folder` on documents.
pub fn perplexity(folder: &Path, documents: &[Document]) -> Result<f64> {
    let (model, tokenizer) = checkpoint::read(folder)?;
    let end_of_text = tokenizer::end_of_text(&tokenizer)?;
    let mut surprise = Surprise::default();
    for document in documents {
        let text = Text::encode(document, &tokenizer, end_of_text)?;
        log_probabilities(&model, &text.tokens)?.into_iter().for_each(|score| surprise.add(score));
    }
    Ok(surprise.perplexity())
}
