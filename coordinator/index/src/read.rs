//! Reading a concept's expertise.

use lode_domain::{
    concept::ConceptId,
    criterion::Criterion,
    expertise::{Column, ExpertiseBlock, Extra, Recipe, UnitExpertise},
    id::ModelHash,
    record::ConceptKey,
    unit::UnitId,
};

use crate::{
    Index, IndexError,
    codec::bytes_to_floats,
    key::BlockKey,
    store::{BLOCK_UNITS, Entry, Store},
};

impl Index {
    /// One column over the whole model, `[unit]`.
    ///
    /// # Errors
    /// [`IndexError::UnknownConcept`], [`IndexError::Corrupt`], or the store's.
    pub fn column(&self, key: &ConceptKey, column: Column) -> Result<Vec<f32>, IndexError> {
        self.reading(key, self.entry(key)?, |entry| self.store.read_column(key, entry, column))
    }

    /// The scores of all units by a criterion, `[unit]`.
    ///
    /// # Errors
    /// [`IndexError::UnknownConcept`], [`IndexError::NotMeasured`], [`IndexError::Corrupt`], or the store's.
    pub fn scores(&self, key: &ConceptKey, criterion: Criterion) -> Result<Vec<f32>, IndexError> {
        self.reading(key, self.entry(key)?, |entry| self.store.read_scores(key, entry, criterion))
    }

    /// The expertise of one unit.
    ///
    /// # Errors
    /// [`IndexError::UnknownConcept`], [`IndexError::UnknownUnit`], [`IndexError::Corrupt`], or the store's.
    pub fn unit(&self, key: &ConceptKey, unit: UnitId) -> Result<UnitExpertise, IndexError> {
        self.reading(key, self.entry(key)?, |entry| self.store.read_unit(key, entry, unit))
    }

    /// The expertise of one unit in every concept that is indexed for the model under the recipe, by concept.
    ///
    /// # Errors
    /// [`IndexError::UnknownUnit`], [`IndexError::Corrupt`], or the store's.
    pub fn unit_everywhere(
        &self,
        model: ModelHash,
        recipe: Recipe,
        unit: UnitId,
    ) -> Result<Vec<(ConceptId, UnitExpertise)>, IndexError> {
        let places = self.store.derived.places();
        let listing = self.store.listing(model)?;
        let listed = listing.iter().filter(|(key, _)| key.recipe == recipe);
        let listed: Vec<_> = listed.map(|(key, entry)| (key, entry, places.find(entry))).collect();
        let rows = self.store.derived.rows(unit, listed.iter().filter_map(|(_, _, member)| member.as_ref()));
        let mut found = Vec::with_capacity(listed.len());
        for (key, entry, member) in listed {
            if let Some(expertise) = member.and_then(|member| rows.of(&member)) {
                found.push((key.concept.clone(), expertise));
                continue;
            }
            match self.reading(key, entry.clone(), |entry| self.store.read_unit(key, entry, unit)) {
                Ok(expertise) => found.push((key.concept.clone(), expertise)),
                // Removed since the listing.
                Err(IndexError::UnknownConcept(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Reads through an entry; if that fails because the concept was replaced meanwhile, reads what replaced it.
    pub(crate) fn reading<T>(
        &self,
        key: &ConceptKey,
        mut entry: Entry,
        read: impl Fn(&Entry) -> Result<T, IndexError>,
    ) -> Result<T, IndexError> {
        loop {
            let error = match read(&entry) {
                Err(error @ IndexError::Corrupt { .. }) => error,
                done => return done,
            };
            let now = self.entry(key)?;
            if now.slot == entry.slot {
                return Err(error);
            }
            entry = now;
        }
    }
}

impl Store {
    /// The expertise of one unit, from the blocks that an entry names.
    pub(crate) fn read_unit(&self, key: &ConceptKey, entry: &Entry, unit: UnitId) -> Result<UnitExpertise, IndexError> {
        let units = entry.header.units;
        if unit.0 >= units {
            return Err(IndexError::UnknownUnit { unit, units });
        }
        let (block, place) = (unit.0 / BLOCK_UNITS, (unit.0 % BLOCK_UNITS) as usize);
        let mut columns: [Vec<f32>; 5] = std::array::from_fn(|_| Vec::new());
        for (column, values) in Column::BASE.iter().zip(&mut columns) {
            let mut whole = Vec::with_capacity(BLOCK_UNITS as usize);
            self.read_block(key, entry, (*column, block), &mut whole)?;
            values.push(whole[place]);
        }
        Ok(ExpertiseBlock::from_columns(unit.0, columns).map(|block| block.unit(0)).unwrap_or_default())
    }

    /// One column over the whole model, `[unit]`.
    pub(crate) fn read_column(&self, key: &ConceptKey, entry: &Entry, column: Column) -> Result<Vec<f32>, IndexError> {
        let units = entry.header.units;
        let mut values = Vec::with_capacity(units as usize);
        for block in 0..units.div_ceil(BLOCK_UNITS) {
            self.read_block(key, entry, (column, block), &mut values)?;
        }
        Ok(values)
    }

    /// The scores by a criterion, `[unit]`.
    pub(crate) fn read_scores(
        &self,
        key: &ConceptKey,
        entry: &Entry,
        criterion: Criterion,
    ) -> Result<Vec<f32>, IndexError> {
        let measured = entry.header.measures.criteria;
        if !measured.contains(criterion) {
            return Err(IndexError::NotMeasured { concept: key.concept.clone(), criterion, measured });
        }
        match criterion.column() {
            Some(column) => self.read_column(key, entry, column),
            None => {
                let mut weights = vec![0.0; entry.header.units as usize];
                let chosen = entry.header.details.l1.iter().flat_map(|fit| &fit.weights);
                for &(unit, weight) in chosen {
                    // What a worker says is not to be trusted with a place.
                    if let Some(place) = weights.get_mut(unit.index()) {
                        *place = weight;
                    }
                }
                Ok(weights)
            }
        }
    }

    /// What is kept of units beside their expertise, in the order given.
    pub(crate) fn read_extra(
        &self,
        key: &ConceptKey,
        entry: &Entry,
        units: &[UnitId],
    ) -> Result<Vec<Extra>, IndexError> {
        let mut found = vec![Extra::default(); units.len()];
        for column in entry.header.measures.columns() {
            // A column is read as fast as a few dozen of its values.
            let values = self.read_column(key, entry, column)?;
            units.iter().zip(&mut found).for_each(|(unit, extra)| extra.set(column, values[unit.index()]));
        }
        units.iter().zip(&mut found).for_each(|(unit, extra)| entry.header.details.tell(*unit, extra));
        Ok(found)
    }

    /// Appends the values of one block: a column and a number.
    pub(crate) fn read_block(
        &self,
        key: &ConceptKey,
        entry: &Entry,
        (column, block): (Column, u32),
        into: &mut Vec<f32>,
    ) -> Result<(), IndexError> {
        let blocks = &self.blocks;
        // Damage is told by the concept's name, which a block's own key does not have.
        let damaged = |why: String| IndexError::Corrupt {
            tree: blocks.name,
            key: format!("{key}, {column}, block {block}"),
            why,
            remedy: blocks.remedy,
        };
        let bytes = BlockKey { slot: entry.slot, column, block }.bytes();
        let payload = match blocks.get(&self.path, &bytes) {
            Err(IndexError::Corrupt { why, .. }) => return Err(damaged(why)),
            payload => payload?.ok_or_else(|| damaged("it is not there".to_owned()))?,
        };
        let units = (entry.header.units - block * BLOCK_UNITS).min(BLOCK_UNITS) as usize;
        bytes_to_floats(&payload, units, into).map_err(|damage| damaged(damage.to_string()))
    }
}
