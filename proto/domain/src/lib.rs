//! The words and the mathematics of Lode: concepts, units, average precision, summaries and their merge,
//! interventions and shard plans.
//!
//! Pure and synchronous: no IO, no async, no wire types, no tensors, no storage.

pub mod compare;
pub mod concept;
pub mod expertise;
pub mod format;
pub mod id;
pub mod intervention;
pub mod job;
pub mod pooling;
pub mod ranking;
pub mod sampling;
pub mod score;
pub mod selection;
pub mod summary;
pub mod unit;
mod words;

pub use words::BadChoice;
