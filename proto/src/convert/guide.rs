//! Guides of generation and scoring.

use std::sync::Arc;

use lode_domain::guide::{Discriminator, Guide};

use super::BadField;
use crate::wire;

impl From<Guide> for wire::Guide {
    fn from(guide: Guide) -> Self {
        let of = Arc::unwrap_or_clone(guide.discriminator);
        Self {
            strength: guide.strength,
            candidates: guide.candidates,
            tokens: of.tokens,
            vectors: of.vectors,
            input: of.input,
            input_bias: of.input_bias,
            recurrent: of.recurrent,
            recurrent_bias: of.recurrent_bias,
            output: of.output,
            output_bias: of.output_bias,
        }
    }
}

impl TryFrom<wire::Guide> for Guide {
    type Error = BadField;

    fn try_from(guide: wire::Guide) -> Result<Self, BadField> {
        let discriminator = Discriminator {
            tokens: guide.tokens,
            vectors: guide.vectors,
            input: guide.input,
            input_bias: guide.input_bias,
            recurrent: guide.recurrent,
            recurrent_bias: guide.recurrent_bias,
            output: guide.output,
            output_bias: guide.output_bias,
        };
        let discriminator = Arc::new(discriminator);
        let guide = Self { discriminator, strength: guide.strength, candidates: guide.candidates };
        guide.check().map_err(|bad| BadField::new("guide", bad))?;
        Ok(guide)
    }
}
