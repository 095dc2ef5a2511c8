//! The flags that say how much a coordinator takes on.

use std::{num::NonZeroU32, time::Duration};

use lode_proto::{CallLimits, LineLimits};

/// How much may be asked of a coordinator.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// Of connections.
    pub lines: LineLimits,
    /// Of calls, by token, or by address where there are no tokens.
    pub calls: CallLimits,
}

/// The flags.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Connections at most; when there are more, those over which nobody has called for longest are closed.
    #[arg(long, value_name = "N", default_value = "1024")]
    max_connections: NonZeroU32,
    /// Seconds that a peer may take from its connection, TLS handshake and all, to its first call.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    handshake_timeout: u64,
    /// Seconds that a connection may stay without a call.
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    idle_timeout: u64,
    /// Calls a second that one token may make, or one address without a token; twice as many at once after a pause.
    /// Heartbeats of workers do not count.
    #[arg(long, value_name = "N", default_value = "200")]
    rate_limit: NonZeroU32,
    /// Calls of one token, or of one address without a token, that may run at the same time; a stream counts until it
    /// ends.
    #[arg(long, value_name = "N", default_value = "256")]
    max_calls: NonZeroU32,
}

impl LimitArgs {
    /// What was meant.
    pub fn limits(&self) -> Limits {
        let lines = LineLimits {
            connections: self.max_connections.get() as usize,
            first_call: Duration::from_secs(self.handshake_timeout),
            idle: Duration::from_secs(self.idle_timeout),
            ..LineLimits::default()
        };
        Limits { lines, calls: CallLimits { per_second: self.rate_limit, at_once: self.max_calls } }
    }
}
