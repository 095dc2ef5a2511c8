//! How fast the forward passes are, measured before the worker registers: plans balance by it.

use std::time::Instant;

use lode_domain::pooling::{Pooling, Tokens};
use lode_model::{Model, ModelError, Prepared};

/// A few words that every tokenizer cuts into some tokens.
const TEXT: &str = "the quick brown fox jumps over the lazy dog and runs into the forest where it sleeps";

/// Tokens per second of a full batch.
///
/// # Errors
/// If the model cannot run.
pub(crate) fn measure(model: &Model) -> Result<f64, ModelError> {
    let Ok(sentence) = model.text().prepare(TEXT, Tokens::Own)? else {
        // A context too short for a few words belongs to no model that is worth measuring.
        return Ok(1.0);
    };
    let shape = model.batch_shape();
    let fitting = (shape.rows(sentence.len()) / sentence.len()).max(1);
    let batch: Vec<&Prepared> = vec![&sentence; fitting];
    let tokens = (fitting * sentence.len()) as f64;
    // The first run warms caches and thread pools up.
    let mut speed = 1.0;
    for _ in 0..2 {
        let started = Instant::now();
        model.responses(&batch, Pooling::Max)?;
        speed = tokens / started.elapsed().as_secs_f64().max(1e-6);
    }
    tracing::info!(tokens_per_second = speed.round(), "speed measured");
    Ok(speed)
}
