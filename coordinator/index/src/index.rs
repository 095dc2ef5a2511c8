//! The index: models, concepts, and the way in.

use std::{path::Path, sync::Arc};

use lode_domain::{
    criterion::Measures,
    id::{ModelHash, ModelName},
    record::{ConceptHeader, ConceptKey, ModelRecord},
};
use serde::{Deserialize, Serialize};

use crate::{
    IndexError, Staging,
    codec::{Damage, unseal},
    derived::{Thread, Unreadable, catch_up},
    error::UnknownConcept,
    key,
    store::{Entry, Store, parse},
};

/// The expertise of every unit in every concept that was mined, by model.
///
/// Clones share one database. Every call may wait for the disk: async code calls from `spawn_blocking`.
#[derive(Clone)]
pub struct Index {
    pub(crate) store: Arc<Store>,
    /// Last, for its thread keeps the store open.
    _thread: Arc<Thread>,
}

/// Bytes of memory for pages of the database that were read or written. The system's file cache stands behind it, and derived copies
/// do without.
pub const DEFAULT_CACHE: u64 = 64 << 20;

/// What stands under a model's hash: the record but for the hash itself.
#[derive(Serialize, Deserialize)]
struct StoredModel {
    name: ModelName,
    family: String,
    context_len: u32,
    layers: Vec<lode_domain::unit::Layer>,
}

/// See [`Index::edition`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edition(u64, u64);

impl Index {
    /// Opens the index in `dir`, and creates folder and index where there is none. Removes what stagings left behind that were
    /// never committed.
    ///
    /// # Errors
    /// [`IndexError::Permission`], [`IndexError::Locked`], [`IndexError::Foreign`], [`IndexError::Format`],
    /// [`IndexError::Lost`], [`IndexError::Corrupt`], or the store's.
    pub fn open(dir: &Path) -> Result<Self, IndexError> {
        Self::open_with_cache(dir, DEFAULT_CACHE)
    }

    /// The same with `cache` bytes for pages of the database instead of [`DEFAULT_CACHE`].
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_with_cache(dir: &Path, cache: u64) -> Result<Self, IndexError> {
        Self::over(Store::open(dir, cache)?)
    }

    pub(crate) fn over(store: Store) -> Result<Self, IndexError> {
        let store = Arc::new(store);
        let thread = Arc::new(Thread::start(store.clone())?);
        Ok(Self { store, _thread: thread })
    }

    /// Returns when all derived copies are written that would be written in time by themselves.
    ///
    /// # Errors
    /// If one cannot be written; questions are answered without it, slower.
    pub fn catch_up(&self) -> Result<(), IndexError> {
        catch_up(&self.store, &mut Unreadable::new())
    }

    /// Makes a model known under its name and hash. The latest record of a name or a hash counts; several names may share a hash.
    /// Concepts stay under the hash that they were mined with.
    ///
    /// # Errors
    /// If its layers cannot be numbered, or the store fails.
    pub fn put_model(&self, record: &ModelRecord) -> Result<(), IndexError> {
        record.unit_space().map_err(|source| IndexError::BadModel { name: record.name.clone(), source })?;
        let ModelRecord { name, hash, family, context_len, layers } = record.clone();
        let stored = StoredModel { name: name.clone(), family, context_len, layers };
        let payload = serde_json::to_vec(&stored)
            .map_err(|error| self.store.models.damaged(&hash.0, &Damage::Content(error.to_string())))?;
        self.store.models.put(&self.store.path, &hash.0, &payload)?;
        self.store.names.put(&self.store.path, name.as_str().as_bytes(), &hash.0)?;
        self.store.acknowledge()
    }

    /// All models that have a name, by name; a model with two names comes twice.
    ///
    /// # Errors
    /// If the store fails.
    pub fn models(&self) -> Result<Vec<ModelRecord>, IndexError> {
        let names = &self.store.names;
        names
            .scan(&self.store.path, &[])
            .map(|item| {
                let (key, value) = item?;
                let damaged = |damage: &Damage| names.damaged(&key, damage);
                let text = std::str::from_utf8(&key).map_err(|error| damaged(&Damage::Content(error.to_string())))?;
                let name: ModelName = text.parse().map_err(|_| damaged(&Damage::Content("not a name".to_owned())))?;
                let payload = unseal(&key, &value).map_err(|damage| damaged(&damage))?;
                let hash: [u8; 32] =
                    payload.try_into().map_err(|_| damaged(&Damage::Content("not a hash".to_owned())))?;
                let record = self.model(ModelHash(hash))?;
                let record = record.ok_or_else(|| damaged(&Damage::Content("its model is not there".to_owned())))?;
                Ok(ModelRecord { name, ..record })
            })
            .collect()
    }

    /// A model by its content, under the name it was last registered with.
    ///
    /// # Errors
    /// If the store fails.
    pub fn model(&self, hash: ModelHash) -> Result<Option<ModelRecord>, IndexError> {
        let Some(payload) = self.store.models.get(&self.store.path, &hash.0)? else { return Ok(None) };
        let stored: StoredModel = parse(&payload).map_err(|damage| self.store.models.damaged(&hash.0, &damage))?;
        let StoredModel { name, family, context_len, layers } = stored;
        Ok(Some(ModelRecord { name, hash, family, context_len, layers }))
    }

    /// A model by its name.
    ///
    /// # Errors
    /// [`IndexError::UnknownModel`], which lists the names there are, or the store's.
    pub fn model_named(&self, name: &ModelName) -> Result<ModelRecord, IndexError> {
        let models = self.models()?;
        models.iter().find(|record| record.name == *name).cloned().ok_or_else(|| IndexError::UnknownModel {
            name: name.clone(),
            known: models.into_iter().map(|record| record.name).collect(),
        })
    }

    /// Begins to take in a concept's expertise. What is indexed under the key stays until the commit.
    ///
    /// # Errors
    /// If the model is not registered, the disk has no room for the concept, or the store fails.
    pub fn stage(&self, key: &ConceptKey) -> Result<Staging, IndexError> {
        self.stage_measured(key, Measures::default())
    }

    /// The same for expertise that comes with the columns of `measures` beside those that every concept has.
    ///
    /// # Errors
    /// As [`Self::stage`].
    pub fn stage_measured(&self, key: &ConceptKey, measures: Measures) -> Result<Staging, IndexError> {
        let model = self.model(key.model)?.ok_or(IndexError::UnregisteredModel { hash: key.model })?;
        Staging::new(self.store.clone(), key.clone(), (model.units(), measures))
    }

    /// All concepts of a model, by concept, then recipe.
    ///
    /// # Errors
    /// If an entry is damaged or the store fails.
    pub fn concepts(&self, model: ModelHash) -> Result<Vec<(ConceptKey, ConceptHeader)>, IndexError> {
        self.store.entries(model).map(|item| item.map(|(key, entry)| (key, entry.header))).collect()
    }

    /// How a concept's expertise came about.
    ///
    /// # Errors
    /// [`IndexError::UnknownConcept`], which says what is near, or the store's.
    pub fn header(&self, key: &ConceptKey) -> Result<ConceptHeader, IndexError> {
        Ok(self.entry(key)?.header)
    }

    /// What a concept's expertise is told by from what stands, stood or will stand under the same key: it changes whenever the
    /// concept is committed.
    ///
    /// # Errors
    /// [`IndexError::UnknownConcept`], which says what is near, or the store's.
    pub fn edition(&self, key: &ConceptKey) -> Result<Edition, IndexError> {
        let entry = self.entry(key)?;
        Ok(Edition(entry.slot, entry.stamp))
    }

    /// Takes a concept out; `false` if it was not in.
    ///
    /// # Errors
    /// If the store fails.
    pub fn remove(&self, key: &ConceptKey) -> Result<bool, IndexError> {
        let bytes = key::concept(key);
        let removed = self.store.concepts.remove(&self.store.path, &bytes);
        self.store.listings.changed();
        let Some(removed) = removed? else { return Ok(false) };
        self.store.acknowledge()?;
        // A damaged entry does not say where its blocks are: the next opening finds them.
        if let Ok(entry) = unseal(&bytes, &removed).and_then(parse::<Entry>) {
            let ConceptHeader { units, measures, .. } = entry.header;
            self.store.remove_blocks(entry.slot, units, measures.columns())?;
        }
        self.store.derived.tell(|signal| signal.work = true);
        Ok(true)
    }

    /// Bytes that the index takes on disk.
    ///
    /// # Errors
    /// If the store fails.
    pub fn size_on_disk(&self) -> Result<u64, IndexError> {
        self.store.size_on_disk()
    }

    /// Returns when everything written so far would survive a power cut. Commits and registrations need no flush.
    ///
    /// # Errors
    /// If the store fails.
    pub fn flush(&self) -> Result<(), IndexError> {
        self.store.flush()
    }

    pub(crate) fn entry(&self, key: &ConceptKey) -> Result<Entry, IndexError> {
        match self.store.entry(key)? {
            Some(entry) => Ok(entry),
            None => Err(self.unknown(key)?),
        }
    }

    fn unknown(&self, key: &ConceptKey) -> Result<IndexError, IndexError> {
        let (mut recipes, mut others) = (Vec::new(), Vec::new());
        for item in self.store.entries(key.model) {
            let (found, _) = item?;
            if found.concept == key.concept {
                recipes.push(found.recipe);
            }
            if found.recipe == key.recipe {
                others.push(found.concept);
            }
        }
        let indexed = others.len();
        let similar = crate::similar::nearest(&key.concept, others);
        Ok(IndexError::UnknownConcept(Box::new(UnknownConcept { key: key.clone(), recipes, similar, indexed })))
    }
}
