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
    criterion::{Criterion, Measures},
    expertise::{ExpertiseBlock, Extra, UnitExpertise},
    query::ExportHeader,
    unit::{LayerName, UnitId, UnitSpace},
};

/// A concept's expertise, whole.
pub(crate) struct Expertise {
    pub(crate) header: ExportHeader,
    /// The reference's: hook points are named as TensorFlow names outputs.
    space: UnitSpace,
    /// `[unit]`.
    units: Vec<(UnitExpertise, Extra)>,
}

/// One row of an export.
pub(crate) struct Row<'e> {
    /// The row's number, from 0.
    pub(crate) uuid: u32,
    pub(crate) layer: &'e LayerName,
    /// Index within the layer.
    pub(crate) unit: u32,
    pub(crate) expertise: UnitExpertise,
    /// What the concept was mined with beside.
    pub(crate) extra: Extra,
}

/// A column that not every concept has.
pub(crate) struct ExtraField {
    pub(crate) name: &'static str,
    pub(crate) value: fn(&Extra) -> Option<f32>,
    /// Whether all units have it.
    pub(crate) is_whole: bool,
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
            for place in 0..block.len() {
                let mut extra = block.extra(place);
                header.concept.header.details.tell(UnitId(units.len() as u32), &mut extra);
                units.push((block.unit(place), extra));
            }
        }
        anyhow::ensure!(units.len() == space.len(), "the export has {} of {} units", units.len(), space.len());
        Ok(Self { header, space, units })
    }

    /// What the concept was mined with beside the columns of every concept, in order: an export has it last.
    pub(crate) fn extra_fields(&self) -> Vec<ExtraField> {
        let Measures { criteria, holdout, intervals } = self.header.concept.header.measures;
        let field = |name, value| ExtraField { name, value, is_whole: true };
        let leading = |name, value| ExtraField { name, value, is_whole: false };
        let all = [
            (criteria.contains(Criterion::Auroc), field("auroc", |extra| extra.auroc)),
            (criteria.contains(Criterion::CohensD), field("cohens_d", |extra| extra.cohens_d)),
            (criteria.contains(Criterion::L1), field("l1", |extra| extra.l1)),
            (holdout.is_some(), field("held_out_ap", |extra| extra.held_out_ap)),
            (intervals.is_some(), leading("ap_low", |extra| extra.ap_interval.map(|(low, _)| low))),
            (intervals.is_some(), leading("ap_high", |extra| extra.ap_interval.map(|(_, high)| high))),
        ];
        all.into_iter().filter(|(is_kept, _)| *is_kept).map(|(_, field)| field).collect()
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
            (0..).zip(&self.units[self.space.range(number)]).map(move |(unit, values)| (layer, unit, *values))
        });
        let row = |(uuid, (layer, unit, (expertise, extra)))| Row { uuid, layer, unit, expertise, extra };
        (0..).zip(units).map(row)
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
