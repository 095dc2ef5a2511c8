//! The typed client library: what the `lode` command line is written with, and other programs can be.
//!
//! A [`Client`] speaks to a coordinator in the domain's words; [`embedded::Embedded`] is a whole cluster in this process,
//! spoken to in the same way, over gRPC; [`concepts::read`] turns files and folders into concepts. Only `stub.rs` knows
//! the wire.

pub mod concepts;
pub mod embedded;
mod stub;

pub use lode_proto::{Credentials, Fault, FaultKind};
pub use stub::{Client, Events, Export};
