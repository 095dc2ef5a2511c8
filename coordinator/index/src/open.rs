//! Opening the database: who may, whose it is, which format.

use std::{
    fs, io,
    path::Path,
    time::{Duration, Instant},
};

use crate::{IndexError, codec::FORMAT, derived, error::means_full, ledger, scratch, shelf::failed};

/// Key and beginning of the marker that makes a database ours; the format's byte follows.
pub(crate) const MARKER: &[u8] = b"lode-index";

/// Pages reach a quarter of a segment before sled moves them into files of their own, which it never syncs and on whose
/// failed writes it hangs. Ours stay far below.
const SEGMENT_BYTES: usize = 2 << 20;

/// A process that was just killed, or an index just dropped, holds its lock a moment longer.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// Opens or creates the database in `path`; it may hold `cache` bytes of pages.
pub(crate) fn open(path: &Path, cache: u64) -> Result<sled::Db, IndexError> {
    fs::create_dir_all(path).map_err(|error| refused(path, "creating the folder", error))?;
    check_folder(path)?;
    let config = config(path, cache);
    let started = Instant::now();
    let database = loop {
        match config.open() {
            Ok(database) => break database,
            Err(sled::Error::Io(error)) if is_lock(&error) => {
                if started.elapsed() > LOCK_PATIENCE {
                    return Err(IndexError::Locked { path: path.to_owned() });
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(sled::Error::Io(error)) => return Err(refused(path, "opening", error)),
            Err(sled::Error::Unsupported(found)) => {
                return Err(IndexError::Format {
                    path: path.to_owned(),
                    found: format!("unknown ({found})"),
                    expected: FORMAT.to_string(),
                });
            }
            Err(error) => return Err(failed(path, "opening", error)),
        }
    };
    check_marker(path, &database)?;
    Ok(database)
}

pub(crate) fn config(path: &Path, cache: u64) -> sled::Config {
    sled::Config::new()
        .path(path)
        .cache_capacity(cache)
        .segment_size(SEGMENT_BYTES)
        // Commits flush for themselves. A background flusher that meets a full disk only logs it.
        .flush_every_ms(None)
}

/// Refuses a folder that has files but no database, before anything is written into it.
fn check_folder(path: &Path) -> Result<(), IndexError> {
    let entries = fs::read_dir(path).map_err(|error| refused(path, "reading the folder", error))?;
    for entry in entries {
        let entry = entry.map_err(|error| refused(path, "reading the folder", error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let known =
            matches!(&*name, "db" | "conf" | "blobs" | "lost+found" | ledger::NAME | derived::FOLDER | scratch::NAME)
                || name.starts_with("snap.");
        if !known {
            return Err(IndexError::Foreign { path: path.to_owned(), why: format!("it holds `{name}`") });
        }
    }
    Ok(())
}

fn check_marker(path: &Path, database: &sled::Db) -> Result<(), IndexError> {
    let found = database.get(MARKER).map_err(|error| failed(path, "reading the format", error))?;
    let Some(found) = found else {
        // The default tree is there from the start.
        if !database.is_empty() || database.tree_names().len() > 1 {
            return Err(IndexError::Foreign { path: path.to_owned(), why: "its database is another program's".into() });
        }
        database.insert(MARKER, &[FORMAT]).map_err(|error| failed(path, "writing the format", error))?;
        return Ok(());
    };
    if *found == [FORMAT] {
        return Ok(());
    }
    Err(IndexError::Format {
        path: path.to_owned(),
        found: found.iter().map(u8::to_string).collect::<Vec<_>>().join("."),
        expected: FORMAT.to_string(),
    })
}

/// What the system said about the folder.
pub(crate) fn refused(path: &Path, doing: &'static str, error: io::Error) -> IndexError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            IndexError::Permission { path, source: error }
        }
        _ if means_full(&error) => IndexError::DiskFull { path, doing, source: error.into() },
        _ => IndexError::Io { path, doing, source: error.into() },
    }
}

/// sled 0.34 has no kind for this; a test holds the wording.
fn is_lock(error: &io::Error) -> bool {
    error.to_string().starts_with("could not acquire lock")
}
