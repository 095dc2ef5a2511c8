//! Texts written under do(c,k): do they show the concept, and are they still the language the model learned?

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::{
    checkpoint,
    error::{DemoError, Result},
    file,
    gpt2::Gpt2,
    perplexity::{Surprise, log_probabilities},
    tokenizer,
};

/// A concept is visible when this share of its texts shows it.
const VISIBLE: f64 = 0.7;
/// Texts are fluent when the model without forcing finds them at most so many times as perplexing as its own.
const FLUENT: f64 = 2.0;

/// What `lode demo --all --show N --format json` says.
#[derive(Clone, Debug, Deserialize)]
pub struct Demonstration {
    presence: Vec<Presence>,
    texts: Vec<Text>,
}

#[derive(Clone, Debug, Deserialize)]
struct Presence {
    concept: String,
    k: u32,
    texts: usize,
    share: f64,
}

#[derive(Clone, Debug, Deserialize)]
struct Text {
    concept: String,
    k: u32,
    text: String,
}

impl Demonstration {
    /// Reads the command's output from a file.
    pub fn read(path: &Path) -> Result<Self> {
        file::read_json(path)
    }

    /// Reads the command's output.
    pub fn parse(json: &str) -> Result<Self> {
        Ok(serde_json::from_str(json)?)
    }
}

/// How well conditioning works with the model.
#[derive(Clone, Debug, Serialize)]
pub struct Conditioned {
    /// Share of texts from which on a concept counts as visible.
    pub visible_from: f64,
    /// Ratio of perplexities up to which texts count as fluent.
    pub fluent_up_to: f64,
    /// Concepts measured.
    pub concepts: usize,
    /// Concepts that some k makes visible in fluent texts.
    pub visible_and_fluent: usize,
    /// By k, over all concepts.
    pub by_k: BTreeMap<u32, Means>,
    /// By concept and k.
    pub cells: Vec<Measured>,
}

/// Means over concepts.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Means {
    /// Mean share of texts that show the concept.
    pub share: f64,
    /// Perplexity of all texts together.
    pub perplexity: f64,
    /// Concepts that are visible in fluent texts at this k.
    pub visible_and_fluent: usize,
}

/// The texts of one concept and k.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// `group/name`.
    pub concept: String,
    /// Units forced; 0 is the model as it is.
    pub k: u32,
    /// Texts.
    pub texts: usize,
    /// Share of them that have one of the concept's words.
    pub share: f64,
    /// Their perplexity per token under the model without forcing, all tokens but each text's first.
    pub perplexity: f64,
}

/// Measures what was written with the model in `folder`.
pub fn measure(folder: &Path, written: &Demonstration) -> Result<Conditioned> {
    let (model, tokenizer) = checkpoint::read(folder)?;
    conditioned(&model, &tokenizer, written)
}

/// Measures what was written with `model`.
pub(crate) fn conditioned(model: &Gpt2, tokenizer: &Tokenizer, written: &Demonstration) -> Result<Conditioned> {
    let mut by_k: BTreeMap<u32, Surprise> = BTreeMap::new();
    let mut cells = Vec::new();
    for Presence { concept, k, texts, share } in &written.presence {
        let own = written.texts.iter().filter(|text| text.concept == *concept && text.k == *k);
        let mut surprise = Surprise::default();
        let mut found = 0;
        let all = by_k.entry(*k).or_default();
        for text in own {
            found += 1;
            let tokens = tokenizer::encode(tokenizer, &text.text)?;
            // a single token has nothing before it that could predict it
            let scores = if tokens.len() > 1 { log_probabilities(model, &tokens)? } else { Vec::new() };
            for score in scores {
                surprise.add(score);
                all.add(score);
            }
        }
        if found != *texts {
            return Err(DemoError::TextsMissing { concept: concept.clone(), k: *k, found, wanted: *texts });
        }
        let (concept, perplexity) = (concept.clone(), surprise.perplexity());
        cells.push(Measured { concept, k: *k, texts: *texts, share: *share, perplexity });
    }
    let is_good = |cell: &&Measured| {
        let plain = cells.iter().find(|other| other.concept == cell.concept && other.k == 0);
        let is_fluent = plain.is_some_and(|plain| cell.perplexity <= FLUENT * plain.perplexity);
        cell.k > 0 && cell.share >= VISIBLE && is_fluent
    };
    let mut good: Vec<&str> = cells.iter().filter(is_good).map(|cell| cell.concept.as_str()).collect();
    good.sort_unstable();
    good.dedup();
    let mut concepts: Vec<&str> = cells.iter().map(|cell| cell.concept.as_str()).collect();
    concepts.sort_unstable();
    concepts.dedup();
    let means = by_k.into_iter().map(|(k, surprise)| {
        let at = || cells.iter().filter(move |cell| cell.k == k);
        let share = at().map(|cell| cell.share).sum::<f64>() / at().count().max(1) as f64;
        let visible_and_fluent = at().filter(is_good).count();
        (k, Means { share, perplexity: surprise.perplexity(), visible_and_fluent })
    });
    Ok(Conditioned {
        visible_from: VISIBLE,
        fluent_up_to: FLUENT,
        concepts: concepts.len(),
        visible_and_fluent: good.len(),
        by_k: means.collect(),
        cells,
    })
}
