//! What the coordinator's flags meant.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::{Limits, Security};

/// A coordinator's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the index lives; created if it is not there.
    pub data_dir: PathBuf,
    /// Where clients and workers reach it.
    pub grpc: SocketAddr,
    /// Who may call it.
    pub security: Security,
    /// How long it waits for what.
    pub timing: Timing,
    /// Whether the coordinator stays: jobs that were interrupted go on, and new ones outlive it. If not, its jobs end with it.
    pub resume: bool,
    /// How much it takes on.
    pub limits: Limits,
}

/// How long the coordinator waits for what.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Silence after which a worker is taken for gone.
    pub lease: Duration,
    /// How long a job without any worker waits for one.
    pub patience: Duration,
    /// How long a worker may send nothing of its shard.
    pub shard_deadline: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            patience: Duration::from_secs(600),
            shard_deadline: Duration::from_secs(300),
        }
    }
}
