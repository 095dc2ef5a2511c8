//! Keys as bytes, so that byte order is the order wanted.

use lode_domain::{
    concept::ConceptId,
    expertise::{Column, Recipe},
    id::ModelHash,
    record::ConceptKey,
};

use crate::codec::Damage;

/// `[model: 32][group]\0[name]\0[recipe]`: ordered by concept, then recipe; ids hold no control characters.
pub(crate) fn concept(key: &ConceptKey) -> Vec<u8> {
    let mut bytes = key.model.0.to_vec();
    bytes.extend_from_slice(key.concept.group().as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(key.concept.name().as_bytes());
    bytes.push(0);
    bytes.extend_from_slice(key.recipe.to_string().as_bytes());
    bytes
}

/// The inverse of [`concept`].
pub(crate) fn parse_concept(bytes: &[u8]) -> Result<ConceptKey, Damage> {
    let bad = || Damage::Content("its key is not a concept's".to_owned());
    let (model, rest) = bytes.split_first_chunk::<32>().ok_or_else(bad)?;
    let text = std::str::from_utf8(rest).map_err(|_| bad())?;
    let mut parts = text.split('\0');
    let (Some(group), Some(name), Some(recipe), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(bad());
    };
    let (pooling, tokens) = recipe.split_once('-').ok_or_else(bad)?;
    let recipe = Recipe { pooling: pooling.parse().map_err(|_| bad())?, tokens: tokens.parse().map_err(|_| bad())? };
    Ok(ConceptKey { model: ModelHash(*model), concept: ConceptId::new(group, name).map_err(|_| bad())?, recipe })
}

/// One stretch of one column of one staged concept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockKey {
    /// The staging that wrote it.
    pub slot: u64,
    /// Which column.
    pub column: Column,
    /// Number of the block within the column.
    pub block: u32,
}

impl BlockKey {
    /// `[slot: 8][part: 1][block: 4][column: 1]`, big-endian. Part 0 is `ap`: all of it stands together, for rankings
    /// read only that. Part 1 are the other columns that every concept has: those of a unit stand side by side, for they are
    /// read together. A column that a concept has beside them is a part of its own, for it is ranked by too.
    pub fn bytes(self) -> [u8; 14] {
        let mut bytes = [0; 14];
        bytes[..8].copy_from_slice(&self.slot.to_be_bytes());
        bytes[8] = match self.column {
            Column::Ap => 0,
            Column::OnMean | Column::OnP50 | Column::OnP90 | Column::OffMean => 1,
            extra => extra as u8,
        };
        bytes[9..13].copy_from_slice(&self.block.to_be_bytes());
        bytes[13] = self.column as u8;
        bytes
    }

    /// The slot of a block's key.
    pub fn slot_of(bytes: &[u8]) -> Option<u64> {
        bytes.first_chunk().map(|slot| u64::from_be_bytes(*slot))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> ConceptKey {
        ConceptKey { model: ModelHash([7; 32]), concept: text.parse().unwrap(), recipe: Recipe::default() }
    }

    proptest! {
        #[test]
        fn concept_keys_round_trip_and_keep_the_order(a in "[a-z][a-z -.]{0,6}/[a-z][a-z -.]{0,6}", b in "[a-z][a-z -.]{0,6}/[a-z][a-z -.]{0,6}") {
            let (a, b) = (key(&a), key(&b));
            prop_assert_eq!(parse_concept(&concept(&a)), Ok(a.clone()));
            prop_assert_eq!(concept(&a).cmp(&concept(&b)), a.concept.cmp(&b.concept));
        }

        #[test]
        fn no_bytes_panic_the_parser(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse_concept(&bytes);
        }
    }
}
