//! Exports: a concept's whole expertise in the reference's row order.

pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod parquet;
#[cfg(test)]
mod tests;

use std::{
    fs::{File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use anyhow::Context as _;
use lode_domain::{
    expertise::{ExpertiseBlock, UnitExpertise},
    query::ExportHeader,
    unit::{LayerName, UnitSpace},
};

/// A concept's expertise, whole.
pub(crate) struct Expertise {
    pub(crate) header: ExportHeader,
    /// The reference's: hook points are named as TensorFlow names outputs.
    space: UnitSpace,
    /// `[unit]`.
    units: Vec<UnitExpertise>,
}

/// One row of an export.
pub(crate) struct Row<'e> {
    /// The row's number, from 0.
    pub(crate) uuid: u32,
    pub(crate) layer: &'e LayerName,
    /// Index within the layer.
    pub(crate) unit: u32,
    pub(crate) expertise: UnitExpertise,
}

impl Row<'_> {
    /// The layer as the reference writes it.
    pub(crate) fn layer(&self) -> String {
        format!("{}:0", self.layer)
    }
}

impl Expertise {
    /// Puts an export's blocks together.
    pub(crate) fn new(header: ExportHeader, blocks: Vec<ExpertiseBlock>) -> anyhow::Result<Self> {
        let space = header.model.unit_space()?;
        let mut units = Vec::with_capacity(space.len());
        for block in &blocks {
            anyhow::ensure!(block.start as usize == units.len(), "the export has a gap at unit {}", units.len());
            units.extend((0..block.len()).map(|place| block.unit(place)));
        }
        anyhow::ensure!(units.len() == space.len(), "the export has {} of {} units", units.len(), space.len());
        Ok(Self { header, space, units })
    }

    /// How many units there are.
    pub(crate) fn len(&self) -> usize {
        self.units.len()
    }

    /// All rows: layers by name as strings, units of a layer by index.
    pub(crate) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let mut order: Vec<usize> = (0..self.space.layers().len()).collect();
        order.sort_by_key(|&layer| &self.space.layers()[layer].name);
        let units = order.into_iter().flat_map(|number| {
            let layer = &self.space.layers()[number].name;
            (0..).zip(&self.units[self.space.range(number)]).map(move |(unit, expertise)| (layer, unit, *expertise))
        });
        (0..).zip(units).map(|(uuid, (layer, unit, expertise))| Row { uuid, layer, unit, expertise })
    }
}

/// Writes a file that appears when it is complete: a failure leaves what was there before.
///
/// A link is followed; what is there and is no regular file (a pipe, /dev/null) is written into and stays what it is.
pub(crate) fn whole_file(path: &Path, write: impl FnOnce(&mut File) -> anyhow::Result<()>) -> anyhow::Result<()> {
    anyhow::ensure!(!path.is_dir(), "{} is a folder: give a file", path.display());
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let path = target.as_path();
    if path.exists() && !path.is_file() {
        let mut file =
            File::options().write(true).open(path).with_context(|| format!("cannot open {}", path.display()))?;
        return write(&mut file).with_context(|| format!("cannot write {}", path.display()));
    }
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let written = || -> anyhow::Result<()> {
        // Readable as any new file is, as far as the user's umask lets it.
        let mut builder = tempfile::Builder::new();
        builder.prefix(".lode-export-").permissions(Permissions::from_mode(0o666));
        let mut file = builder.tempfile_in(folder)?;
        write(file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|failed| failed.error)?;
        Ok(())
    };
    written().with_context(|| format!("cannot write {}", path.display()))
}

/// The io error within, so that a closed pipe is seen as such.
fn of_csv(error: ::csv::Error) -> anyhow::Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(error) => error.into(),
        other => io::Error::other(format!("{other:?}")).into(),
    }
}
