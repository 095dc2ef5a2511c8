//! Where things are in a segment's file.
//!
//! `[row of unit 0][row of unit 1]…[ap of member 0]…[sketch of member 0]…[leading of member 0]…[trailing of member 0]…[header]
//! [header's length: 4]`.
//! Each is followed by its checksum: `[crc32 of segment number, offset, bytes: 4]`; the header is sealed as the index's values
//! are. All numbers are little-endian.

use lode_domain::{compare::Moments, sketch::Sketch};

use super::LEADING;
use crate::codec::Damage;

pub(crate) const CHECKSUM: usize = 4;
/// Five values.
pub(crate) const CELL: usize = 20;
/// A unit and its five values.
pub(crate) const LEADER: usize = 24;

/// Of this layout. The one before had no word for its version, and one word less in its header.
const VERSION: u64 = 2;

/// Under which key the header is sealed.
pub(crate) const HEADER: &[u8] = b"lode-index segment";

/// A part of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// All members' values of a unit: `[member][column]`.
    Row(u32),
    /// A member's AP, `[unit]`.
    Ap(usize),
    /// A member's sketch, `[unit]`.
    Sketch(usize),
    /// A member's best units by falling AP: `[rank](unit, [column])`.
    Leading(usize),
    /// Its worst by rising AP, in the same form.
    Trailing(usize),
}

/// What a segment says about itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    /// Drawn for each segment, so that no two share checksums.
    pub number: u64,
    /// Units of the model.
    pub units: u32,
    pub members: Vec<Record>,
}

/// What a segment knows of a member.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Record {
    pub slot: u64,
    pub stamp: u64,
    pub moments: Moments,
    pub sketch: Sketch,
}

impl Header {
    /// Where a part begins, and how many bytes it has before its checksum.
    pub fn find(&self, part: Part) -> (u64, usize) {
        let (units, members) = (self.units as usize, self.members.len());
        let extreme = LEADER * self.leading();
        let sizes = [CELL * members, 4 * units, units, extreme, extreme];
        let counts = [units, members, members, members];
        let (kind, number) = match part {
            Part::Row(unit) => (0, unit as usize),
            Part::Ap(member) => (1, member),
            Part::Sketch(member) => (2, member),
            Part::Leading(member) => (3, member),
            Part::Trailing(member) => (4, member),
        };
        let before: usize = (0..kind).map(|kind| (sizes[kind] + CHECKSUM) * counts[kind]).sum();
        ((before + number * (sizes[kind] + CHECKSUM)) as u64, sizes[kind])
    }

    /// How many best units a member has in the segment, and how many worst ones.
    pub fn leading(&self) -> usize {
        self.units.min(LEADING) as usize
    }

    /// Where the header itself begins.
    pub fn end(&self) -> u64 {
        self.find(Part::Trailing(self.members.len())).0
    }

    /// What follows a part.
    pub fn checksum(&self, offset: u64, bytes: &[u8]) -> [u8; CHECKSUM] {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.number.to_le_bytes());
        hasher.update(&offset.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize().to_le_bytes()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let record = |r: &Record| {
            let Moments { mean, squares } = r.moments;
            let Sketch { offset, step, error } = r.sketch;
            let floats = [mean, squares, offset, step, error].map(f64::to_bits);
            [r.slot, r.stamp].into_iter().chain(floats)
        };
        let words = [self.number, u64::from(self.units), u64::from(LEADING), VERSION];
        words.into_iter().chain(self.members.iter().flat_map(record)).flat_map(u64::to_le_bytes).collect()
    }

    pub fn parse(bytes: &[u8]) -> Result<Self, Damage> {
        let bad = || Damage::Content("its header is malformed, or of another version".to_owned());
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|&word| u64::from_le_bytes(word)).collect();
        let (&[number, units, leading, version], records) = words.split_first_chunk::<4>().ok_or_else(bad)?;
        let (records, more) = records.as_chunks::<7>();
        if (leading, version) != (u64::from(LEADING), VERSION)
            || records.is_empty()
            || !rest.is_empty()
            || !more.is_empty()
        {
            return Err(bad());
        }
        let record = |&[slot, stamp, rest @ ..]: &[u64; 7]| {
            let [mean, squares, offset, step, error] = rest.map(f64::from_bits);
            Record { slot, stamp, moments: Moments { mean, squares }, sketch: Sketch { offset, step, error } }
        };
        let units = units.try_into().map_err(|_| bad())?;
        Ok(Self { number, units, members: records.iter().map(record).collect() })
    }
}
