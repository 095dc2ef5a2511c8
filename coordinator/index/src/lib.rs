//! The sled-backed index of expertise: atomic by concept, keyed by model content. The only crate that names sled.
//!
//! # Layout
//!
//! | tree | key | value |
//! |---|---|---|
//! | `models` | model hash | name, family, context, layers |
//! | `names` | model name | model hash |
//! | `concepts` | model hash, group, name, recipe | slot and [`ConceptHeader`] |
//! | `blocks` | slot, part, block, column | 1,024 values of one column, `[unit]` |
//!
//! Part 0 is `ap`, part 1 the other columns that every concept has. What a concept was mined with beside AP stands in parts of its
//! own, and its header says which there are. Concepts from before there were such columns have none; programs from before read the
//! others as ever, so the format is still 1.
//!
//! Every value is sealed with a format byte and a checksum that covers its key. A [`Staging`] writes to an unnamed file beside the
//! database; the commit puts the blocks into the database under a slot of their own, and on disk, then the one entry that names
//! the slot. What no entry names is removed, at the latest when the index is opened.
//!
//! # Why a concept is staged outside of the database
//!
//! A shard's worker sends unit block by unit block, all concepts of the shard at once, and many workers send at once: everything
//! that a job will ever commit may be staged before its first commit. sled keeps what it is given in memory until it has
//! written it. So what is staged costs disk alone, once its size, and only a few concepts at a time are on their way through the database.
//!
//! # What sled 0.34 needs
//!
//! - `flush` asks the system to write the log's pages but never to sync the file, so a log that grew can be lost with the power:
//!   the index syncs the file itself after each flush.
//! - A page above a quarter of a segment goes to a file of its own, which is never synced, and a failed write of which hangs the
//!   next flush. Blocks are small and segments large enough that no page comes near.
//! - The first unreadable message of the log is taken for its end, silently: a file `acknowledged` beside the log counts changes, and
//!   an opening that finds fewer is [`IndexError::Lost`].
//! - The first failed write stops the database for good, reads of what is on disk excepted: space is checked before a staging begins,
//!   and [`IndexError::DiskFull`] says to start again.
//!
//! # Why blocks of 4 KiB and not of 64
//!
//! sled keeps 8 to 16 values in a page and reads whole pages. With 4 KiB and the columns other than `ap` side by side, one unit
//! of one concept is two pages of some 40 KiB. Measured on 2 shared cores with `cargo run --release -p lode-index --example
//! measure -- 1344 82944` (2.1 GiB of values; medians, warm file cache):
//!
//! | units a block | commit | `column(ap)` | `unit` | `unit_everywhere` | peak memory |
//! |---|---|---|---|---|---|
//! | 16,384 | 20 ms | 0.03 ms | 0.26 ms | 160 ms, p99 1.9 s | 2.1 GB |
//! | **1,024** | 16 ms | 0.12 ms | 0.03 ms | 45 ms, p99 62 ms | 0.3 GB |
//! | 256 | 29 ms | 0.33 ms | 0.03 ms | 50 ms, p99 156 ms | 0.3 GB |
//!
//! (`unit_everywhere` before there were derived copies.) The blocks take 1.8 times the values on disk: 2.8 MiB a concept of
//! 82,944 units, 14 MiB of 414,720.
//!
//! # Derived copies
//!
//! Blocks are laid out for the concept that comes in, and a unit in all concepts is two pages of each. So a thread writes
//! copies laid out for questions into `derived/` beside the database, one file for every 64 concepts of a model and recipe. The
//! copies are never the truth: what they say is found by slot and stamp of the entry just read, every read is checked, and what is
//! missing or damaged is read from the blocks, with the same bits. A damaged file is removed and written anew; the folder can be
//! deleted at any time while no process has the index open. Up to 63 concepts, the newest, are in no copy. Files of which most
//! is replaced or removed are given up, so the copies take at most twice what the live ones need; where the disk has no room, or a file cannot be
//! written, the questions are slower. One difference can be seen: where a block on the disk is damaged, a question that a copy can
//! answer has an answer, and not [`IndexError::Corrupt`].
//!
//! [`Index::nearest`] reads a whole column only of concepts that sketches cannot rule out; its answer is the exact one, see
//! [`lode_domain::sketch`].
//!
//! No column is kept in memory: that is left to the system's file cache, which can give it back. What is held is bounded:
//! the database's page cache ([`DEFAULT_CACHE`]; sled lets it lag behind, and the allocator adds to it), the entries of a model (about a kilobyte a concept), 100 bytes a concept for the copies; 8 MB
//! while a copy is written; and for a question at most eight readers' columns, 30 MB with 414,720 units.
//!
//! Measured on two shared cores, while other programs kept 5 to 10 processes waiting for them, and one virtual disk (0.1 ms a
//! random read, 0.7 GB/s), with `cargo run --release -p lode-index --example measure -- 1344 414720 DIR`: 1,344 concepts of
//! 414,720 units, 11.1 GB of values, one run under `nice -n -10`, since at equal priority the waiting for a core hid the index's own time.
//! First with nothing of the files in the system's cache when the run began (questions further down find in it what those above
//! read), then the same questions again:
//!
//! | question | first: p50 | p99 | again: p50 | p99 | p50, blocks alone |
//! |---|---|---|---|---|---|
//! | `units show` | 0.9 ms | 4.1 ms | 0.3 ms | 2.8 ms | 592 ms |
//! | `units top` | 0.1 ms | 0.5 ms | 0.01 ms | 0.04 ms | 47 ms |
//! | `overlap` | 2.1 ms | 33 ms | 1.0 ms | 10 ms | 49 ms |
//! | `overlap --top 500` | 1.0 ms | 23 ms | 1.0 ms | 12 ms | |
//! | `nearest` | 51 ms | 292 ms | 36 ms | 428 ms | 51 s |
//! | `nearest --top 500` | 38 ms | 782 ms | 51 ms | 475 ms | |
//! | `nearest --min-ap 0.7` | 1.4 s | 1.7 s | 1.2 s | 1.6 s | |
//! | `nearest --limit 2000` | 2.1 s | 2.4 s | 2.3 s | 4.9 s | |
//!
//! 1,000 questions of the first kinds, 300 of those with options, 100 of `nearest`, 10 of the last two. The last column was measured
//! before there were copies and the code of this table, in another run, under `nice` and more load, with three questions of
//! `nearest`: take its order of magnitude. The questions go to the index; gRPC is not in it. The index takes
//! 31.2 GiB: 18.2 of blocks, 13.0 of copies. Opening takes 1.7 s, and took 40 s when the process before had just written it all. The peak memory
//! was 315 MB. Writing all copies took 104 s, 78 ms a concept, with
//! nothing being mined. While they are written, staging and committing a concept took 88 ms (p99 296 ms) with it and 111 ms (p99 251 ms) without, the commit alone
//! 8 and 9 ms (p99 44 and 83 ms), one run of 130 concepts each under changing load: a difference was not to be seen.
//!
//! `units top --bottom` and `--layer` were answered from the whole column then (p99 28 and 6.8 ms). Since the copies keep the 512 worst
//! units as well, and reading ahead is off for them, measured by `measure -- 448 414720 DIR` (9.5 GiB) on the same cores beside three
//! builds, under `nice -n -5`, right after the index was written:
//!
//! | question | first: p50 | p99 | again: p50 | p99 |
//! |---|---|---|---|---|
//! | `units top --layer '*.mlp.*'` | 0.04 ms | 0.13 ms | 0.04 ms | 0.08 ms |
//! | `units top --bottom` | 0.03 ms | 0.35 ms | 0.02 ms | 0.04 ms |
//! | `overlap` | 3.6 ms | 32 ms | 3.5 ms | 10 ms |
//! | `overlap --top 500` | 2.7 ms | 9.3 ms | 3.0 ms | 11 ms |
//!
//! `overlap` reads two columns of AP, 1.7 MB each, for its correlation. Concepts that are in no copy yet, at most 63, answer from their blocks:
//! some 20 ms.
//!
//! Beyond the 512 best or worst units that a copy keeps, a question reads the column of AP, and `nearest` that of
//! every concept: the last but one line of the first table.

mod codec;
mod coverage;
#[cfg(test)]
mod damage;
mod derived;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gate;
mod index;
mod key;
mod ledger;
mod listing;
mod nearest;
mod open;
mod query;
mod read;
mod scratch;
mod shelf;
mod similar;
mod staging;
mod store;
mod subject;

pub use error::{IndexError, UnknownConcept};
pub use index::{DEFAULT_CACHE, Edition, Index};
pub use lode_domain::record::{ConceptHeader, ConceptKey, ModelRecord};
pub use query::{Compared, Listed, QueryError};
pub use staging::Staging;
