//! Writing segments.

use std::{
    collections::{BTreeMap, HashSet},
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
};

use lode_domain::{
    compare::Moments, expertise::Column, intervention::Rank, ranking::ranked, record::ConceptKey, sketch::Sketch,
    unit::UnitId,
};

use super::{
    layout::{HEADER, Header, LEADER, Part, Record},
    segment::Segment,
};
use crate::{
    IndexError,
    codec::{floats_to_bytes, seal, unseal},
    key,
    open::refused,
    store::{BLOCK_UNITS, Entry, Store, parse},
};

/// Slots and stamps of concepts whose blocks could not be read: removed meanwhile, or damaged.
pub(crate) type Unreadable = HashSet<(u64, u64)>;

/// How a segment came out.
enum Built {
    Whole(Segment),
    /// A member's blocks cannot be read.
    Without(Entry),
    Stopped,
}

/// Writes segments until fewer than enough concepts are in none, the disk has no room, or the store is being closed.
pub(crate) fn catch_up(store: &Store, unreadable: &mut Unreadable) -> Result<(), IndexError> {
    let _alone = store.derived.building.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    while let Some(members) = waiting(store, unreadable)? {
        let size = size(&members);
        if !store.has_room(size)? {
            tracing::warn!(size, "no room for a derived copy: questions are answered from the blocks, slower");
            return Ok(());
        }
        match build(store, &members)? {
            Built::Whole(segment) => store.derived.add(segment),
            Built::Without(entry) => drop(unreadable.insert((entry.slot, entry.stamp))),
            Built::Stopped => return Ok(()),
        }
    }
    Ok(())
}

/// The longest waiting concepts for a segment, if there are enough of one kind. Gives up segments that are mostly dead first.
fn waiting(store: &Store, unreadable: &Unreadable) -> Result<Option<Vec<(ConceptKey, Entry)>>, IndexError> {
    let mut entries = Vec::new();
    for item in store.concepts.scan(&store.path, &[]) {
        let (bytes, value) = item?;
        // Who asks for a damaged entry is told.
        if let (Ok(key), Ok(entry)) = (key::parse_concept(&bytes), unseal(&bytes, &value).and_then(parse::<Entry>)) {
            entries.push((key, entry));
        }
    }
    store.derived.collect(&entries.iter().map(|(_, entry)| (entry.slot, entry.stamp)).collect());
    let places = store.derived.places();
    let mut kinds: BTreeMap<_, Vec<(ConceptKey, Entry)>> = BTreeMap::new();
    for (key, entry) in entries {
        let known = places.find(&entry).is_some() || unreadable.contains(&(entry.slot, entry.stamp));
        if entry.stamp != 0 && entry.header.units > 0 && !known {
            let kind = (key.model.0, key.recipe.to_string(), entry.header.units);
            kinds.entry(kind).or_default().push((key, entry));
        }
    }
    let enough = store.derived.members;
    let mut longest = kinds.into_values().filter(|members| members.len() >= enough).max_by_key(Vec::len);
    if let Some(members) = &mut longest {
        members.sort_by_key(|(_, entry)| entry.slot);
        members.truncate(enough);
    }
    Ok(longest)
}

/// Bytes of a segment of these members.
fn size(members: &[(ConceptKey, Entry)]) -> u64 {
    let units = members.first().map_or(0, |(_, entry)| u64::from(entry.header.units));
    // Five values in the row, one more of AP, a byte of the sketch; the rest is small, whatever the model.
    members.len() as u64 * (25 * units + (64 << 10)) + 4 * units
}

fn build(store: &Store, members: &[(ConceptKey, Entry)]) -> Result<Built, IndexError> {
    let number: u64 = rand::random();
    let part = store.derived.folder.join(format!("{number:016x}.part"));
    let built = write(store, members, number, &part);
    match &built {
        Ok(Built::Whole(_)) => {}
        _ => drop(fs::remove_file(&part)),
    }
    built
}

fn write(store: &Store, members: &[(ConceptKey, Entry)], number: u64, part: &Path) -> Result<Built, IndexError> {
    let units = members.first().map_or(0, |(_, entry)| entry.header.units);
    let blank = Record {
        slot: 0,
        stamp: 0,
        moments: Moments { mean: 0.0, squares: 0.0 },
        sketch: Sketch { offset: 0.0, step: 0.0, error: 0.0 },
    };
    let header = Header { number, units, members: vec![blank; members.len()] };
    let failed = |error| refused(&store.path, "writing a derived copy", error);
    let file = File::create(part).map_err(failed)?;
    let mut draft = Draft { store, members, header, file, extremes: Vec::new() };
    for (place, (_, entry)) in members.iter().enumerate() {
        if store.derived.stopped() {
            return Ok(Built::Stopped);
        }
        if !draft.column(place)? {
            return Ok(Built::Without(entry.clone()));
        }
    }
    for block in 0..units.div_ceil(BLOCK_UNITS) {
        if store.derived.stopped() {
            return Ok(Built::Stopped);
        }
        if let Some(place) = draft.rows(block)? {
            return Ok(Built::Without(members[place].1.clone()));
        }
    }
    draft.finish()?;
    let path = part.with_extension("segment");
    fs::rename(part, &path).map_err(failed)?;
    match Segment::open(&path) {
        Ok(segment) => Ok(Built::Whole(segment)),
        Err(damage) => Err(failed(std::io::Error::other(damage.to_string()))),
    }
}

/// A member's best or worst units, of which the values come block by block.
struct Extreme {
    part: Part,
    /// In unit order, each with its rank.
    ranks: Vec<(UnitId, usize)>,
    bytes: Vec<u8>,
}

impl Extreme {
    fn new(part: Part, ranked: Vec<UnitId>) -> Self {
        let bytes = vec![0; LEADER * ranked.len()];
        let mut ranks: Vec<(UnitId, usize)> = ranked.into_iter().zip(0..).collect();
        ranks.sort_unstable();
        Self { part, ranks, bytes }
    }

    /// Takes what it needs of a block of units that begins with `first`: its columns, `[column][unit]`.
    fn take(&mut self, first: u32, columns: &[Vec<f32>]) {
        let from = self.ranks.partition_point(|(unit, _)| unit.0 < first);
        let count = columns.first().map_or(0, Vec::len) as u32;
        let here = self.ranks[from..].iter().take_while(|(unit, _)| unit.0 < first + count);
        for &(unit, rank) in here {
            let leader = &mut self.bytes[LEADER * rank..][..LEADER];
            leader[..4].copy_from_slice(&unit.0.to_le_bytes());
            for (bytes, values) in leader[4..].chunks_exact_mut(4).zip(columns) {
                bytes.copy_from_slice(&values[(unit.0 - first) as usize].to_le_bytes());
            }
        }
    }
}

/// A segment that is being written. Beside the file it takes 20 bytes for every unit of a block and member, and what a column
/// takes: 1.3 MB and, with 414,720 units, 6 MB.
struct Draft<'a> {
    store: &'a Store,
    members: &'a [(ConceptKey, Entry)],
    header: Header,
    file: File,
    /// Of each member two.
    extremes: Vec<Extreme>,
}

impl Draft<'_> {
    /// Writes what follows from a member's AP; `false` if that cannot be read.
    fn column(&mut self, place: usize) -> Result<bool, IndexError> {
        let (key, entry) = &self.members[place];
        let mut ap = Vec::with_capacity(self.header.units as usize);
        for block in 0..self.header.units.div_ceil(BLOCK_UNITS) {
            match self.store.read_block(key, entry, (Column::Ap, block), &mut ap) {
                Err(IndexError::Corrupt { .. }) => return Ok(false),
                read => read?,
            }
        }
        let moments = Moments::of(&ap);
        let (sketch, bytes) = Sketch::of(&ap, &moments);
        self.header.members[place] = Record { slot: entry.slot, stamp: entry.stamp, moments, sketch };
        self.put(Part::Ap(place), &floats_to_bytes(&ap))?;
        self.put(Part::Sketch(place), &bytes)?;
        for (part, rank) in [(Part::Leading(place), Rank::Top), (Part::Trailing(place), Rank::Bottom)] {
            let units = ranked(&ap, self.header.leading() as u32, rank, 0).unwrap_or_default();
            self.extremes.push(Extreme::new(part, units));
        }
        Ok(true)
    }

    /// Writes the rows of a block of units, and notes those of best and worst units; the member whose blocks cannot be read, if there is one.
    fn rows(&mut self, block: u32) -> Result<Option<usize>, IndexError> {
        let mut columns: Vec<Vec<f32>> = Vec::with_capacity(5 * self.members.len());
        for (place, (key, entry)) in self.members.iter().enumerate() {
            for column in Column::BASE {
                let mut values = Vec::with_capacity(BLOCK_UNITS as usize);
                match self.store.read_block(key, entry, (column, block), &mut values) {
                    Err(IndexError::Corrupt { .. }) => return Ok(Some(place)),
                    read => read?,
                }
                columns.push(values);
            }
        }
        let first = block * BLOCK_UNITS;
        let count = (self.header.units - first).min(BLOCK_UNITS);
        let mut bytes = Vec::with_capacity((count as usize) * (20 * self.members.len() + 4));
        for unit in 0..count {
            let start = bytes.len();
            columns.iter().for_each(|values| bytes.extend_from_slice(&values[unit as usize].to_le_bytes()));
            let (offset, _) = self.header.find(Part::Row(first + unit));
            let checksum = self.header.checksum(offset, &bytes[start..]);
            bytes.extend_from_slice(&checksum);
        }
        self.write_at(self.header.find(Part::Row(first)).0, &bytes)?;
        for (extremes, columns) in self.extremes.chunks_exact_mut(2).zip(columns.chunks_exact(5)) {
            extremes.iter_mut().for_each(|extreme| extreme.take(first, columns));
        }
        Ok(None)
    }

    fn finish(self) -> Result<(), IndexError> {
        for extreme in &self.extremes {
            self.put(extreme.part, &extreme.bytes)?;
        }
        let mut sealed = seal(HEADER, &self.header.bytes());
        let len = sealed.len() as u32;
        sealed.extend_from_slice(&len.to_le_bytes());
        self.write_at(self.header.end(), &sealed)
    }

    fn put(&self, part: Part, bytes: &[u8]) -> Result<(), IndexError> {
        let (offset, len) = self.header.find(part);
        debug_assert_eq!(len, bytes.len(), "{part:?} is whole");
        self.write_at(offset, bytes)?;
        self.write_at(offset + bytes.len() as u64, &self.header.checksum(offset, bytes))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), IndexError> {
        let written = self.file.write_all_at(bytes, offset);
        written.map_err(|error| refused(&self.store.path, "writing a derived copy", error))
    }
}
