//! The words and the mathematics of Lode: concepts, units, average precision, summaries and their merge,
//! interventions and shard plans.
//!
//! Pure and synchronous: no IO, no async, no wire types, no tensors, no storage.

pub mod access;
pub mod chat;
pub mod closer;
pub mod cluster;
pub mod compare;
pub mod concept;
pub mod control;
pub mod criterion;
pub mod estimate;
pub mod event;
pub mod expertise;
pub mod format;
pub mod generation;
pub mod guide;
pub mod held;
pub mod holdout;
pub mod id;
pub mod intervention;
pub mod job;
pub mod likelihood;
pub mod lint;
pub mod observation;
pub mod plan;
pub mod pooling;
pub mod query;
pub mod ranking;
pub mod recent;
pub mod record;
pub mod sampling;
pub mod score;
pub mod selection;
pub mod sentence;
pub mod sketch;
pub mod summary;
pub mod unit;
mod words;

pub use words::BadChoice;
