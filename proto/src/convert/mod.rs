//! Conversions between wire and domain: `From` towards the wire, `TryFrom` towards the domain with an error that names
//! the field.

mod archive;
mod chat;
mod cluster;
mod condition;
mod details;
mod estimate;
mod generation;
mod guide;
mod job;
mod likelihood;
mod query;
mod shard;
mod words;

pub use archive::{event_from_bytes, event_to_bytes, job_from_records, job_to_records, spec_from_bytes, spec_to_bytes};
pub use chat::chat_request;
pub use job::{JobAssembly, MOST_JOB_BYTES, job_parts};
pub use likelihood::{score_reply, scored_passages};
pub use query::{query_experts, query_subject, top_query, top_request};
pub use shard::{find_held, held_question};

use crate::Fault;

/// A message that does not say what it must.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message field `{field}`: {problem}")]
pub struct BadField {
    /// The field's name in the .proto file.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

impl BadField {
    fn new(field: &'static str, problem: impl std::fmt::Display) -> Self {
        Self { field, problem: problem.to_string() }
    }
}

impl From<BadField> for Fault {
    fn from(bad: BadField) -> Self {
        Self::invalid(bad)
    }
}

/// A message field that must be there.
fn required<T>(value: Option<T>, field: &'static str) -> Result<T, BadField> {
    value.ok_or_else(|| BadField::new(field, "is missing"))
}

/// A text field that is read by the domain.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str, field: &'static str) -> Result<T, BadField> {
    text.parse().map_err(|error| BadField::new(field, error))
}

/// All of a repeated field.
fn all<W, D: TryFrom<W, Error = BadField>>(items: Vec<W>) -> Result<Vec<D>, BadField> {
    items.into_iter().map(D::try_from).collect()
}

/// Domain values to a repeated field.
fn each<W: From<D>, D>(items: Vec<D>) -> Vec<W> {
    items.into_iter().map(W::from).collect()
}

/// Gives an enum of the wire and one of the domain the same variants.
macro_rules! same_enum {
    ($wire:ident, $domain:ty, $field:literal, $($variant:ident),+) => {
        impl From<$domain> for wire::$wire {
            fn from(value: $domain) -> Self {
                match value { $(<$domain>::$variant => Self::$variant),+ }
            }
        }

        impl TryFrom<wire::$wire> for $domain {
            type Error = BadField;

            fn try_from(value: wire::$wire) -> Result<Self, BadField> {
                match value {
                    $(wire::$wire::$variant => Ok(Self::$variant),)+
                    wire::$wire::Unspecified => Err(BadField::new($field, "is not specified, or of a newer version")),
                }
            }
        }
    };
}
use same_enum;

#[cfg(test)]
mod tests;
