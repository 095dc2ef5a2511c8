//! The file in which concepts wait until they are whole, so that neither memory nor the database holds them.
//!
//! It is the process's own: its name is gone as soon as it is open, and with the process go its bytes. A staging has a piece of
//! it, of the size of the concept; a piece that was given back is used again for the next concept of that size.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{IndexError, open::refused};

/// The file's name, for the moment that it has one.
pub(crate) const NAME: &str = "staged";

/// See the module.
pub(crate) struct Scratch {
    /// The index's folder, for errors.
    path: PathBuf,
    file: File,
    room: Mutex<Room>,
}

/// Which bytes of the file are whose.
#[derive(Default)]
struct Room {
    /// Where the pieces end.
    end: u64,
    /// Beginnings of pieces that nobody has, by size.
    free: BTreeMap<u64, Vec<u64>>,
    /// How many pieces somebody has.
    held: usize,
}

impl Scratch {
    pub fn open(path: &Path) -> Result<Arc<Self>, IndexError> {
        let name = path.join(NAME);
        // One that a crash left between its opening and its removal is empty.
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&name);
        let file = file.map_err(|error| refused(path, "opening the file for what is staged", error))?;
        fs::remove_file(&name).map_err(|error| refused(path, "removing the name of what is staged", error))?;
        Ok(Arc::new(Self { path: path.to_owned(), file, room: Mutex::default() }))
    }

    /// A piece of `size` bytes; what stands in it is whatever stood there before.
    pub fn piece(self: &Arc<Self>, size: u64) -> Piece {
        let mut room = self.room();
        room.held += 1;
        let start = room.free.get_mut(&size).and_then(Vec::pop).unwrap_or_else(|| {
            let start = room.end;
            room.end += size;
            start
        });
        Piece { scratch: self.clone(), start, size }
    }

    fn give_back(&self, start: u64, size: u64) {
        let mut room = self.room();
        room.held -= 1;
        room.free.entry(size).or_default().push(start);
        if room.held == 0 {
            *room = Room::default();
            if let Err(error) = self.file.set_len(0) {
                tracing::warn!(%error, "the file for what is staged keeps its size until it is used again");
            }
        }
    }

    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of the file that belong to one staging, until this is dropped.
pub(crate) struct Piece {
    scratch: Arc<Scratch>,
    start: u64,
    size: u64,
}

impl Piece {
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<(), IndexError> {
        debug_assert!(at + bytes.len() as u64 <= self.size);
        let written = self.scratch.file.write_all_at(bytes, self.start + at);
        written.map_err(|error| refused(&self.scratch.path, "staging a concept", error))
    }

    pub fn read(&self, at: u64, len: usize) -> Result<Vec<u8>, IndexError> {
        debug_assert!(at + len as u64 <= self.size);
        let mut bytes = vec![0; len];
        let read = self.scratch.file.read_exact_at(&mut bytes, self.start + at);
        read.map_err(|error| refused(&self.scratch.path, "reading a staged concept", error))?;
        Ok(bytes)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.scratch.give_back(self.start, self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_keep_apart_and_are_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::open(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "it has no name");
        let length = || scratch.file.metadata().unwrap().len();
        let fill = |piece: &Piece, byte: u8| piece.write(0, &vec![byte; piece.size as usize]).unwrap();
        let pieces: Vec<Piece> = [10, 20, 10].map(|size| scratch.piece(size)).into_iter().collect();
        pieces.iter().zip(1..).for_each(|(piece, byte)| fill(piece, byte));
        for (piece, byte) in pieces.iter().zip(1..) {
            assert_eq!(piece.read(0, piece.size as usize).unwrap(), vec![byte; piece.size as usize]);
        }
        assert_eq!(length(), 40);
        for round in 0..5 {
            drop(scratch.piece(10));
            fill(&scratch.piece(10), round);
            assert_eq!(length(), 50, "a piece is used again");
        }
        assert_eq!(pieces[1].read(5, 2).unwrap(), [2, 2]);
        drop(pieces);
        assert_eq!(length(), 0, "with the last piece the bytes go");
        fill(&scratch.piece(7), 9);
    }
}
