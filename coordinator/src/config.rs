//! What the coordinator's flags meant.

use std::{net::SocketAddr, path::PathBuf};

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
    /// How much it takes on.
    pub limits: Limits,
}
