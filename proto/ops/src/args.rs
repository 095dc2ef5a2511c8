//! The flags that every server has.

use std::net::SocketAddr;

use crate::{BadOtlp, Front, FrontError, LogFormat, Metric, Telemetry};

/// Flags for operators; flattened into a program's own, which clap tells from these by the name of the struct.
#[derive(Clone, Debug, clap::Args)]
pub struct OpsArgs {
    /// Address to serve /healthz, /readyz and /metrics on over HTTP, and a coordinator's API; off unless given. Whoever reaches
    /// it may read the metrics; the API asks for tokens as gRPC does.
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// How log lines are written to stderr.
    #[arg(long, value_enum, value_name = "FORMAT", env = "LODE_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Collector to send the spans of calls, jobs and shards to, as OTLP over gRPC; off unless given.
    #[arg(long, value_name = "URL", env = "LODE_OTLP")]
    pub otlp: Option<String>,
}

impl OpsArgs {
    /// Begins to log, and to send spans under the name `service` if that is asked for, until the value is dropped.
    ///
    /// # Errors
    /// If the collector's URL is none.
    pub fn observe(&self, service: &'static str) -> Result<Telemetry, BadOtlp> {
        self.log_format.init(service, self.otlp.as_deref())
    }

    /// Starts the HTTP front, if one is asked for.
    ///
    /// # Errors
    /// As [`Front::start`].
    pub async fn front(&self, tables: &[&[Metric]]) -> Result<Option<Front>, FrontError> {
        match self.http {
            Some(address) => Front::start(address, tables).await.map(Some),
            None => Ok(None),
        }
    }
}
