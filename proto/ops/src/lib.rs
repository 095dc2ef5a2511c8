//! What operators see of a process: `/healthz`, `/readyz` and `/metrics` over HTTP, its logs, and the signals that end it.
//!
//! Coordinator and worker share it. It knows nothing of either: a [`Subject`] says whether it is ready, and a table of
//! [`Metric`]s says what there is to count.

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
    files::allow_files,
    http::{Front, FrontError, Subject},
    log::LogFormat,
    metric::{Kind, Metric},
    otlp::{BadOtlp, Telemetry},
    pause::pause_at,
    signal::{heed_signals, stopped, terminated},
};
pub use metrics::Unit;
