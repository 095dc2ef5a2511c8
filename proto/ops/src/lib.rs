//! What operators see of a process: `/healthz`, `/readyz` and `/metrics` over HTTP, and its logs.
//!
//! Coordinator and worker share it. It knows nothing of either: a [`Subject`] says whether it is ready, and a table of
//! [`Metric`]s says what there is to count.

mod args;
mod http;
mod log;
mod metric;

pub use self::{
    args::OpsArgs,
    http::{Front, FrontError, Subject},
    log::LogFormat,
    metric::{Kind, Metric},
};
pub use metrics::Unit;
