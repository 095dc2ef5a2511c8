//! Who may call the coordinator, and what it shows to others.

use lode_domain::access::{Secret, TokenTable};
use lode_proto::{Credentials, ServerTls};

/// The coordinator's tokens and certificates; by default it has none.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// Who bears which role; without a table, everyone may do everything.
    pub tokens: Option<TokenTable>,
    /// How it speaks TLS, if it does.
    pub tls: Option<ServerTls>,
}

impl Security {
    /// What is shown to the worker at `url`, which showed `token` when it registered.
    ///
    /// It gets its own token back: so it knows that the caller is the coordinator it went to, and learns no other
    /// worker's. The authority that signs clients signs workers too.
    pub(crate) fn towards_worker(&self, url: &str, token: Option<Secret>) -> Credentials {
        let tls = self.tls.as_ref().filter(|_| url.starts_with("https:"));
        Credentials {
            token,
            ca: tls.and_then(|tls| tls.client_ca.clone()),
            identity: tls.map(|tls| tls.identity.clone()),
        }
    }
}
