//! Questions to the index and their answers.

use globset::Glob;

use crate::{
    compare::Experts,
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
        let matcher = match &self.layers {
            None => None,
            Some(glob) => match Glob::new(glob) {
                Ok(parsed) => Some(parsed.compile_matcher()),
                Err(source) => return Err(BadGlob { glob: glob.clone(), source }),
            },
        };
        let mut matching = 0;
        let fitting = (0..space.layers().len())
            .filter(|&layer| matcher.as_ref().is_none_or(|m| m.is_match(space.layers()[layer].name.as_str())))
            .flat_map(|layer| space.range(layer))
            .filter(|&unit| self.min_ap.is_none_or(|least| ap[unit] >= least))
            .inspect(|_| matching += 1);
        let number = if self.bottom { rising } else { falling };
        let units = first_k(fitting.map(|unit| number(scores[unit], UnitId(unit as u32))), self.top as usize);
        Ok((units, matching))
    }

    /// What [`Self::select`] finds, where a concept's best units are enough to know it: `leading` are the first of the
    /// model's `units` units by falling AP, ties in unit order.
    pub fn select_leading(&self, leading: &[(UnitId, f32)], units: u32) -> Option<(Vec<UnitId>, u32)> {
        if self.layers.is_some() || self.bottom || self.criterion != Criterion::Ap {
            return None;
        }
        let matching = match self.min_ap {
            None => units,
            Some(least) => Experts::MinAp(least).leading(leading, units).ok()?? as u32,
        };
        let wanted = self.top.min(matching) as usize;
        Some((leading.get(..wanted)?.iter().map(|&(unit, _)| unit).collect(), matching))
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
    use super::*;
    use crate::unit::{Layer, LayerName};

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
