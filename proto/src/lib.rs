//! The wire: generated types and services, and their conversions to and from the domain.
//!
//! Only this crate's conversions, the `server.rs` files and the client's stub name generated types; everything else
//! speaks domain. A new RPC is a message in `lode/v1`, a conversion under `convert`, and a method in a `server.rs`.

pub mod convert;
mod credentials;
mod distrust;
mod door;
mod fault;
mod pem;
mod reflection;
pub mod trace;

pub use credentials::{BadCredentials, Bearer, BearerChannel, Credentials};
pub use distrust::distrust;
pub use door::{
    Admitted, BadTls, CallLimits, Caller, Charged, Door, Guard, Guarded, Knock, Line, LineInfo, LineLimits,
    SMALL_MESSAGE, bearer_of,
};
pub use fault::{Fault, FaultKind};
pub use pem::{Authority, BadPem, Identity, ServerTls};
pub use reflection::reflection;

pub mod wire {
    //! Generated from `lode/v1/*.proto`.
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated")]
    tonic::include_proto!("lode.v1");
}
