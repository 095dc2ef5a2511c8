//! Which kind of fault a worker's error is.

use lode_model::ModelError;
use lode_proto::Fault;

/// What was asked of the model cannot be done; or the device failed, and whoever asked is not to blame.
pub(crate) fn of_model(error: ModelError) -> Fault {
    match error {
        ModelError::Compute(_) => {
            tracing::error!(%error, "the device failed");
            Fault::internal(error.to_string())
        }
        error => Fault::invalid(error),
    }
}

/// The device failed at work that it does for many; another worker's may not.
pub(crate) fn of_device(error: &ModelError) -> Fault {
    tracing::error!(%error, "the device failed");
    Fault::unavailable(format!("its device failed: {error}"))
}

/// The device thread is gone; the process is about to end.
pub(crate) fn device_died() -> Fault {
    Fault::unavailable("the worker's device thread died")
}
