//! What is kept of a model and of a mined concept.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    closer::Details,
    concept::ConceptId,
    criterion::Measures,
    expertise::Recipe,
    id::{ModelHash, ModelName},
    lint::Finding,
    unit::{BadUnitSpace, Layer, UnitSpace},
};

/// A model that was mined or can be: its name, its content and its units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRecord {
    /// What users call it.
    pub name: ModelName,
    /// Its content; the index is keyed by it.
    pub hash: ModelHash,
    /// The architecture as `config.json` names it: `gpt2`.
    pub family: String,
    /// Longest input in tokens.
    pub context_len: u32,
    /// Hook points in forward order.
    pub layers: Vec<Layer>,
}

impl ModelRecord {
    /// The numbering of the model's units.
    ///
    /// # Errors
    /// If the layers cannot be numbered.
    pub fn unit_space(&self) -> Result<UnitSpace, BadUnitSpace> {
        UnitSpace::new(self.layers.clone())
    }

    /// How many units the model has.
    pub fn units(&self) -> u32 {
        self.layers.iter().map(|layer| layer.units).sum()
    }
}

/// Under what a concept's expertise stands in the index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConceptKey {
    /// The model that was mined.
    pub model: ModelHash,
    /// The concept.
    pub concept: ConceptId,
    /// How responses were taken.
    pub recipe: Recipe,
}

impl fmt::Display for ConceptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, model {})", self.concept, self.recipe, self.model.short())
    }
}

fn is_nothing(held_out: &(u32, u32)) -> bool {
    *held_out == (0, 0)
}

/// How a concept's expertise came about.
///
/// Exports show it, and equal runs give byte-identical exports: nothing here may differ between equal runs (no times, no
/// worker names).
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ConceptHeader {
    /// Positive sentences scored.
    pub positives: u32,
    /// Negative sentences scored.
    pub negatives: u32,
    /// What was found in the sentence set.
    pub findings: Vec<Finding>,
    /// The float type that the model computed in: `f32`.
    pub precision: String,
    /// At most that many sentences of each class were drawn.
    pub limit_per_class: u32,
    /// Seed of the draw.
    pub seed: u64,
    /// Units scored: all of the model; the index fills it in.
    pub units: u32,
    /// Positive and negative sentences held out.
    #[serde(skip_serializing_if = "is_nothing")]
    pub held_out: (u32, u32),
    /// What was measured beside AP.
    #[serde(skip_serializing_if = "Measures::is_plain")]
    pub measures: Measures,
    /// What a closer look at leading units found.
    #[serde(skip_serializing_if = "Details::is_empty")]
    pub details: Details,
}
