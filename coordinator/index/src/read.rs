//! Reading a concept's expertise.

use lode_domain::{
    concept::ConceptId,
    expertise::{Column, ExpertiseBlock, Recipe, UnitExpertise},
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
        self.reading(key, self.entry(key)?, |entry| {
            let mut values = Vec::with_capacity(entry.header.units as usize);
            for block in 0..entry.header.units.div_ceil(BLOCK_UNITS) {
                self.store.read_block(key, entry, (column, block), &mut values)?;
            }
            Ok(values)
        })
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
        for (column, values) in Column::ALL.iter().zip(&mut columns) {
            let mut whole = Vec::with_capacity(BLOCK_UNITS as usize);
            self.read_block(key, entry, (*column, block), &mut whole)?;
            values.push(whole[place]);
        }
        Ok(ExpertiseBlock::from_columns(unit.0, columns).map(|block| block.unit(0)).unwrap_or_default())
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
