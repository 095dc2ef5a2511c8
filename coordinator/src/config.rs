//! What the coordinator's flags meant.

use std::{net::SocketAddr, path::PathBuf};

/// A coordinator's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the index lives; created if it is not there.
    pub data_dir: PathBuf,
    /// Where clients and workers reach it.
    pub grpc: SocketAddr,
}
