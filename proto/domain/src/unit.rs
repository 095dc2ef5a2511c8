//! Units and their names: one scalar output of a linear map inside a transformer block.

use std::{fmt, ops::Range, str::FromStr, sync::Arc};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

/// The name of a hook point, spelled as Hugging Face spells the module: `transformer.h.3.mlp.c_fc`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerName(Arc<str>);

impl LayerName {
    /// Wraps a module name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name as Hugging Face spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of the transformer block: the first all-digit component (`3` in `transformer.h.3.mlp.c_fc`).
    pub fn block(&self) -> Option<u32> {
        self.0.split('.').find_map(|part| part.parse().ok())
    }

    /// What is left after the block number: `mlp.c_fc`, the same for every block of a model.
    pub fn kind(&self) -> &str {
        let mut rest: &str = &self.0;
        while let Some((head, tail)) = rest.split_once('.') {
            if head.parse::<u32>().is_ok() {
                return tail;
            }
            rest = tail;
        }
        &self.0
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A hook point and how many units it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Module name.
    pub name: LayerName,
    /// Width of the linear's output.
    pub units: u32,
}

/// A unit by name: `transformer.h.3.mlp.c_fc[1187]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitName {
    /// The hook point.
    pub layer: LayerName,
    /// Index into the linear's output.
    pub index: u32,
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.layer, self.index)
    }
}

/// A text that is not a unit's name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a unit: write LAYER[INDEX], for example transformer.h.3.mlp.c_fc[1187]")]
pub struct BadUnitName {
    /// The text as given.
    pub text: String,
}

impl FromStr for UnitName {
    type Err = BadUnitName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || BadUnitName { text: text.to_owned() };
        let (layer, rest) = text.split_once('[').ok_or_else(bad)?;
        let digits = rest.strip_suffix(']').ok_or_else(bad)?;
        if layer.is_empty() || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad());
        }
        let index = digits.parse().map_err(|_| bad())?;
        Ok(Self { layer: LayerName::new(layer), index })
    }
}

/// A unit by number: its place among all units of a model, layers in forward order, then index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnitId(pub u32);

impl UnitId {
    /// The number as an index into `[unit]` arrays.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The name of a unit that a model does not have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UnknownUnit {
    /// No hook point of that name.
    #[error("the model has no layer `{layer}`; its first is `{first}`, its last `{last}`")]
    Layer {
        /// As asked for.
        layer: LayerName,
        /// First hook point in forward order.
        first: LayerName,
        /// Last hook point in forward order.
        last: LayerName,
    },
    /// The layer is there but is not that wide.
    #[error("layer `{layer}` has {units} units, 0 to {}: there is no unit {index}", units - 1)]
    Index {
        /// The hook point.
        layer: LayerName,
        /// As asked for.
        index: u32,
        /// Width of the layer.
        units: u32,
    },
}

/// A list of layers that cannot be a unit space.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadUnitSpace {
    /// No layers, or one without units.
    #[error("a model needs at least one layer, and every layer at least one unit")]
    Empty,
    /// The same name twice.
    #[error("layer `{0}` is named twice")]
    Duplicate(LayerName),
    /// More units than a `u32` can number.
    #[error("more than 2^32 units")]
    TooLarge,
}

/// All units of a model: its hook points in forward order, and the numbering over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitSpace {
    layers: Vec<Layer>,
    /// `starts[i]` is the first unit of layer `i`; one more entry holds the total.
    starts: Vec<u32>,
    by_name: FxHashMap<LayerName, usize>,
}

impl UnitSpace {
    /// Numbers the units of `layers`, which stand in forward order.
    ///
    /// # Errors
    /// If there is nothing to number, a name comes twice, or the total does not fit.
    pub fn new(layers: Vec<Layer>) -> Result<Self, BadUnitSpace> {
        if layers.is_empty() || layers.iter().any(|layer| layer.units == 0) {
            return Err(BadUnitSpace::Empty);
        }
        let mut starts = vec![0u32];
        let mut by_name = FxHashMap::default();
        let mut total = 0u32;
        for (position, layer) in layers.iter().enumerate() {
            total = total.checked_add(layer.units).ok_or(BadUnitSpace::TooLarge)?;
            starts.push(total);
            if by_name.insert(layer.name.clone(), position).is_some() {
                return Err(BadUnitSpace::Duplicate(layer.name.clone()));
            }
        }
        Ok(Self { layers, starts, by_name })
    }

    /// The hook points in forward order.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Number of units over all layers.
    pub fn len(&self) -> usize {
        self.starts[self.layers.len()] as usize
    }

    /// Never true: a unit space has at least one unit.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The units of layer number `layer`, as a range of unit numbers.
    pub fn range(&self, layer: usize) -> Range<usize> {
        self.starts[layer] as usize..self.starts[layer + 1] as usize
    }

    /// Layer number and index within the layer.
    ///
    /// # Panics
    /// If `unit` is not below [`Self::len`].
    pub fn locate(&self, unit: UnitId) -> (usize, u32) {
        assert!(unit.index() < self.len(), "unit {} of {}", unit.0, self.len());
        let layer = self.starts.partition_point(|&start| start <= unit.0) - 1;
        (layer, unit.0 - self.starts[layer])
    }

    /// The name of a unit.
    ///
    /// # Panics
    /// If `unit` is not below [`Self::len`].
    pub fn name(&self, unit: UnitId) -> UnitName {
        let (layer, index) = self.locate(unit);
        UnitName { layer: self.layers[layer].name.clone(), index }
    }

    /// The number of a unit.
    ///
    /// # Errors
    /// If the model has no such layer, or the layer no such index.
    pub fn find(&self, name: &UnitName) -> Result<UnitId, UnknownUnit> {
        let Some(&layer) = self.by_name.get(&name.layer) else {
            return Err(UnknownUnit::Layer {
                layer: name.layer.clone(),
                first: self.layers[0].name.clone(),
                last: self.layers[self.layers.len() - 1].name.clone(),
            });
        };
        let units = self.layers[layer].units;
        if name.index >= units {
            return Err(UnknownUnit::Index { layer: name.layer.clone(), index: name.index, units });
        }
        Ok(UnitId(self.starts[layer] + name.index))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn space(widths: &[u32]) -> UnitSpace {
        let layers = widths
            .iter()
            .enumerate()
            .map(|(i, &units)| Layer { name: LayerName::new(format!("transformer.h.{i}.mlp.c_fc")), units })
            .collect();
        UnitSpace::new(layers).unwrap()
    }

    proptest! {
        #[test]
        fn every_unit_name_round_trips(widths in prop::collection::vec(1u32..40, 1..8)) {
            let space = space(&widths);
            for number in 0..space.len() as u32 {
                let name = space.name(UnitId(number));
                prop_assert_eq!(space.find(&name), Ok(UnitId(number)));
                prop_assert_eq!(name.to_string().parse::<UnitName>(), Ok(name));
            }
        }

        #[test]
        fn no_text_panics_the_parser(text in ".{0,40}") {
            if let Ok(name) = text.parse::<UnitName>() {
                prop_assert_eq!(name.to_string().parse::<UnitName>(), Ok(name));
            }
        }
    }

    #[test]
    fn names_that_are_not_units_are_refused() {
        for text in ["", "mlp", "mlp[", "mlp[]", "mlp[x]", "[3]", "mlp[-1]", "mlp[+1]", "mlp[99999999999]", "mlp[1]x"] {
            assert!(text.parse::<UnitName>().is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_units_say_what_there_is() {
        let space = space(&[4, 6]);
        let layer = space.find(&"lm_head[0]".parse().unwrap()).unwrap_err();
        assert!(layer.to_string().contains("its last `transformer.h.1.mlp.c_fc`"), "{layer}");
        let index = space.find(&"transformer.h.1.mlp.c_fc[6]".parse().unwrap()).unwrap_err();
        assert!(index.to_string().contains("has 6 units, 0 to 5"), "{index}");
    }

    #[test]
    fn layer_names_split_into_block_and_kind() {
        let name = LayerName::new("gpt_neox.layers.11.attention.query_key_value");
        assert_eq!((name.block(), name.kind()), (Some(11), "attention.query_key_value"));
    }
}
