//! What can go wrong with an index, in words that say what to do.

use std::{error::Error, io, path::PathBuf};

use lode_domain::{
    concept::ConceptId,
    criterion::{Criteria, Criterion},
    expertise::{Column, Recipe},
    id::{ModelHash, ModelName},
    record::ConceptKey,
    unit::{BadUnitSpace, UnitId},
};

/// An index that cannot be opened, asked or written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The folder may not be read or written.
    #[error("no permission to keep an index in `{}`: {source}", path.display())]
    Permission {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process has the index open.
    #[error("the index in `{}` is open in another process: stop that one or use another folder", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds something else.
    #[error("`{}` is not a lode index: {why}; use an empty folder", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What was found there.
        why: String,
    },
    /// The index was written by another version.
    #[error(
        "the index in `{}` has format {found}, this program writes {expected}: use the lode version that wrote it, or \
         mine again into an empty folder",
        path.display()
    )]
    Format {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: String,
        /// Ours.
        expected: String,
    },
    /// No model of that name.
    #[error("no model `{name}` in the index{}", listed("; there is", known))]
    UnknownModel {
        /// As asked for.
        name: ModelName,
        /// Those there are.
        known: Vec<ModelName>,
    },
    /// No model of that content.
    #[error("no model with hash {} in the index: register it before its concepts", hash.short())]
    UnregisteredModel {
        /// As asked for.
        hash: ModelHash,
    },
    /// The model's layers cannot be numbered.
    #[error("model `{name}` cannot be indexed: {source}")]
    BadModel {
        /// The model.
        name: ModelName,
        /// What is wrong with the layers.
        source: BadUnitSpace,
    },
    /// The concept is not indexed for that model and recipe.
    #[error(transparent)]
    UnknownConcept(Box<UnknownConcept>),
    /// The model has fewer units.
    #[error("there is no unit {}: the model has {units}", unit.0)]
    UnknownUnit {
        /// As asked for.
        unit: UnitId,
        /// How many there are.
        units: u32,
    },
    /// Staged units that the model does not have.
    #[error("units {start} to {} of `{concept}` were staged, but the model has {units}", end - 1)]
    OutOfRange {
        /// The concept.
        concept: ConceptId,
        /// First unit.
        start: u64,
        /// One past the last unit.
        end: u64,
        /// How many there are.
        units: u32,
    },
    /// Staged units come with other columns than were announced.
    #[error("`{concept}` was staged with or without {column}, unlike what was announced")]
    OtherColumns {
        /// The concept.
        concept: ConceptId,
        /// The column.
        column: Column,
    },
    /// The concept was mined without a criterion that it is asked for.
    #[error(
        "concept `{concept}` was mined without {criterion}, with {measured}: mine it again with --criteria {measured},{criterion}"
    )]
    NotMeasured {
        /// The concept.
        concept: ConceptId,
        /// As asked for.
        criterion: Criterion,
        /// What it has.
        measured: Criteria,
    },
    /// A unit came twice.
    #[error("unit {unit} of `{concept}` was staged twice")]
    Twice {
        /// The concept.
        concept: ConceptId,
        /// The first such unit.
        unit: u32,
    },
    /// A value that is not a finite number.
    #[error("{column} of unit {unit} of `{concept}` is {value}, not a finite number")]
    BadValue {
        /// The concept.
        concept: ConceptId,
        /// The unit.
        unit: u32,
        /// The column.
        column: Column,
        /// The value.
        value: f32,
    },
    /// A concept was to be committed before it was whole.
    #[error("`{concept}` is not whole: {missing} of {units} units are missing, the first is unit {first}")]
    Incomplete {
        /// The concept.
        concept: ConceptId,
        /// How many units are missing.
        missing: u32,
        /// How many there are.
        units: u32,
        /// The first that is missing.
        first: u32,
    },
    /// A staging was used after one of its writes had failed.
    #[error("an earlier write of `{concept}` failed: stage it again")]
    Broken {
        /// The concept.
        concept: ConceptId,
    },
    /// Refused before writing, so that the disk never fills.
    #[error(
        "not enough space for `{concept}` in `{}`: {} MiB needed with a margin, {} MiB free",
        path.display(), needed.div_ceil(1 << 20), free >> 20
    )]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// The concept.
        concept: ConceptId,
        /// Bytes needed, margin included.
        needed: u64,
        /// Bytes free that no other staging has a claim to.
        free: u64,
    },
    /// The disk filled while writing. What was committed stays; the process must open the index anew to write again.
    #[error(
        "the disk with `{}` is full ({doing}): what was committed is safe; make room and start the coordinator again",
        path.display()
    )]
    DiskFull {
        /// The folder.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A stored value is damaged.
    #[error("`{key}` in `{tree}` of the index is damaged: {why}; {remedy}")]
    Corrupt {
        /// Which part of the index.
        tree: &'static str,
        /// Which value.
        key: String,
        /// How it is damaged.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The database holds fewer changes than were acknowledged. What it holds is whole.
    #[error(
        "the index in `{0}` lost the last {lost} of {acknowledged} acknowledged changes, for its file was damaged: restore \
         a copy of the folder, or delete `{0}/acknowledged` to go on with what is left, which is whole, and mine the rest again",
        path.display()
    )]
    Lost {
        /// The folder.
        path: PathBuf,
        /// How many changes are gone.
        lost: u64,
        /// How many there were.
        acknowledged: u64,
    },
    /// The system refused a read or write.
    #[error("the index in `{}` failed: {doing}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system or the store said.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// A concept that is not indexed, and what is.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.message())]
pub struct UnknownConcept {
    /// As asked for.
    pub key: ConceptKey,
    /// Recipes under which the concept is indexed for that model.
    pub recipes: Vec<Recipe>,
    /// Concepts of that model and recipe with similar names, the most similar first.
    pub similar: Vec<ConceptId>,
    /// How many concepts of that model and recipe are indexed.
    pub indexed: usize,
}

impl UnknownConcept {
    fn message(&self) -> String {
        // Who asks has named the model, by a name that the index does not know here.
        let ConceptKey { concept, recipe, .. } = &self.key;
        let what = format!("concept `{concept}` is not indexed for this model with recipe {recipe}");
        if !self.recipes.is_empty() {
            return format!("{what}{}", listed("; it is with recipe", &self.recipes));
        }
        if self.indexed == 0 {
            return format!("{what}: nothing is; mine it first");
        }
        if self.similar.is_empty() {
            return format!("{what}; {} others are", self.indexed);
        }
        format!("{what}; did you mean {}? ({} are indexed)", joined(&self.similar), self.indexed)
    }
}

fn joined(items: &[impl ToString]) -> String {
    items.iter().map(|item| format!("`{}`", item.to_string())).collect::<Vec<_>>().join(", ")
}

fn listed(lead: &str, items: &[impl ToString]) -> String {
    if items.is_empty() { ": there is none yet".to_owned() } else { format!("{lead} {}", joined(items)) }
}

/// Whether the system meant that there is no room; a file size limit and a quota count.
pub(crate) fn means_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
    matches!(error.kind(), StorageFull | FileTooLarge | QuotaExceeded | WriteZero)
}
