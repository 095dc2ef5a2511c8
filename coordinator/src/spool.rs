//! Partial summaries on the coordinator's disk, from the worker that ran a range of sentences to the merge.
//!
//! A job whose concepts are split has a folder `partial/N`: `split.json` says how they are split, `R.responses` has the
//! responses to range R's sentences, `[unit, sentence]`, and `R.json`, written last, says that they are all there. So the memory
//! that a merge needs does not depend on how many ranges there are, ranges come in any order, and a coordinator that died
//! needs only those that are missing.

use std::{
    fs::{self, File},
    io::{self, BufReader, Read as _, Write as _},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use lode_domain::{
    concept::ConceptId,
    event::{DroppedSentence, PartialUnits, ShardEvent},
    id::JobId,
};
use lode_proto::Fault;
use serde::{Deserialize, Serialize};

/// How concepts are split: ranges over the table of distinct sentences that these concepts need.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SplitRecord {
    /// The concepts.
    pub(crate) concepts: Vec<ConceptId>,
    /// Ranges of their sentences, ascending and without a gap.
    pub(crate) ranges: Vec<Range<u32>>,
    /// Units of the model.
    pub(crate) units: u32,
    /// The float type that responses are computed in.
    pub(crate) precision: String,
}

/// What a finished range says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Sidecar {
    units: u32,
    dropped: Vec<DroppedSentence>,
    crc32: u32,
}

/// The folder of one job's partial summaries.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Fault {
    Fault::internal(format!(
        "{doing} partial summaries in {}: {error}; make room there, or mine with --split never",
        path.display()
    ))
}

impl Spool {
    /// The spool of a job; nothing is created yet.
    pub(crate) fn new(data_dir: &Path, job: JobId) -> Self {
        Self { dir: data_dir.join("partial").join(job.0.to_string()) }
    }

    /// Removes what jobs that do not go on have left behind.
    pub(crate) fn tidy(data_dir: &Path, unfinished: &[JobId]) {
        let Ok(entries) = fs::read_dir(data_dir.join("partial")) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let job = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()).map(JobId);
            if job.is_some_and(|job| !unfinished.contains(&job)) {
                Self { dir: path }.remove();
            }
        }
    }

    /// The split that was under way, if any.
    pub(crate) fn read(&self) -> Option<SplitRecord> {
        let text = fs::read(self.dir.join("split.json")).ok()?;
        serde_json::from_slice(&text)
            .inspect_err(|error| tracing::warn!(dir = %self.dir.display(), %error, "a split's record is damaged"))
            .ok()
    }

    /// Begins a split.
    pub(crate) fn begin(&self, record: &SplitRecord) -> Result<(), Fault> {
        self.remove();
        let begun = fs::create_dir_all(&self.dir).and_then(|()| self.put_json("split", 0, record));
        begun.map_err(|error| failed("beginning", &self.dir, &error))
    }

    /// Removes all of it.
    pub(crate) fn remove(&self) {
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(dir = %self.dir.display(), %error, "partial summaries could not be removed");
            }
            _ => {}
        }
    }

    /// Takes the responses of range `number`, which covers `sentences`, from one worker; `attempt` tells two workers at it
    /// apart.
    pub(crate) fn writer(
        &self,
        number: u32,
        sentences: Range<u32>,
        units: u32,
        attempt: u64,
    ) -> Result<RangeWriter, Fault> {
        let path = self.dir.join(format!("{number}.{attempt}.part"));
        let file = File::create(&path).map_err(|error| failed("creating", &path, &error))?;
        let crc32 = crc32fast::Hasher::new();
        let spool = self.clone();
        Ok(RangeWriter { spool, number, attempt, path, file, sentences, units, next: 0, dropped: None, crc32 })
    }

    /// A range that was finished, as its files tell; one that is damaged is as good as missing.
    pub(crate) fn finished(&self, number: u32, sentences: &Range<u32>, units: u32) -> Option<RangeFile> {
        let sidecar: Sidecar = serde_json::from_slice(&fs::read(self.dir.join(format!("{number}.json"))).ok()?).ok()?;
        let path = self.responses(number);
        let checked = sidecar.units == units && checksum(&path).ok()? == sidecar.crc32;
        if !checked {
            tracing::warn!(path = %path.display(), "a partial summary is damaged; its range runs again");
            return None;
        }
        RangeFile::open(&path, sentences, &sidecar.dropped, units).ok()
    }

    fn responses(&self, number: u32) -> PathBuf {
        self.dir.join(format!("{number}.responses"))
    }

    /// Whole or not at all.
    fn put_json(&self, name: &str, attempt: u64, value: &impl Serialize) -> io::Result<()> {
        let (path, fresh) = (self.dir.join(format!("{name}.json")), self.dir.join(format!("{name}.{attempt}.new")));
        let mut file = File::create(&fresh)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.sync_all()?;
        fs::rename(fresh, path)
    }
}

/// A range on its way to the disk; dropped before its end, it leaves nothing.
pub(crate) struct RangeWriter {
    spool: Spool,
    number: u32,
    attempt: u64,
    path: PathBuf,
    file: File,
    sentences: Range<u32>,
    units: u32,
    /// The unit that comes next.
    next: u32,
    dropped: Option<Vec<DroppedSentence>>,
    crc32: crc32fast::Hasher,
}

impl RangeWriter {
    /// Takes what the worker sends.
    ///
    /// # Errors
    /// If it is not what comes next, or the disk does not take it.
    pub(crate) fn take(&mut self, event: ShardEvent) -> Result<(), RangeError> {
        match event {
            ShardEvent::Dropped(dropped) if self.dropped.is_none() => {
                let beyond = |one: &DroppedSentence| one.sentence as usize >= self.sentences.len();
                if dropped.iter().any(beyond) || dropped.windows(2).any(|pair| pair[0].sentence >= pair[1].sentence) {
                    return Err(self.nonsense("dropped sentences that are none of the range's"));
                }
                self.dropped = Some(dropped);
                Ok(())
            }
            ShardEvent::Partial(PartialUnits { start, units, responses }) => {
                let Some(kept) = self.kept() else {
                    return Err(self.nonsense("responses before it said which sentences it dropped"));
                };
                let fits = start == self.next
                    && u64::from(start) + u64::from(units) <= u64::from(self.units)
                    && responses.len() == units as usize * kept;
                if !fits {
                    return Err(self.nonsense("responses that do not follow the last ones"));
                }
                if let Some(place) = responses.iter().position(|response| !response.is_finite()) {
                    let unit = start as usize + place / kept.max(1);
                    return Err(self.nonsense(&format!("a response of unit {unit} that is not finite")));
                }
                let bytes: Vec<u8> = responses.iter().flat_map(|response| response.to_le_bytes()).collect();
                self.crc32.update(&bytes);
                self.file.write_all(&bytes).map_err(|error| RangeError::Disk(failed("writing", &self.path, &error)))?;
                self.next += units;
                Ok(())
            }
            _ => Err(self.nonsense("something that belongs to no range of sentences")),
        }
    }

    /// Whether all responses are there.
    pub(crate) fn is_whole(&self) -> bool {
        self.kept() == Some(0) || self.next == self.units
    }

    /// Makes the range count.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub(crate) fn finish(self) -> Result<RangeFile, Fault> {
        let (spool, number, attempt) = (self.spool.clone(), self.number, self.attempt);
        let dropped = self.dropped.clone().unwrap_or_default();
        let sidecar = Sidecar { units: self.units, dropped: dropped.clone(), crc32: self.crc32.clone().finalize() };
        let path = spool.responses(number);
        let done = fs::rename(&self.path, &path)
            .and_then(|()| RangeFile::open(&path, &self.sentences, &dropped, self.units))
            .and_then(|range| spool.put_json(&number.to_string(), attempt, &sidecar).map(|()| range));
        done.map_err(|error| failed("finishing", &path, &error))
    }

    fn kept(&self) -> Option<usize> {
        self.dropped.as_ref().map(|dropped| self.sentences.len() - dropped.len())
    }

    fn nonsense(&self, what: &str) -> RangeError {
        RangeError::Worker(Fault::internal(format!("it sent {what} (range {})", self.number)))
    }
}

impl Drop for RangeWriter {
    fn drop(&mut self) {
        // Renamed if it was finished.
        let _ = fs::remove_file(&self.path);
    }
}

/// Why a range could not be taken.
#[derive(Debug)]
pub(crate) enum RangeError {
    /// The coordinator's disk: another worker would not help.
    Disk(Fault),
    /// What the worker sent.
    Worker(Fault),
}

/// The responses to a range's sentences, on disk.
#[derive(Debug)]
pub(crate) struct RangeFile {
    path: PathBuf,
    /// The sentences that have responses, by their number in the split's table, ascending.
    pub(crate) kept: Vec<u32>,
    /// The others, likewise.
    pub(crate) dropped: Vec<DroppedSentence>,
}

impl RangeFile {
    fn open(path: &Path, sentences: &Range<u32>, dropped: &[DroppedSentence], units: u32) -> io::Result<Self> {
        let dropped: Vec<DroppedSentence> = dropped
            .iter()
            .map(|one| DroppedSentence { sentence: sentences.start + one.sentence, kind: one.kind })
            .collect();
        let is_kept = |number: &u32| dropped.binary_search_by_key(number, |one| one.sentence).is_err();
        let kept: Vec<u32> = sentences.clone().filter(is_kept).collect();
        if fs::metadata(path)?.len() != kept.len() as u64 * u64::from(units) * 4 {
            return Err(io::Error::other("it has not the length that it should have"));
        }
        Ok(Self { path: path.to_owned(), kept, dropped })
    }

    /// The responses of some units, `[unit, kept sentence]`.
    pub(crate) fn read(&self, units: Range<u32>) -> Result<Vec<f32>, Fault> {
        let row = self.kept.len() * 4;
        let mut bytes = vec![0; units.len() * row];
        let at = u64::from(units.start) * row as u64;
        // Opened for each block: ranges may be more than the files that a process may have open.
        let read = File::open(&self.path).and_then(|file| file.read_exact_at(&mut bytes, at));
        read.map_err(|error| failed("reading", &self.path, &error))?;
        let (values, _) = bytes.as_chunks::<4>();
        Ok(values.iter().map(|value| f32::from_le_bytes(*value)).collect())
    }
}

fn checksum(path: &Path) -> io::Result<u32> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let (mut crc32, mut buffer) = (crc32fast::Hasher::new(), vec![0; 1 << 20]);
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(crc32.finalize()),
            read => crc32.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use lode_domain::lint::FindingKind;

    use super::*;

    fn partial(start: u32, units: u32, sentences: usize) -> ShardEvent {
        let responses = (0..units as usize * sentences).map(|i| f32::from(start as u16) + i as f32).collect();
        ShardEvent::Partial(PartialUnits { start, units, responses })
    }

    fn dropped(sentences: &[u32]) -> ShardEvent {
        let one = |&sentence| DroppedSentence { sentence, kind: FindingKind::Empty };
        ShardEvent::Dropped(sentences.iter().map(one).collect())
    }

    fn record() -> SplitRecord {
        let (concepts, ranges) = (vec!["g/c".parse().unwrap()], vec![0..4, 4..7]);
        SplitRecord { concepts, ranges, units: 5, precision: "f32".into() }
    }

    fn spool() -> (tempfile::TempDir, Spool) {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::new(dir.path(), JobId(1));
        spool.begin(&record()).unwrap();
        (dir, spool)
    }

    #[test]
    fn a_range_is_there_when_it_is_whole_and_stays() {
        let (_dir, spool) = spool();
        let mut writer = spool.writer(1, 4..7, 5, 0).unwrap();
        writer.take(dropped(&[1])).unwrap();
        writer.take(partial(0, 3, 2)).unwrap();
        assert!(!writer.is_whole() && spool.finished(1, &(4..7), 5).is_none());
        writer.take(partial(3, 2, 2)).unwrap();
        assert!(writer.is_whole());
        let range = writer.finish().unwrap();
        let again = spool.finished(1, &(4..7), 5).unwrap();
        assert_eq!((&range.kept, &again.kept), (&vec![4, 6], &vec![4, 6]));
        assert_eq!(again.dropped[0].sentence, 5);
        assert_eq!(again.read(2..4).unwrap(), [4.0, 5.0, 3.0, 4.0]);
        assert_eq!(spool.read().unwrap().ranges, [0..4, 4..7]);
        // Damage is noticed, and then the range runs again.
        let path = spool.responses(1);
        let mut bytes = fs::read(&path).unwrap();
        bytes[3] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(spool.finished(1, &(4..7), 5).is_none());
        spool.remove();
        assert!(spool.read().is_none());
    }

    #[test]
    fn what_does_not_fit_is_the_workers_fault_and_leaves_nothing() {
        let (_dir, spool) = spool();
        for events in [
            vec![partial(0, 1, 4)],
            vec![dropped(&[4])],
            vec![dropped(&[]), partial(1, 1, 4)],
            vec![dropped(&[]), partial(0, 1, 3)],
            vec![dropped(&[]), partial(0, 6, 4)],
            vec![dropped(&[]), partial(0, 1, 4), partial(0, 1, 4)],
            vec![dropped(&[]), dropped(&[])],
            vec![dropped(&[]), ShardEvent::Partial(PartialUnits { start: 0, units: 1, responses: vec![f32::NAN; 4] })],
        ] {
            let mut writer = spool.writer(0, 0..4, 5, 7).unwrap();
            let told: Result<Vec<()>, RangeError> = events.into_iter().map(|event| writer.take(event)).collect();
            assert!(matches!(told, Err(RangeError::Worker(_))), "{told:?}");
        }
        assert_eq!(fs::read_dir(&spool.dir).unwrap().count(), 1);
    }

    #[test]
    fn a_range_without_a_usable_sentence_needs_no_responses() {
        let (_dir, spool) = spool();
        let mut writer = spool.writer(1, 4..7, 5, 0).unwrap();
        writer.take(dropped(&[0, 1, 2])).unwrap();
        assert!(writer.is_whole());
        assert!(writer.finish().unwrap().kept.is_empty());
    }
}
