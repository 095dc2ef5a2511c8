//! What an evaluation has measured so far: a file that only grows, so that a run that was broken off goes on where it was.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use fs4::fs_std::FileExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::output::note;

/// Results by the exact settings that they came from.
///
/// One a line: the CRC-32 of the rest in hexadecimal, a space, and a JSON object of key and value. Keys hold everything that a
/// value follows from (model content, experts, prompts, sampling, version), so other settings in the same folder do no harm.
pub(super) struct Store {
    file: File,
    path: PathBuf,
    known: HashMap<String, Value>,
}

#[derive(Serialize)]
struct Line<'a, T> {
    key: &'a str,
    value: &'a T,
}

#[derive(Deserialize)]
struct Known {
    key: String,
    value: Value,
}

impl Store {
    /// Opens or makes the file; whatever stands after the first damaged line is measured again.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let at = || format!("cannot open {}", path.display());
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).with_context(at)?;
        if !file.try_lock_exclusive().with_context(at)? {
            bail!("another evaluation writes to {}: wait for it, or give another --out", path.display());
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(at)?;
        let (known, whole) = read(&bytes);
        if whole < bytes.len() {
            let lost = bytes.len() - whole;
            note(format_args!("{}: the last {lost} bytes are damaged and are measured again", path.display()));
            file.set_len(whole as u64).with_context(at)?;
        }
        file.seek(SeekFrom::End(0)).with_context(at)?;
        Ok(Self { file, path: path.to_owned(), known })
    }

    /// What was measured under `key`.
    pub(super) fn get<T: DeserializeOwned>(&self, key: &str) -> anyhow::Result<Option<T>> {
        let Some(value) = self.known.get(key) else { return Ok(None) };
        let read = T::deserialize(value);
        Ok(Some(
            read.with_context(|| format!("{} has a result of another form: give another --out", self.path.display()))?,
        ))
    }

    /// Keeps what was measured under `key`; in the file before it returns.
    pub(super) fn put<T: Serialize>(&mut self, key: &str, value: &T) -> anyhow::Result<()> {
        let text = serde_json::to_string(&Line { key, value })?;
        let line = format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()));
        self.file.write_all(line.as_bytes()).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// All whole lines from the start on, and how many bytes they are.
fn read(bytes: &[u8]) -> (HashMap<String, Value>, usize) {
    let (mut known, mut whole) = (HashMap::new(), 0);
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        let Some(Known { key, value }) = checked(line) else { break };
        known.insert(key, value);
        whole += line.len();
    }
    (known, whole)
}

fn checked(line: &[u8]) -> Option<Known> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (crc, text) = text.split_once(' ')?;
    let is_whole = u32::from_str_radix(crc, 16) == Ok(crc32fast::hash(text.as_bytes()));
    if is_whole { serde_json::from_str(text).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(path: &Path) {
        let mut store = Store::open(path).unwrap();
        for number in 0..3u32 {
            store.put(&format!("k{number}"), &vec![number, 7]).unwrap();
        }
    }

    #[test]
    fn what_was_kept_is_there_again_and_damage_is_measured_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.log");
        filled(&path);
        let known = |name: &str| Store::open(&path).unwrap().get::<Vec<u32>>(name).unwrap();
        assert_eq!((known("k2"), known("k3")), (Some(vec![2, 7]), None));
        let whole = std::fs::read(&path).unwrap();
        // Torn off anywhere: the lines before are there, and the file can go on.
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let lines = whole[..length].iter().filter(|&&byte| byte == b'\n').count();
            let store = Store::open(&path).unwrap();
            assert_eq!(store.known.len(), lines);
            drop(store);
            Store::open(&path).unwrap().put("k9", &1).unwrap();
            assert_eq!(Store::open(&path).unwrap().known.len(), lines + 1);
        }
        // A bit that fell over.
        let mut damaged = whole.clone();
        let place = whole.iter().position(|&byte| byte == b'\n').unwrap() + 15;
        damaged[place] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        assert_eq!(Store::open(&path).unwrap().known.len(), 1);
    }

    #[test]
    fn two_at_once_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.log");
        let _first = Store::open(&path).unwrap();
        let second = Store::open(&path).err().unwrap();
        assert!(second.to_string().contains("another evaluation"), "{second:#}");
    }

    #[test]
    fn another_form_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.log");
        filled(&path);
        let error = Store::open(&path).unwrap().get::<String>("k1").unwrap_err();
        assert!(error.to_string().contains("--out"), "{error:#}");
    }
}
