//! How a unit's activations over a sentence's tokens become one response, and which tokens count.

use serde::{Deserialize, Serialize};

use crate::words::words;

/// The reduction over tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Pooling {
    /// The largest activation, as in the paper.
    #[default]
    Max,
    /// The arithmetic mean of the activations.
    Mean,
    /// The activation at the last token.
    Last,
}

words!(Pooling, "max, mean, last", Max = "max", Mean = "mean", Last = "last");

/// Which positions of a sentence are run and pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum Tokens {
    /// The text's own tokens; special tokens run but never count.
    #[default]
    Own,
    /// As the reference code does: right-padded to 128 with EOS, pads masked as keys but counted in the pooling;
    /// longer sentences dropped.
    Selfcond,
}

words!(Tokens, "own, selfcond", Own = "own", Selfcond = "selfcond");

/// The width that `--compat selfcond` pads to.
pub const SELFCOND_LEN: usize = 128;
