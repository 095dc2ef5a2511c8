//! Copies of the index that are laid out for questions, each in a file of its own: never the truth, always rebuildable.
//!
//! A [`Segment`](segment::Segment) holds [`MEMBERS`] concepts of one model and recipe: their rows by unit, so that a unit in all of them is one
//! read; their AP one column after the other; a byte a unit of each ([`Sketch`](lode_domain::sketch::Sketch)); and their best
//! and worst units with all their values. A thread of its own writes the next segment when enough concepts are in none. What is in no segment, or
//! in one that turns out to be damaged, is read from the blocks, slower and the same.
//!
//! Why what a segment says is what the blocks say:
//!
//! - It names its members by slot and stamp, and a question finds them by the entry that it has just read. An entry names
//!   blocks that never change; no two stagings share slot and stamp. So a segment cannot be stale: a concept that was mined
//!   again has another entry, which the segment does not know.
//! - It gets its name when it is whole; what has the name of a part is removed at the next opening.
//! - Everything in it has a checksum over the segment's number, its place and its bytes, checked by every read. Files are not
//!   synced: what a power cut left of one does not pass, and the file is removed and written anew.

mod build;
mod layout;
mod places;
mod segment;
#[cfg(test)]
mod tests;
mod thread;

pub(crate) use build::{Unreadable, catch_up};
pub(crate) use places::{Derived, Member};
pub(crate) use thread::Thread;

/// The folder of segments, in the index's own.
pub(crate) const FOLDER: &str = "derived";

/// Concepts in a segment. `units show` reads a row of every segment and two blocks of every concept in none, so few and large
/// segments cost a long tail, and many small ones many reads: at 1,344 concepts it is 21 and at most 63.
const MEMBERS: usize = 64;

/// How many of a concept's best units a segment holds with all their values, and how many of its worst.
pub(crate) const LEADING: u32 = 512;
