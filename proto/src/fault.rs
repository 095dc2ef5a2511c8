//! Errors on the wire: facts with a kind; one table makes them a status and back.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{distrust::distrust, trace::RequestId};

/// What an error means to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The request can never work.
    Invalid,
    /// Something named is not there.
    NotFound,
    /// The request does not fit the present state; something else must happen first.
    Precondition,
    /// No room at the moment, or a limit was reached.
    Exhausted,
    /// Whoever should answer cannot be reached; trying again may help.
    Unavailable,
    /// Nobody knows who asks: a token or a certificate is missing, unknown or no longer valid.
    Unauthenticated,
    /// Who asks is known and may not.
    Denied,
    /// Somebody stopped it.
    Cancelled,
    /// The time that it may take was over before it was done.
    Late,
    /// Stored data is damaged.
    DataLoss,
    /// A bug, or something nobody foresaw.
    Internal,
}

/// The one table.
const CODES: [(FaultKind, Code); 11] = [
    (FaultKind::Invalid, Code::InvalidArgument),
    (FaultKind::NotFound, Code::NotFound),
    (FaultKind::Precondition, Code::FailedPrecondition),
    (FaultKind::Exhausted, Code::ResourceExhausted),
    (FaultKind::Unavailable, Code::Unavailable),
    (FaultKind::Unauthenticated, Code::Unauthenticated),
    (FaultKind::Denied, Code::PermissionDenied),
    (FaultKind::Cancelled, Code::Cancelled),
    (FaultKind::Late, Code::DeadlineExceeded),
    (FaultKind::DataLoss, Code::DataLoss),
    (FaultKind::Internal, Code::Internal),
];

/// An error that travels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What it means to the caller.
    pub kind: FaultKind,
    /// What was wrong, where, and what to do.
    pub message: String,
    /// When the same request may work, if waiting is all that it takes and somebody knows for how long.
    pub retry_after: Option<Duration>,
}

macro_rules! makers {
    ($($name:ident $kind:ident $doc:literal),+ $(,)?) => {
        $(
            #[doc = $doc]
            pub fn $name(message: impl std::fmt::Display) -> Self {
                Self { kind: FaultKind::$kind, message: message.to_string(), retry_after: None }
            }
        )+
    };
}

impl Fault {
    makers!(
        invalid Invalid "The request can never work.",
        not_found NotFound "Something named is not there.",
        precondition Precondition "The request does not fit the present state.",
        exhausted Exhausted "No room at the moment.",
        unavailable Unavailable "Whoever should answer cannot be reached.",
        unauthenticated Unauthenticated "Nobody knows who asks.",
        denied Denied "Who asks is known and may not.",
        cancelled Cancelled "Somebody stopped it.",
        late Late "The time that it may take is over.",
        data_loss DataLoss "Stored data is damaged.",
        internal Internal "A bug, or something nobody foresaw.",
    );

    /// The same, with the time after which the request may work.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Whether the same request may work later or elsewhere.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, FaultKind::Exhausted | FaultKind::Unavailable)
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        let code = CODES.iter().find(|(kind, _)| *kind == fault.kind).map_or(Code::Internal, |(_, code)| *code);
        match fault.retry_after {
            None => Self::new(code, fault.message),
            Some(wait) => Self::with_error_details(code, fault.message, ErrorDetails::with_retry_info(Some(wait))),
        }
    }
}

impl From<Status> for Fault {
    fn from(status: Status) -> Self {
        if let Some(fault) = std::error::Error::source(&status).and_then(distrust) {
            return fault;
        }
        if BROKEN.contains(&status.message()) {
            return broken(&status);
        }
        let kind = match status.code() {
            // What gRPC itself says when a peer is gone.
            Code::Aborted => FaultKind::Unavailable,
            // How tonic's client reports its own time limit.
            Code::Cancelled if status.message() == "Timeout expired" => FaultKind::Unavailable,
            Code::Unknown if status.message().contains("transport") || status.message().contains("h2") => {
                FaultKind::Unavailable
            }
            // A connection that was cut amid a stream.
            Code::Internal | Code::Cancelled if status.message().contains("h2 protocol error") => {
                FaultKind::Unavailable
            }
            Code::OutOfRange | Code::Unimplemented => FaultKind::Invalid,
            code => CODES.iter().find(|(_, known)| *known == code).map_or(FaultKind::Internal, |(kind, _)| *kind),
        };
        let mut message =
            if status.message().is_empty() { status.code().to_string() } else { status.message().to_owned() };
        let retry_after = status.get_details_retry_info().and_then(|retry| retry.retry_delay);
        // Servers on the way may have said so already.
        if let Some(wait) = retry_after.filter(|_| !message.contains("; try again in ")) {
            message += &format!("; try again in {:.1} s", wait.as_secs_f64().max(0.1));
        }
        // What the user can do nothing about is in the logs, under this id. Servers on the way have added theirs already.
        if matches!(kind, FaultKind::Unavailable | FaultKind::Internal | FaultKind::DataLoss)
            && let Some(request) = RequestId::of_reply(status.metadata())
            && !message.contains(request.as_str())
        {
            message += &format!(" (request {request})");
        }
        Self { kind, message, retry_after }
    }
}

/// What the libraries below say when a connection fails or ends under a call.
const BROKEN: [&str; 2] = ["operation was canceled", "transport error"];

/// A connection that failed. Over TLS 1.3 a server refuses a client only after the client believes to be connected, so the
/// server's reason may be lost, and what it can be has to be said here.
fn broken(status: &Status) -> Fault {
    let mut cause = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        cause = error.to_string();
        source = error.source();
    }
    Fault::unavailable(format!(
        "the connection failed ({cause}): is the server there? One that speaks TLS needs https:// and --ca FILE; one that \
         asks for a client certificate needs --tls-cert FILE --tls-key FILE, signed by its --tls-client-ca and not expired"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_wire() {
        for (kind, _) in CODES {
            let fault = Fault { kind, message: "concept `a/b` is not indexed".to_owned(), retry_after: None };
            assert_eq!(Fault::from(Status::from(fault.clone())), fault);
        }
    }

    #[test]
    fn when_to_try_again_survives_the_wire_and_is_said_once() {
        let busy = Fault::exhausted("no room").retry_after(Duration::from_millis(1500));
        let told = Fault::from(Status::from(busy.clone()));
        assert_eq!((told.message.as_str(), told.retry_after), ("no room; try again in 1.5 s", busy.retry_after));
        assert_eq!(Fault::from(Status::from(told.clone())), told, "another server on the way");
    }

    #[test]
    fn what_a_user_cannot_mend_names_the_request_once() {
        let told = |fault: Fault| {
            let mut status = Status::from(fault);
            status.metadata_mut().insert("x-request-id", "nightly-7".parse().unwrap());
            Fault::from(status)
        };
        let fault = told(Fault::internal("the index thread failed"));
        assert_eq!(fault.message, "the index thread failed (request nightly-7)");
        assert_eq!(told(fault.clone()), fault, "another server on the way");
        let fault = Fault::not_found("no such concept");
        assert_eq!(told(fault.clone()), fault);
    }
}
