//! Tokens and certificates that change while the worker runs. Calls that run and connections that are open stay.

use lode_domain::access::{Grant, Role, TokenTable};
use lode_proto::{BadCredentials, BadTls, Credentials, Door, Fault, ServerTls};
use tokio::sync::watch;

use crate::registration::Registration;

/// Why new credentials are not used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    /// They do not go with the coordinator's URL.
    #[error(transparent)]
    Credentials(#[from] BadCredentials),
    /// The certificate and its key are not what they should be.
    #[error(transparent)]
    Certificate(#[from] BadTls),
    /// The coordinator does not know them.
    #[error("the coordinator refused them: {0}")]
    Refused(Fault),
}

/// Lets in who shows one of the tokens, and serves TLS by the last of `credentials`.
///
/// The coordinator shows this worker its own token. Only it calls, so it has no limit of calls: others do.
pub(crate) fn admit(door: &Door, credentials: &[&Credentials]) -> Result<(), BadTls> {
    let grant = |secret| Grant { role: Role::Worker, secret };
    let own: Vec<Grant> = credentials.iter().filter_map(|one| one.token.clone()).map(grant).collect();
    let tokens = (!own.is_empty()).then(|| TokenTable::new(&own));
    let identity = credentials.last().and_then(|last| last.identity.clone());
    door.change(tokens, identity.map(|identity| ServerTls { identity, client_ca: None }).as_ref())
}

/// Takes over what comes through `changes` in the place of `known`; never ends.
pub(crate) async fn heed(
    mut changes: watch::Receiver<Credentials>,
    mut known: Credentials,
    door: &Door,
    registration: &Registration,
) {
    while changes.changed().await.is_ok() {
        let new = changes.borrow_and_update().clone();
        match adopt(&known, &new, door, registration).await {
            Ok(()) => {
                tracing::info!("token and certificates read again");
                known = new;
            }
            Err(error) => tracing::error!(%error, "the old token and certificates stay"),
        }
    }
    std::future::pending().await
}

/// The coordinator shows the new token once it has seen it, and until then the old one.
async fn adopt(
    known: &Credentials,
    new: &Credentials,
    door: &Door,
    registration: &Registration,
) -> Result<(), Unusable> {
    let stub = registration.stub(new)?;
    admit(door, &[known, new])?;
    if let Err(refusal) = registration.introduce(stub).await {
        admit(door, &[known])?;
        return Err(Unusable::Refused(refusal));
    }
    Ok(admit(door, &[new])?)
}
