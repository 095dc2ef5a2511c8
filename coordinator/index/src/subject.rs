//! One concept of a question: what is known of it, from its derived copy or from its blocks.

use std::{borrow::Cow, collections::HashMap};

use lode_domain::{
    compare::{Experts, Moments},
    criterion::Criterion,
    expertise::{Column, UnitExpertise},
    record::ConceptKey,
    unit::UnitId,
};

use rayon::prelude::*;

use crate::{Index, IndexError, codec::Damage, derived::Member, query::QueryError, store::Entry};

/// A concept by its entry, and its place among the derived copies if it has one.
pub(crate) struct Subject<'a> {
    index: &'a Index,
    key: &'a ConceptKey,
    entry: &'a Entry,
    member: Option<Member>,
}

impl<'a> Subject<'a> {
    pub fn new(index: &'a Index, key: &'a ConceptKey, entry: &'a Entry) -> Self {
        Self { index, key, entry, member: index.store.derived.places().find(entry) }
    }

    pub fn units(&self) -> u32 {
        self.entry.header.units
    }

    /// AP, `[unit]`.
    pub fn ap(&self) -> Result<Vec<f32>, IndexError> {
        if let Some(ap) = self.derived(Member::ap) {
            return Ok(ap);
        }
        self.index.store.read_column(self.key, self.entry, Column::Ap)
    }

    /// Its scores by a criterion, `[unit]`.
    pub fn scores(&self, criterion: Criterion) -> Result<Vec<f32>, IndexError> {
        self.index.store.read_scores(self.key, self.entry, criterion)
    }

    /// The moments of its AP.
    pub fn moments(&self, ap: &[f32]) -> Moments {
        self.member.as_ref().map_or_else(|| Moments::of(ap), Member::moments)
    }

    /// Its best units by falling AP, ties in unit order, if they are kept.
    pub fn leading(&self) -> Option<Vec<(UnitId, UnitExpertise)>> {
        self.derived(Member::leading)
    }

    /// Its worst units by rising AP, ties in unit order, if they are kept.
    pub fn trailing(&self) -> Option<Vec<(UnitId, UnitExpertise)>> {
        self.derived(Member::trailing)
    }

    /// What a derived copy says. One that is damaged is given up.
    pub fn derived<T>(&self, read: impl FnOnce(&Member) -> Result<T, Damage>) -> Option<T> {
        let member = self.member.as_ref()?;
        match read(member) {
            Ok(found) => Some(found),
            Err(damage) => {
                self.index.store.derived.discard(&member.segment, &damage.to_string());
                None
            }
        }
    }

    /// Its experts by falling AP, from its best units if those are enough, else from `ap`.
    pub fn experts<'b>(
        &self,
        experts: Experts,
        leading: &[(UnitId, UnitExpertise)],
        ap: impl FnOnce() -> Result<Cow<'b, [f32]>, IndexError>,
    ) -> Result<Vec<UnitId>, QueryError> {
        let pairs: Vec<(UnitId, f32)> = leading.iter().map(|(unit, all)| (*unit, all.ap)).collect();
        match experts.leading(&pairs, self.units())? {
            Some(count) => Ok(pairs[..count].iter().map(|&(unit, _)| unit).collect()),
            None => Ok(experts.of(&ap()?)?),
        }
    }

    /// The expertise of units, in the order given; of some it is `kept`.
    pub fn rows(&self, units: &[UnitId], kept: &[(UnitId, UnitExpertise)]) -> Result<Vec<UnitExpertise>, IndexError> {
        let known: HashMap<UnitId, UnitExpertise> = kept.iter().copied().collect();
        let derived = &self.index.store.derived;
        let row = |unit: &UnitId| match known.get(unit).copied().or_else(|| self.derived(|member| member.row(*unit))) {
            Some(found) => Ok(found),
            None => self.index.store.read_unit(self.key, self.entry, *unit),
        };
        if units.iter().all(|unit| known.contains_key(unit)) {
            return units.iter().map(row).collect();
        }
        derived.at_once(|| units.par_iter().map(row).collect())
    }
}
