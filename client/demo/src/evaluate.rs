//! What the model learned, as one report.

use std::{collections::BTreeMap, path::Path};

use serde::Serialize;

use crate::{
    checkpoint,
    conditioned::{Conditioned, Demonstration, conditioned},
    corpus::Corpus,
    error::Result,
    file,
    perplexity::{HeldOut, Perplexity, perplexities},
    pronouns::{Pronouns, pronouns},
};

/// Everything measured, as written to `evaluation.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// Parameters of the model.
    pub parameters: usize,
    /// What was scored.
    pub held_out: HeldOut,
    /// Perplexity per token, by model.
    pub perplexity: BTreeMap<&'static str, Perplexity>,
    /// He or she.
    pub occupations: Pronouns,
    /// Texts that were written with a concept's experts forced, if there were any to measure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditioned: Option<Conditioned>,
}

/// Measures the model in `folder` on the corpus it was trained on, and what `lode demo` wrote with it, and writes
/// `evaluation.json` beside it.
pub fn evaluate(folder: &Path, corpus: &Corpus, demonstration: Option<&Demonstration>) -> Result<Evaluation> {
    let (model, tokenizer) = checkpoint::read(folder)?;
    let (held_out, perplexity) = perplexities(&model, &tokenizer, corpus)?;
    let evaluation = Evaluation {
        parameters: model.config().parameters(),
        held_out,
        perplexity,
        occupations: pronouns(&model, &tokenizer, &corpus.train)?,
        conditioned: demonstration.map(|written| conditioned(&model, &tokenizer, written)).transpose()?,
    };
    file::write_json(&folder.join("evaluation.json"), &evaluation)?;
    Ok(evaluation)
}
