//! The flags that say how much a coordinator takes on.

use std::{num::NonZeroU32, time::Duration};

use bytesize::ByteSize;
use lode_index::DEFAULT_CACHE;
use lode_proto::{CallLimits, LineLimits};

/// How much may be asked of a coordinator.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of connections.
    pub lines: LineLimits,
    /// Of calls, by token, or by address where there are no tokens.
    pub calls: CallLimits,
    /// Of requests to generate.
    pub generation: GenerationLimits,
    /// Bytes of memory for pages of the index.
    pub index_cache: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            lines: LineLimits::default(),
            calls: CallLimits::default(),
            generation: GenerationLimits::default(),
            index_cache: DEFAULT_CACHE,
        }
    }
}

/// How many requests to generate wait, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct GenerationLimits {
    /// Requests for one model that wait for a worker.
    pub most_waiting: usize,
    /// How long one waits.
    pub patience: Duration,
    /// How long one takes, its waiting included.
    pub longest: Duration,
}

impl Default for GenerationLimits {
    fn default() -> Self {
        let (patience, longest) = (Duration::from_secs(MAX_WAIT), Duration::from_secs(GENERATION_TIMEOUT));
        Self { most_waiting: MAX_WAITING, patience, longest }
    }
}

const MAX_WAITING: usize = 256;
const MAX_WAIT: u64 = 30;
const GENERATION_TIMEOUT: u64 = 600;
const LEAST_CACHE: ByteSize = ByteSize::mib(1);

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
    /// Requests to generate with one model that wait for a place on a worker, at most; when there are more, the latest of the
    /// caller who has most of them is refused. Places are shared out evenly between tokens, or addresses without a token.
    #[arg(long, value_name = "N", default_value_t = MAX_WAITING)]
    max_waiting: usize,
    /// Seconds that such a request waits.
    #[arg(long, value_name = "SECONDS", default_value_t = MAX_WAIT)]
    max_wait: u64,
    /// Seconds that a request to generate may take in all.
    #[arg(long, value_name = "SECONDS", default_value_t = GENERATION_TIMEOUT, value_parser = clap::value_parser!(u64).range(1..))]
    generation_timeout: u64,
    /// Memory for pages of the index that were read or written, at least 1MiB. Most questions are answered without them, from the system's
    /// file cache.
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize(DEFAULT_CACHE), value_parser = index_cache)]
    index_cache: ByteSize,
}

fn index_cache(text: &str) -> Result<ByteSize, String> {
    let bytes: ByteSize = text.parse()?;
    if bytes < LEAST_CACHE { Err(format!("it must be at least {LEAST_CACHE}")) } else { Ok(bytes) }
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
        let generation = GenerationLimits {
            most_waiting: self.max_waiting,
            patience: Duration::from_secs(self.max_wait),
            longest: Duration::from_secs(self.generation_timeout),
        };
        let calls = CallLimits { per_second: self.rate_limit, at_once: self.max_calls, ..CallLimits::default() };
        Limits { lines, calls, generation, index_cache: self.index_cache.as_u64() }
    }
}
