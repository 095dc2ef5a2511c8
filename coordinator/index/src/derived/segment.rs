//! A segment that is read.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use lode_domain::{
    expertise::{Column, UnitExpertise},
    unit::UnitId,
};

use super::layout::{CELL, CHECKSUM, HEADER, Header, LEADER, Part};
use crate::codec::{Damage, bytes_to_floats, unseal};

/// An open segment. It can be read after its file was removed.
pub(crate) struct Segment {
    pub path: PathBuf,
    pub header: Header,
    file: File,
}

/// All members' values of one unit.
pub(crate) struct Row(Vec<u8>);

impl Row {
    /// Those of one member.
    pub fn of(&self, place: usize) -> UnitExpertise {
        expertise(&self.0[CELL * place..])
    }
}

impl Segment {
    /// Opens a whole segment. Only its header is read, and checked.
    pub fn open(path: &Path) -> Result<Self, Damage> {
        let file = File::open(path).map_err(unreadable)?;
        expect_leaps(&file, path);
        let len = file.metadata().map_err(unreadable)?.len();
        let short = || Damage::Content(format!("it is cut off after {len} bytes"));
        let tail = len.checked_sub(4).ok_or_else(short)?;
        let header_len = u64::from(u32::from_le_bytes(read(&file, tail, 4)?.try_into().map_err(|_| short())?));
        let start = tail.checked_sub(header_len).ok_or_else(short)?;
        let header = Header::parse(unseal(HEADER, &read(&file, start, header_len as usize)?)?)?;
        if header.end() != start {
            return Err(short());
        }
        Ok(Self { path: path.to_owned(), header, file })
    }

    pub fn row(&self, unit: UnitId) -> Result<Row, Damage> {
        self.read(Part::Row(unit.0)).map(Row)
    }

    pub fn ap(&self, place: usize) -> Result<Vec<f32>, Damage> {
        let mut values = Vec::with_capacity(self.header.units as usize);
        bytes_to_floats(&self.read(Part::Ap(place))?, self.header.units as usize, &mut values)?;
        Ok(values)
    }

    pub fn sketch(&self, place: usize) -> Result<Vec<u8>, Damage> {
        self.read(Part::Sketch(place))
    }

    /// A member's best units by falling AP or its worst by rising AP, ties in unit order.
    pub fn extreme(&self, part: Part) -> Result<Vec<(UnitId, UnitExpertise)>, Damage> {
        let bytes = self.read(part)?;
        Ok(bytes.chunks_exact(LEADER).map(|b| (UnitId(number(b)), expertise(&b[4..]))).collect())
    }

    fn read(&self, part: Part) -> Result<Vec<u8>, Damage> {
        let (offset, len) = self.header.find(part);
        let mut bytes = read(&self.file, offset, len + CHECKSUM)?;
        let stored = bytes.split_off(len);
        if stored != self.header.checksum(offset, &bytes) { Err(Damage::Checksum) } else { Ok(bytes) }
    }
}

/// Tells the system that what is read next lies elsewhere. Reading ahead, by megabytes where the disk is set up so, would keep the
/// disk from what the question reads.
#[cfg(target_os = "linux")]
fn expect_leaps(file: &File, path: &Path) {
    if let Err(error) = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random) {
        tracing::debug!(path = %path.display(), %error, "the system takes no advice on how a derived copy is read");
    }
}

/// Other systems are not told.
#[cfg(not(target_os = "linux"))]
fn expect_leaps(_: &File, _: &Path) {}

fn read(file: &File, offset: u64, len: usize) -> Result<Vec<u8>, Damage> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset).map_err(unreadable)?;
    Ok(bytes)
}

pub(crate) fn unreadable(error: std::io::Error) -> Damage {
    Damage::Content(format!("it cannot be read: {error}"))
}

fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The five values that `bytes` begins with.
fn expertise(bytes: &[u8]) -> UnitExpertise {
    let value = |column: Column| f32::from_bits(number(&bytes[4 * column as usize..]));
    UnitExpertise {
        ap: value(Column::Ap),
        on_mean: value(Column::OnMean),
        on_p50: value(Column::OnP50),
        on_p90: value(Column::OnP90),
        off_mean: value(Column::OffMean),
    }
}
