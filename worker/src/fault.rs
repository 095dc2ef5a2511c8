//! Which kind of fault a worker's error is.

use lode_model::ModelError;
use lode_proto::Fault;

/// What was asked of the model cannot be done.
pub(crate) fn of_model(error: ModelError) -> Fault {
    Fault::invalid(error)
}

/// The device thread is gone; the process is about to end.
pub(crate) fn device_died() -> Fault {
    Fault::unavailable("the worker's device thread died")
}
