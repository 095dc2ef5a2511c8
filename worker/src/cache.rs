//! Responses that outlive their shard: what was run once need not run again when a concept grows, another one joins, or a
//! shard is handed out a second time.
//!
//! One file of rows of one size, `[key: 16][crc32: 4][unit: f32]`, in a ring: when it is full, the oldest row makes room. A row
//! is only believed if its checksum fits, so a process or a machine may die at any moment. What a cache is for, the model's
//! content above all, stands in the file's head; a file that is for something else is begun anew.
//!
//! A cache never fails a shard: where it cannot read or write, it forgets.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use lode_domain::sentence::SentenceKey;
use rustc_hash::FxHashMap;

/// Bytes before the first row.
const HEAD: usize = 4096;
const KEY: usize = 16;
const CHECKSUM: usize = 4;
/// Marks the file, and its layout's version.
const MAGIC: &[u8; 16] = b"lode responses 1";
/// Caches in one folder at most: one for each worker that runs there.
const MOST_FILES: usize = 1024;

/// Where a worker keeps its cache, and how large it may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Bytes on disk at most; 0 for none.
    pub bytes: u64,
    /// Folder of a file that outlives the worker; without it, a temporary file.
    pub dir: Option<PathBuf>,
}

/// See the module.
pub(crate) struct ResponseCache {
    file: File,
    row_bytes: usize,
    /// `[slot]`
    keys: Vec<Option<SentenceKey>>,
    slots: FxHashMap<SentenceKey, usize>,
    /// The slot that is written next.
    next: usize,
    broken: bool,
}

/// A cache that cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("the cache of responses in {} cannot be used: {source}", path.display())]
pub struct CacheError {
    path: PathBuf,
    source: io::Error,
}

impl ResponseCache {
    /// Opens the cache of what `purpose` describes: everything that the bits of a response depend on beside the sentence.
    ///
    /// `None` if it has no room for a single row.
    ///
    /// # Errors
    /// If its file cannot be had.
    pub(crate) fn open(
        config: &CacheConfig,
        scratch: &Path,
        purpose: &str,
        units: usize,
    ) -> Result<Option<Self>, CacheError> {
        let row_bytes = KEY + CHECKSUM + 4 * units;
        let rows = usize::try_from(config.bytes.saturating_sub(HEAD as u64) / row_bytes as u64).unwrap_or(usize::MAX);
        if rows == 0 {
            return Ok(None);
        }
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CacheError { path, source }
        };
        let head = head(purpose, units);
        let file = match &config.dir {
            None => tempfile::tempfile_in(scratch).map_err(failed(scratch))?,
            Some(dir) => own_file(dir, &head).map_err(failed(dir))?,
        };
        let place = config.dir.as_deref().unwrap_or(scratch);
        let mut cache =
            Self { file, row_bytes, keys: vec![None; rows], slots: FxHashMap::default(), next: 0, broken: false };
        cache.recall(&head).map_err(failed(place))?;
        Ok(Some(cache))
    }

    /// Sentences that are held.
    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Sentences that can be held.
    pub(crate) fn capacity(&self) -> usize {
        self.keys.len()
    }

    /// Whether the responses to a sentence should be there.
    pub(crate) fn contains(&self, key: &SentenceKey) -> bool {
        self.slots.contains_key(key)
    }

    /// The responses to a sentence, `[unit]`, if they are there and whole.
    pub(crate) fn get(&mut self, key: &SentenceKey) -> Option<Vec<f32>> {
        let slot = *self.slots.get(key)?;
        let row = self.read(slot, self.row_bytes).ok();
        let whole = row.as_deref().and_then(|row| unsealed(row, key));
        if whole.is_none() {
            self.forget(slot);
        }
        whole
    }

    /// Keeps the responses to a sentence, `[unit]`.
    pub(crate) fn put(&mut self, key: SentenceKey, responses: &[f32]) {
        if self.broken || self.slots.contains_key(&key) {
            return;
        }
        let slot = self.next;
        self.next = (slot + 1) % self.keys.len();
        self.forget(slot);
        let row = sealed(&key, responses);
        if let Err(error) = self.file.write_all_at(&row, self.offset(slot)) {
            tracing::warn!(%error, "the cache of responses cannot be written; it is emptied and no more used");
            self.broken = true;
            self.slots.clear();
            self.keys.fill(None);
            // What is short of room must not be short of it because of a cache.
            if let Err(error) = self.file.set_len(HEAD as u64) {
                tracing::warn!(%error, "the cache of responses cannot be emptied");
            }
            return;
        }
        self.keys[slot] = Some(key);
        self.slots.insert(key, slot);
    }

    fn forget(&mut self, slot: usize) {
        if let Some(key) = self.keys[slot].take() {
            self.slots.remove(&key);
        }
    }

    /// Reads which sentences a file holds; one that was made for something else is emptied.
    fn recall(&mut self, head: &[u8]) -> io::Result<()> {
        let mut found = vec![0; HEAD];
        let is_ours = self.file.read_exact_at(&mut found, 0).is_ok() && found == head;
        if !is_ours {
            self.file.set_len(0)?;
            return self.file.write_all_at(head, 0);
        }
        // A smaller bound than last time gives the rest back.
        let most = self.offset(self.keys.len());
        if self.file.metadata()?.len() > most {
            self.file.set_len(most)?;
        }
        let whole = (self.file.metadata()?.len() - HEAD as u64) / self.row_bytes as u64;
        for slot in 0..whole as usize {
            let bytes = self.read(slot, KEY)?;
            let Some(key) = bytes.first_chunk().map(|key| SentenceKey(*key)) else { continue };
            self.keys[slot] = Some(key);
            self.slots.insert(key, slot);
        }
        self.next = whole as usize % self.keys.len();
        Ok(())
    }

    fn offset(&self, slot: usize) -> u64 {
        HEAD as u64 + slot as u64 * self.row_bytes as u64
    }

    fn read(&self, slot: usize, bytes: usize) -> io::Result<Vec<u8>> {
        let mut row = vec![0; bytes];
        self.file.read_exact_at(&mut row, self.offset(slot))?;
        Ok(row)
    }
}

/// What a file begins with.
fn head(purpose: &str, units: usize) -> Vec<u8> {
    let mut head = vec![0; HEAD];
    head[..16].copy_from_slice(MAGIC);
    head[16..24].copy_from_slice(&(units as u64).to_le_bytes());
    head[24..56].copy_from_slice(blake3::hash(purpose.as_bytes()).as_bytes());
    head
}

/// A file of `dir` that no other worker uses: one for the same purpose if there is one; else one for another purpose, which
/// is begun anew, so that there are never more files than workers were there at once; else a new one.
fn own_file(dir: &Path, head: &[u8]) -> io::Result<File> {
    std::fs::create_dir_all(dir)?;
    let mut spare = None;
    for number in 0..MOST_FILES {
        let path = dir.join(format!("{number}.responses"));
        if !path.exists() && spare.is_some() {
            break;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        // The lock goes with the process, however it ends.
        if !fs4::fs_std::FileExt::try_lock_exclusive(&file)? {
            continue;
        }
        let mut found = vec![0; HEAD];
        let is_new = file.metadata()?.len() == 0;
        if is_new || (file.read_exact_at(&mut found, 0).is_ok() && found == head) {
            return Ok(file);
        }
        spare.get_or_insert(file);
    }
    if let Some(file) = spare {
        return Ok(file);
    }
    Err(io::Error::other(format!("{MOST_FILES} workers use this folder already")))
}

fn sealed(key: &SentenceKey, responses: &[f32]) -> Vec<u8> {
    let mut row = Vec::with_capacity(KEY + CHECKSUM + 4 * responses.len());
    row.extend_from_slice(&key.0);
    row.extend_from_slice(&[0; CHECKSUM]);
    row.extend(responses.iter().flat_map(|response| response.to_le_bytes()));
    let checksum = checksum(&row);
    row[KEY..KEY + CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
    row
}

fn unsealed(row: &[u8], key: &SentenceKey) -> Option<Vec<f32>> {
    let fits = row.starts_with(&key.0) && row[KEY..KEY + CHECKSUM] == checksum(row).to_le_bytes();
    let (values, _) = row[KEY + CHECKSUM..].as_chunks::<4>();
    fits.then(|| values.iter().map(|value| f32::from_le_bytes(*value)).collect())
}

/// Of key and values.
fn checksum(row: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&row[..KEY]);
    hasher.update(&row[KEY + CHECKSUM..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use lode_domain::expertise::Recipe;

    use super::*;

    const UNITS: usize = 5;
    const ROW: u64 = (KEY + CHECKSUM + 4 * UNITS) as u64;

    fn key(number: usize) -> SentenceKey {
        SentenceKey::new(Recipe::default(), &number.to_string())
    }

    fn row(number: usize) -> Vec<f32> {
        (0..UNITS).map(|unit| (number * 10 + unit) as f32 - 0.25).collect()
    }

    fn open(dir: Option<&Path>, rows: u64, purpose: &str) -> ResponseCache {
        let config = CacheConfig { bytes: HEAD as u64 + rows * ROW, dir: dir.map(Path::to_owned) };
        ResponseCache::open(&config, &std::env::temp_dir(), purpose, UNITS).unwrap().unwrap()
    }

    #[test]
    fn the_newest_are_held_and_no_more_than_fit() {
        let mut cache = open(None, 3, "m");
        (0..5).for_each(|number| cache.put(key(number), &row(number)));
        assert_eq!((cache.len(), cache.capacity()), (3, 3));
        assert!(!cache.contains(&key(1)));
        for number in 2..5 {
            assert_eq!(cache.get(&key(number)), Some(row(number)));
        }
        assert_eq!(cache.get(&key(0)), None);
    }

    #[test]
    fn a_named_cache_outlives_its_worker_and_serves_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = open(Some(dir.path()), 10, "m");
        (0..4).for_each(|number| cache.put(key(number), &row(number)));
        // A second worker beside it has a file of its own.
        assert_eq!(open(Some(dir.path()), 10, "m").len(), 0);
        drop(cache);
        let mut cache = open(Some(dir.path()), 10, "m");
        assert_eq!(cache.len(), 4);
        assert_eq!(cache.get(&key(3)), Some(row(3)));
        cache.put(key(9), &row(9));
        drop(cache);
        // Less room: the first rows stay. Another model: nothing does.
        assert_eq!(open(Some(dir.path()), 2, "m").len(), 2);
        let other = open(Some(dir.path()), 10, "other");
        assert_eq!(other.len(), 0);
        // Two workers were there at once, so there are two files, and the one that a third finds free is begun anew.
        assert_eq!(open(Some(dir.path()), 10, "third").len(), 0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn damaged_rows_are_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let mut cache = open(Some(dir.path()), 10, "m");
        (0..3).for_each(|number| cache.put(key(number), &row(number)));
        cache.file.write_all_at(&[7], cache.offset(1) + ROW - 2).unwrap();
        drop(cache);
        let mut cache = open(Some(dir.path()), 10, "m");
        // Torn at the end, as by a power cut.
        cache.file.set_len(cache.offset(3) - 1).unwrap();
        assert!(cache.contains(&key(1)));
        assert_eq!(cache.get(&key(1)), None);
        assert!(!cache.contains(&key(1)));
        assert_eq!(cache.get(&key(2)), None);
        assert_eq!(cache.get(&key(0)), Some(row(0)));
        cache.put(key(1), &row(1));
        assert_eq!(cache.get(&key(1)), Some(row(1)));
    }

    #[test]
    fn no_room_is_no_cache() {
        let config = CacheConfig { bytes: 0, dir: None };
        assert!(ResponseCache::open(&config, &std::env::temp_dir(), "m", UNITS).unwrap().is_none());
        let config = CacheConfig { bytes: 1 << 20, dir: Some("/proc/nowhere".into()) };
        let error = ResponseCache::open(&config, &std::env::temp_dir(), "m", UNITS).err().unwrap();
        assert!(error.to_string().contains("/proc/nowhere"), "{error}");
    }
}
