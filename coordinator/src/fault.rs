//! Which kind of fault an error of the coordinator's parts is.

use lode_domain::{event::JobState, id::JobId};
use lode_index::IndexError;
use lode_proto::{Fault, FaultKind};

use crate::journal::JournalError;

/// Gives an index error its kind.
pub(crate) fn of_index(error: IndexError) -> Fault {
    let kind = match &error {
        IndexError::UnknownModel { .. }
        | IndexError::UnregisteredModel { .. }
        | IndexError::UnknownConcept(_)
        | IndexError::UnknownUnit { .. }
        | IndexError::NotMeasured { .. } => FaultKind::NotFound,
        IndexError::NoSpace { .. } | IndexError::DiskFull { .. } => FaultKind::Exhausted,
        IndexError::Corrupt { .. } => FaultKind::DataLoss,
        _ => FaultKind::Internal,
    };
    Fault { kind, message: error.to_string(), retry_after: None }
}

/// A job that cannot be written down is not taken.
pub(crate) fn of_journal(error: JournalError) -> Fault {
    Fault::exhausted(format!("the job was not taken: {error}"))
}

/// No such job.
pub(crate) fn unknown_job(job: JobId) -> Fault {
    Fault::not_found(format!("there is no {job}: see `lode jobs`; the oldest jobs are forgotten in time"))
}

/// A job that has ended.
pub(crate) fn ended_job(job: JobId, state: JobState) -> Fault {
    Fault::precondition(format!("{job} is {state} already"))
}
