//! Trains future discriminators (FUDGE) on sentences with a concept and without it.
//!
//! Sentences come as token ids, and a [`Discriminator`] goes: what runs it is pure and lies in `lode_domain::guide`. Here candle works
//! out the gradients, on the CPU.

mod network;
mod train;

pub use lode_domain::guide::Discriminator;

pub use self::train::{Example, Options, TrainError, Trained, train};
