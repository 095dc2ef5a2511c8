//! The sled-backed index of expertise: atomic by concept, keyed by model content. The only crate that names sled.
//!
//! # Layout
//!
//! | tree | key | value |
//! |---|---|---|
//! | `models` | model hash | name, family, context, layers |
//! | `names` | model name | model hash |
//! | `concepts` | model hash, group, name, recipe | slot and [`ConceptHeader`] |
//! | `blocks` | slot, ap or rest, block, column | 1,024 values of one column, `[unit]` |
//!
//! Every value is sealed with a format byte and a checksum that covers its key. A [`Staging`] writes under a slot of its own;
//! the commit puts the blocks on disk, then the one entry that names the slot. What no entry names is removed, at the latest
//! when the index is opened.
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
//! The disk holds 1.8 times the values: 2.8 MiB a concept of 82,944 units, 14 MiB of 414,720.

mod assembly;
mod codec;
#[cfg(test)]
mod damage;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod index;
mod key;
mod ledger;
mod open;
mod read;
mod shelf;
mod similar;
mod staging;
mod store;

pub use error::{IndexError, UnknownConcept};
pub use index::Index;
pub use lode_domain::record::{ConceptHeader, ConceptKey, ModelRecord};
pub use staging::Staging;
