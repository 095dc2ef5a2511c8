//! The residual stream of a model: what it is after a block, and how it is moved there.

use anyhow::{Context as _, bail};
use lode_domain::{
    intervention::{Component, UnitRef},
    likelihood::{Passage, ScoredPassage},
    record::ModelRecord,
    unit::UnitId,
};

use super::writing::Writer;

/// Sentences of one request, and blocks of them together.
const CHUNK: usize = 512;

/// How many blocks a model has.
pub(super) fn blocks(model: &ModelRecord) -> u32 {
    model.layers.iter().filter_map(|layer| layer.name.block()).max().map_or(0, |last| last + 1)
}

/// Where something added moves the stream after a block by just that: the layer that writes to it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The layer's first unit.
    pub(super) first_unit: u32,
    /// Its units, one for each number of the stream.
    pub(super) width: usize,
}

impl Place {
    /// After `block`, which `flag` asked for.
    pub(super) fn after(model: &ModelRecord, (flag, block): (&str, u32)) -> anyhow::Result<Self> {
        let last = model.layers.iter().rposition(|layer| layer.name.block() == Some(block));
        let last = last.with_context(|| {
            format!("{flag} {block}: the model has blocks 0 to {}", blocks(model).saturating_sub(1))
        })?;
        let first_unit = model.layers[..last].iter().map(|layer| layer.units).sum();
        Ok(Self { first_unit, width: model.layers[last].units as usize })
    }

    /// What is added to the layer's outputs for a direction `[width]` of the stream.
    pub(super) fn components(self, direction: &[f32]) -> anyhow::Result<Vec<Component>> {
        if direction.len() != self.width {
            bail!(
                "the residual stream has {} numbers, and the layer that writes to it {}",
                direction.len(),
                self.width
            );
        }
        let component = |(unit, &amount): (u32, &f32)| Component { unit: UnitRef::Number(UnitId(unit)), amount };
        Ok((self.first_unit..).zip(direction).map(component).collect())
    }

    /// BLAKE3 of where is added and what.
    pub(super) fn hash(self, direction: &[f32]) -> String {
        let bytes: Vec<u8> = direction.iter().flat_map(|value| value.to_le_bytes()).collect();
        blake3::hash(&[&self.first_unit.to_le_bytes()[..], &bytes].concat()).to_hex().to_string()
    }
}

/// What the model makes of a sentence.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sentence {
    /// Token ids.
    pub(super) tokens: Vec<u32>,
    /// The mean of the stream over the tokens but the last, which is never run, after each block that was asked for, `[block, width]`;
    /// empty for a sentence of one token.
    pub(super) stream: Vec<f32>,
}

/// Reads texts with the model as it is. Empty ones, and those that do not fit the context, are left out, as mining does.
pub(super) async fn read(writer: &Writer, texts: &[String], blocks: &[u32]) -> anyhow::Result<Vec<Sentence>> {
    let passage = |text: &String| Passage { prompt: String::new(), continuations: vec![text.clone()] };
    let (mut found, mut refused) = (Vec::with_capacity(texts.len()), None);
    let mut keep = |scored: Vec<ScoredPassage>| {
        let sentences = scored.into_iter().flatten();
        found.extend(sentences.map(|one| Sentence { tokens: one.tokens, stream: one.residual }));
    };
    for some in texts.chunks((CHUNK / blocks.len().max(1)).max(1)) {
        if let Ok(scored) = writer.read(some.iter().map(passage).collect(), blocks).await {
            keep(scored);
            continue;
        }
        // One that cannot be read spoils the request: each by itself.
        for text in some {
            match writer.read(vec![passage(text)], blocks).await {
                Ok(scored) => keep(scored),
                Err(error) => refused = Some(error),
            }
        }
    }
    match refused {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use lode_domain::{
        id::ModelHash,
        unit::{Layer, LayerName},
    };

    use super::*;

    #[test]
    fn a_block_is_moved_where_its_last_layer_writes() {
        let layer = |(name, units): (&str, u32)| Layer { name: LayerName::new(name), units };
        let layers = [("h.0.attn", 6), ("h.0.mlp", 2), ("h.1.attn", 6), ("h.1.mlp", 2)].map(layer).to_vec();
        let model = ModelRecord {
            name: "m".parse().unwrap(),
            hash: ModelHash([0; 32]),
            family: "gpt2".into(),
            context_len: 8,
            layers,
        };
        let place = Place::after(&model, ("--block", 1)).unwrap();
        assert_eq!((blocks(&model), place), (2, Place { first_unit: 14, width: 2 }));
        let refused = Place::after(&model, ("--layers", 2)).unwrap_err().to_string();
        assert_eq!(refused, "--layers 2: the model has blocks 0 to 1");
        let added = place.components(&[0.5, -1.0]).unwrap();
        assert_eq!(added[1], Component { unit: UnitRef::Number(UnitId(15)), amount: -1.0 });
        assert!(place.components(&[0.5]).unwrap_err().to_string().contains("has 1 numbers"));
        assert_ne!(place.hash(&[0.5, 1.0]), Place { first_unit: 6, ..place }.hash(&[0.5, 1.0]));
    }
}
