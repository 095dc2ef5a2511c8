//! What operators see of a process: `/healthz`, `/readyz` and `/metrics` over HTTP, its logs, and the signals that end it.
//!
//! Coordinator and worker share it. It knows nothing of either: a [`Subject`] says whether it is ready, and a table of
//! [`Metric`]s says what there is to count. A subject that serves more than probes over HTTP takes the front's connections over
//! ([`Subject::host`]): one address for all of it.

mod args;
mod connection;
mod files;
mod http;
mod log;
mod metric;
mod otlp;
mod pause;
mod signal;

pub use self::{
    args::OpsArgs,
    connection::{Arrival, converse},
    files::allow_files,
    http::{Front, FrontError, Hosted, Subject},
    log::LogFormat,
    metric::{Kind, Metric},
    otlp::{BadOtlp, Telemetry},
    pause::pause_at,
    signal::{heed_signals, stopped, terminated},
};
pub use metrics::Unit;
