//! Which segments there are, and who is in them.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock},
};

use lode_domain::{compare::Moments, expertise::UnitExpertise, sketch::Sketch, unit::UnitId};
use rayon::prelude::*;

use super::{
    FOLDER, MEMBERS,
    layout::{Part, Record},
    segment::{Row, Segment},
};
use crate::{IndexError, codec::Damage, open::refused, store::Entry};

/// The segments of an index.
pub(crate) struct Derived {
    pub folder: PathBuf,
    /// Concepts in a segment.
    pub members: usize,
    places: RwLock<Arc<Places>>,
    /// One builds at a time.
    pub building: Mutex<()>,
    signal: Mutex<Signal>,
    changed: Condvar,
    readers: OnceLock<Option<rayon::ThreadPool>>,
}

/// Reads under way at once. A disk answers many in the time of one, however few the cores are.
const READERS: usize = 8;

/// What the thread that writes segments is told.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) struct Signal {
    pub work: bool,
    pub stop: bool,
}

/// Segments at one moment.
#[derive(Default)]
pub(crate) struct Places {
    pub segments: Vec<Arc<Segment>>,
    /// By slot and stamp: which segment, and which of its members.
    members: HashMap<(u64, u64), (usize, usize)>,
}

impl Places {
    fn new(segments: Vec<Arc<Segment>>) -> Self {
        let name = |(number, segment): (usize, &Arc<Segment>)| {
            let places = segment.header.members.iter().enumerate();
            places.map(|(place, r)| ((r.slot, r.stamp), (number, place))).collect::<Vec<_>>()
        };
        let members = segments.iter().enumerate().flat_map(name).collect();
        Self { segments, members }
    }

    /// A concept's place, if a segment has it.
    pub fn find(&self, entry: &Entry) -> Option<Member> {
        let &(number, place) = self.members.get(&(entry.slot, entry.stamp)).filter(|_| entry.stamp != 0)?;
        let segment = self.segments.get(number)?;
        (segment.header.units == entry.header.units).then(|| Member { segment: segment.clone(), place })
    }
}

/// A concept in a segment.
#[derive(Clone)]
pub(crate) struct Member {
    pub segment: Arc<Segment>,
    pub place: usize,
}

impl Member {
    pub fn row(&self, unit: UnitId) -> Result<UnitExpertise, Damage> {
        self.segment.row(unit).map(|row: Row| row.of(self.place))
    }

    pub fn ap(&self) -> Result<Vec<f32>, Damage> {
        self.segment.ap(self.place)
    }

    pub fn sketch_bytes(&self) -> Result<Vec<u8>, Damage> {
        self.segment.sketch(self.place)
    }

    pub fn leading(&self) -> Result<Vec<(UnitId, UnitExpertise)>, Damage> {
        self.segment.extreme(Part::Leading(self.place))
    }

    pub fn trailing(&self) -> Result<Vec<(UnitId, UnitExpertise)>, Damage> {
        self.segment.extreme(Part::Trailing(self.place))
    }

    pub fn moments(&self) -> Moments {
        self.record().moments
    }

    pub fn sketch(&self) -> Sketch {
        self.record().sketch
    }

    fn record(&self) -> &Record {
        &self.segment.header.members[self.place]
    }
}

/// One unit's rows, by segment.
pub(crate) struct Rows(HashMap<u64, Row>);

impl Rows {
    /// The unit in a member; `None` if the segment does not have it or is damaged.
    pub fn of(&self, member: &Member) -> Option<UnitExpertise> {
        self.0.get(&member.segment.header.number).map(|row| row.of(member.place))
    }
}

impl Derived {
    /// Opens what segments there are in an index's folder; removes parts, and what is no segment any more.
    pub fn open(index: &Path) -> Result<Self, IndexError> {
        let folder = index.join(FOLDER);
        let failed = |error| refused(index, "opening the derived copies", error);
        fs::create_dir_all(&folder).map_err(failed)?;
        let mut segments = Vec::new();
        for file in fs::read_dir(&folder).map_err(failed)? {
            let path = file.map_err(failed)?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("segment") => match Segment::open(&path) {
                    Ok(segment) => segments.push(Arc::new(segment)),
                    Err(damage) => drop_file(&path, &damage.to_string()),
                },
                Some("part") => drop_file(&path, "it was never finished"),
                _ => {}
            }
        }
        Ok(Self {
            folder,
            members: MEMBERS,
            places: RwLock::new(Arc::new(Places::new(segments))),
            building: Mutex::new(()),
            signal: Mutex::default(),
            changed: Condvar::new(),
            readers: OnceLock::new(),
        })
    }

    /// The segments of this moment.
    pub fn places(&self) -> Arc<Places> {
        self.places.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a segment that is whole into use.
    pub fn add(&self, segment: Segment) {
        self.change(|segments| segments.push(Arc::new(segment)));
    }

    /// Gives up a segment; its members are read from the blocks until they are in another one.
    pub fn discard(&self, segment: &Arc<Segment>, why: &str) {
        let mut known = false;
        self.change(|segments| {
            segments.retain(|other| {
                let same = Arc::ptr_eq(other, segment);
                known |= same;
                !same
            });
        });
        if known {
            drop_file(&segment.path, why);
            self.tell(|signal| signal.work = true);
        }
    }

    /// Gives up segments that hold more dead concepts than live ones.
    pub fn collect(&self, live: &HashSet<(u64, u64)>) {
        for segment in &self.places().segments {
            let members = &segment.header.members;
            let alive = members.iter().filter(|record| live.contains(&(record.slot, record.stamp))).count();
            if 2 * alive < members.len() {
                self.discard(segment, "most of its concepts were replaced or removed");
            }
        }
    }

    /// A unit's rows in all segments of `members`, each read once. A segment that is damaged is given up.
    pub fn rows<'a>(&self, unit: UnitId, members: impl Iterator<Item = &'a Member>) -> Rows {
        let segments: HashMap<u64, &Arc<Segment>> = members.map(|m| (m.segment.header.number, &m.segment)).collect();
        let read = |(number, segment): (u64, &Arc<Segment>)| match segment.row(unit) {
            Ok(row) => Some((number, row)),
            Err(damage) => {
                self.discard(segment, &damage.to_string());
                None
            }
        };
        let has_unit = |(_, segment): &(u64, &Arc<Segment>)| unit.0 < segment.header.units;
        let segments: Vec<_> = segments.into_iter().filter(has_unit).collect();
        Rows(self.at_once(|| segments.into_par_iter().filter_map(read).collect()))
    }

    /// Runs parallel work that mostly waits for the disk.
    pub fn at_once<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let pool =
            || rayon::ThreadPoolBuilder::new().num_threads(READERS).thread_name(|n| format!("lode-read-{n}")).build();
        match self.readers.get_or_init(|| pool().ok()) {
            Some(pool) => pool.install(work),
            // The system gives no more threads: then with those that there are.
            None => work(),
        }
    }

    /// Bytes that the segments take on disk.
    pub fn size_on_disk(&self) -> u64 {
        self.places()
            .segments
            .iter()
            .filter_map(|segment| fs::metadata(&segment.path).ok())
            .map(|data| data.len())
            .sum()
    }

    /// Tells the thread something.
    pub fn tell(&self, what: impl FnOnce(&mut Signal)) {
        what(&mut self.signal());
        self.changed.notify_all();
    }

    /// Whether the thread was told to stop.
    pub fn stopped(&self) -> bool {
        self.signal().stop
    }

    /// Waits until there is work or a stop, and takes the work.
    pub fn wait(&self) -> Signal {
        let idle = |signal: &mut Signal| *signal == Signal::default();
        let mut signal = self.changed.wait_while(self.signal(), idle).unwrap_or_else(PoisonError::into_inner);
        let told = *signal;
        signal.work = false;
        told
    }

    fn signal(&self) -> MutexGuard<'_, Signal> {
        self.signal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, how: impl FnOnce(&mut Vec<Arc<Segment>>)) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let mut segments = places.segments.clone();
        how(&mut segments);
        *places = Arc::new(Places::new(segments));
    }
}

fn drop_file(path: &Path, why: &str) {
    tracing::info!(path = %path.display(), why, "removing a derived copy");
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "a derived copy that is not used cannot be removed");
    }
}
