//! The words and the mathematics of Lode: concepts, units, average precision, summaries and their merge,
//! interventions and shard plans.
//!
//! Pure and synchronous: no IO, no async, no wire types, no tensors, no storage.

pub mod concept;
pub mod expertise;
pub mod id;
pub mod intervention;
pub mod pooling;
pub mod sampling;
pub mod unit;
mod words;

pub use words::BadChoice;
