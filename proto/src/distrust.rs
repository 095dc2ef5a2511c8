//! Connections that fail because the two ends do not trust each other: what that looks like and what to do.

use crate::Fault;

/// Part of what the TLS library or HTTP/2 says, and what it means to people.
const CAUSES: [(&str, &str); 8] = [
    ("CertificateExpired", "the client's certificate has expired: make a new one"),
    ("CertificateRequired", "the server asks for a client certificate: give --tls-cert FILE --tls-key FILE"),
    (
        "received fatal alert",
        "the server does not accept the client's certificate: have one signed by its --tls-client-ca",
    ),
    ("invalid peer certificate: certificate expired", "the server's certificate has expired: make a new one"),
    (
        "invalid peer certificate: certificate not valid for name",
        "the server's certificate is for other names than the URL's host",
    ),
    (
        "invalid peer certificate",
        "the server's certificate is not to be trusted: is --ca the authority that signed it?",
    ),
    ("InvalidContentType", "the server does not speak TLS: write http:// if that is meant"),
    (
        "frame with invalid size",
        "the server does not speak plain gRPC: one that speaks TLS needs https:// and --ca FILE",
    ),
];

/// The fault behind a failed connection, if the failure is one of trust. Trying again does not help.
pub fn distrust(error: &(dyn std::error::Error + 'static)) -> Option<Fault> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if let Some((_, meaning)) = CAUSES.iter().find(|(part, _)| text.contains(part)) {
            return Some(Fault::unauthenticated(format!("{meaning} ({text})")));
        }
        cause = error.source();
    }
    None
}
