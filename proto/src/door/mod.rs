//! The door of a server: how many connections it holds, who calls over them, and how much each caller may ask.
//!
//! A [`Door`] accepts connections ([`Door::incoming`]; [`Door::seat`] for HTTP/1.1) and is what every call goes through
//! ([`Door::guard`]; a layer for gRPC).
//! The two know of each other: a connection over which nobody calls is the first to go when there is no room.

mod body;
mod guard;
mod limits;
mod line;
mod seats;
mod seldom;
mod tls;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use lode_domain::access::TokenTable;

pub use self::{
    guard::{Admitted, Guard, Guarded, Knock, bearer_of},
    limits::{CallLimits, Caller, Charged},
    line::{Line, LineInfo},
    tls::BadTls,
};
use self::{limits::Limits, seats::Seats, tls::Configs};
use crate::ServerTls;

/// Bytes of one message of the services that only probes and tools call.
pub const SMALL_MESSAGE: usize = 64 << 10;

/// How many connections a server holds, and how patient it is with them.
#[derive(Clone, Copy, Debug)]
pub struct LineLimits {
    /// Connections at most.
    pub connections: usize,
    /// Calls at once over one of them.
    pub streams: u32,
    /// How long a peer may take from its connection to its first call.
    pub first_call: Duration,
    /// How long a connection may stay without a call.
    pub idle: Duration,
}

impl Default for LineLimits {
    fn default() -> Self {
        Self { connections: 1024, streams: 256, first_call: Duration::from_secs(10), idle: Duration::from_secs(600) }
    }
}

/// See the module. Clones are of the same door.
#[derive(Clone)]
pub struct Door {
    seats: Arc<Seats>,
    guard: Guard,
    tls: Arc<ArcSwapOption<Configs>>,
}

impl Door {
    /// A door without tokens and TLS.
    pub fn new(lines: LineLimits, charged: Charged) -> Self {
        let guard = Guard::new(Arc::new(Limits::new(charged)));
        Self { seats: Arc::new(Seats::new(lines)), guard, tls: Arc::default() }
    }

    /// Changes who gets in; calls that run and connections that are open stay.
    ///
    /// # Errors
    /// If the certificates cannot be used; then nothing changes.
    pub fn change(&self, tokens: Option<TokenTable>, tls: Option<&ServerTls>) -> Result<(), BadTls> {
        let configs = tls.map(tls::server_configs).transpose()?;
        self.tls.store(configs);
        self.guard.change(tokens);
        Ok(())
    }

    /// The layer for all calls.
    pub fn guard(&self) -> Guard {
        self.guard.clone()
    }

    /// Whether calls have to come over TLS.
    pub fn has_tls(&self) -> bool {
        self.tls.load().is_some()
    }

    /// The connections that are open at the moment.
    pub fn connections(&self) -> usize {
        self.seats.taken()
    }

    /// Calls at once over one connection.
    pub fn streams(&self) -> u32 {
        self.seats.limits.streams
    }
}
