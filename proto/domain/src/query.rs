//! Questions to the index and their answers.

use globset::Glob;

use crate::{
    concept::ConceptId,
    criterion::Criterion,
    event::JobSpec,
    expertise::{Extra, Recipe, UnitExpertise},
    id::ModelName,
    ranking::{falling, first_k, rising},
    record::{ConceptHeader, ModelRecord},
    unit::{UnitId, UnitName, UnitSpace},
};

/// Which expertise is meant: a concept's, in a model, under a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConceptRef {
    /// The model.
    pub model: ModelName,
    /// The concept.
    pub concept: ConceptId,
    /// How responses were taken.
    pub recipe: Recipe,
}

/// A unit with its expertise in one concept.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitRow {
    /// Its number.
    pub unit: UnitId,
    /// Its name.
    pub name: UnitName,
    /// Its expertise.
    pub expertise: UnitExpertise,
    /// What is kept of it beside; in lists of a concept's units only.
    pub extra: Extra,
}

/// Which units of a concept are listed.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TopQuery {
    /// By what they are ordered.
    pub criterion: Criterion,
    /// At most this many.
    pub top: u32,
    /// Only layers whose name fits this glob.
    pub layers: Option<String>,
    /// Only units with at least this AP.
    pub min_ap: Option<f32>,
    /// Lowest score first.
    pub bottom: bool,
}

/// A glob that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("`{glob}` is not a layer glob ({source}); for example '*.mlp.*' or 'transformer.h.{{0,1}}.*'")]
pub struct BadGlob {
    /// As given.
    pub glob: String,
    /// What is wrong with it.
    pub source: globset::Error,
}

impl TopQuery {
    /// The units asked for, in order, and how many fit the filters in all; `scores`, by which they are ordered, and `ap`
    /// are `[unit]`.
    ///
    /// # Errors
    /// If the glob cannot be read.
    pub fn select(&self, space: &UnitSpace, (scores, ap): (&[f32], &[f32])) -> Result<(Vec<UnitId>, u32), BadGlob> {
        let mut matching = 0;
        let fitting = (self.asked_layers(space)?.into_iter().zip(0..))
            .filter(|(is_asked, _)| *is_asked)
            .flat_map(|(_, layer)| space.range(layer))
            .filter(|&unit| self.has_ap(ap[unit]))
            .inspect(|_| matching += 1);
        let number = if self.bottom { rising } else { falling };
        let units = first_k(fitting.map(|unit| number(scores[unit], UnitId(unit as u32))), self.top as usize);
        Ok((units, matching))
    }

    /// What [`Self::select`] finds, where the first units in the order asked for are enough to know it: `first` are those of a
    /// concept by falling AP, or with [`Self::bottom`] by rising AP, ties in unit order. `None` if more may be needed.
    ///
    /// # Errors
    /// If the glob cannot be read.
    pub fn select_first(
        &self,
        space: &UnitSpace,
        first: &[(UnitId, f32)],
    ) -> Result<Option<(Vec<UnitId>, u32)>, BadGlob> {
        if self.criterion != Criterion::Ap {
            return Ok(None);
        }
        let asked = self.asked_layers(space)?;
        let is_asked = |&&(unit, _): &&(UnitId, f32)| asked[space.locate(unit).0];
        // AP runs one way: best first, those that have enough come before those that have not; worst first, after them.
        let (before, after) = first.split_at(first.partition_point(|&(_, ap)| self.has_ap(ap) != self.bottom));
        let is_last_seen = !after.is_empty() || first.len() == space.len();
        let in_layers = || (0..asked.len()).filter(|&layer| asked[layer]).map(|layer| space.range(layer).len()).sum();
        let (fitting, matching): (_, usize) = match (self.min_ap, self.bottom) {
            (None, _) => (first, in_layers()),
            (Some(_), _) if !is_last_seen => return Ok(None),
            (Some(_), false) => (before, before.iter().filter(is_asked).count()),
            (Some(_), true) => (after, in_layers() - before.iter().filter(is_asked).count()),
        };
        let wanted = matching.min(self.top as usize);
        let units: Vec<UnitId> = fitting.iter().filter(is_asked).map(|&(unit, _)| unit).take(wanted).collect();
        Ok(Some((units, matching as u32)).filter(|(units, _)| units.len() == wanted))
    }

    /// Which layers are asked for, `[layer]`.
    fn asked_layers(&self, space: &UnitSpace) -> Result<Vec<bool>, BadGlob> {
        let Some(glob) = &self.layers else { return Ok(vec![true; space.layers().len()]) };
        let parsed = Glob::new(glob).map_err(|source| BadGlob { glob: glob.clone(), source })?;
        let matcher = parsed.compile_matcher();
        Ok(space.layers().iter().map(|layer| matcher.is_match(layer.name.as_str())).collect())
    }

    fn has_ap(&self, ap: f32) -> bool {
        self.min_ap.is_none_or(|least| ap >= least)
    }
}

/// The units asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct TopUnits {
    /// In order.
    pub rows: Vec<UnitRow>,
    /// How many units fit the filters.
    pub matching: u32,
}

/// A unit in one of the concepts it was mined for.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitInConcept {
    /// The concept.
    pub concept: ConceptId,
    /// The unit.
    pub row: UnitRow,
}

/// Two concepts compared.
#[derive(Clone, Debug, PartialEq)]
pub struct OverlapAnswer {
    /// Experts of the first.
    pub first_experts: u32,
    /// Experts of the second.
    pub second_experts: u32,
    /// |A ∩ B| / |A ∪ B|.
    pub jaccard: f64,
    /// Pearson correlation of AP over all units.
    pub correlation: f64,
    /// Experts of both, by falling AP in the first: the unit in the first and in the second.
    pub shared: Vec<(UnitRow, UnitRow)>,
}

/// A concept near another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbour {
    /// The concept.
    pub concept: ConceptId,
    /// Experts of both.
    pub shared: u32,
    /// |A ∩ B| / |A ∪ B|.
    pub jaccard: f64,
    /// Pearson correlation of AP over all units.
    pub correlation: f64,
}

/// A mined concept in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct IndexedConcept {
    /// The concept.
    pub concept: ConceptId,
    /// How responses were taken.
    pub recipe: Recipe,
    /// What it rests on.
    pub header: ConceptHeader,
}

/// What stands before an export's blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct ExportHeader {
    /// The model.
    pub model: ModelRecord,
    /// The concept.
    pub concept: IndexedConcept,
}

impl ConceptRef {
    /// The expertise that a job makes of `concept`.
    pub fn of_job(spec: &JobSpec, concept: ConceptId) -> Self {
        Self { model: spec.model.clone(), concept, recipe: spec.recipe }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        intervention::Rank,
        ranking::ranked,
        unit::{Layer, LayerName},
    };

    proptest! {
        #[test]
        fn the_first_units_are_enough_or_said_not_to_be(
            values in prop::collection::vec(0u8..7, 3..40),
            (top, kept) in (0u32..45, 0u32..45),
            (least, glob) in (prop::option::of(0u8..8), prop::option::of(0usize..3)),
            bottom: bool,
        ) {
            let units = values.len() as u32;
            let layer = |name: &str, units| Layer { name: LayerName::new(name), units };
            let space = UnitSpace::new(vec![layer("h.0.a", 1), layer("h.0.b", units - 2), layer("h.1.a", 1)]).unwrap();
            let ap: Vec<f32> = values.iter().map(|&value| f32::from(value) / 8.0).collect();
            let layers = glob.map(|glob| ["*.a", "*.b", "lm_head"][glob].to_owned());
            let min_ap = least.map(|least| f32::from(least) / 8.0);
            let query = TopQuery { top, layers, min_ap, bottom, ..TopQuery::default() };
            let rank = if bottom { Rank::Bottom } else { Rank::Top };
            let first = match kept.min(units) {
                0 => Vec::new(),
                kept => ranked(&ap, kept, rank, 0).unwrap(),
            };
            let first: Vec<(UnitId, f32)> = first.into_iter().map(|unit| (unit, ap[unit.index()])).collect();
            let wanted = query.select(&space, (&ap, &ap)).unwrap();
            match query.select_first(&space, &first).unwrap() {
                Some(found) => prop_assert_eq!(found, wanted),
                None => prop_assert!(kept < units, "all units are enough"),
            }
            // What needs none of the others is found: the plain question as far as units are kept.
            if query.layers.is_none() && query.min_ap.is_none() && top <= kept.min(units) {
                prop_assert!(query.select_first(&space, &first).unwrap().is_some());
            }
        }
    }

    #[test]
    fn filters_come_before_the_top() {
        let layer = |name: &str| Layer { name: LayerName::new(name), units: 2 };
        let space = UnitSpace::new(vec![layer("h.0.attn"), layer("h.0.mlp"), layer("h.1.mlp")]).unwrap();
        let ap = [0.9, 0.8, 0.7, 0.2, 0.7, 0.1];
        let ask = |layers: Option<&str>, min_ap, bottom| {
            let query = TopQuery { top: 2, layers: layers.map(str::to_owned), min_ap, bottom, ..TopQuery::default() };
            let (units, matching) = query.select(&space, (&ap, &ap)).unwrap();
            (units.iter().map(|u| u.0).collect::<Vec<_>>(), matching)
        };
        assert_eq!(ask(None, None, false), (vec![0, 1], 6));
        assert_eq!(ask(Some("*.mlp"), None, false), (vec![2, 4], 4));
        assert_eq!(ask(Some("*.mlp"), Some(0.5), true), (vec![2, 4], 2));
        assert_eq!(ask(Some("*.{mlp,attn}"), None, true), (vec![5, 3], 6));
        assert_eq!(ask(Some("lm_head"), None, false), (vec![], 0));
        let by_d = TopQuery { top: 2, min_ap: Some(0.5), ..TopQuery::default() };
        let found = by_d.select(&space, (&[-1.0, 0.5, 0.25, 9.0, 0.5, 8.0], &ap)).unwrap();
        assert_eq!(found, (vec![UnitId(1), UnitId(4)], 4), "AP filters, the criterion orders");
        let bad = TopQuery { top: 1, layers: Some("[".into()), ..TopQuery::default() };
        assert!(bad.select(&space, (&ap, &ap)).unwrap_err().to_string().contains("`[` is not a layer glob"));
    }
}
