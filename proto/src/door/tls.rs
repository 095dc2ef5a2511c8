//! How the door speaks TLS.

use std::sync::Arc;

use tokio_rustls::rustls::{
    self, RootCertStore, ServerConfig,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    server::{VerifierBuilderError, WebPkiClientVerifier},
};

use crate::ServerTls;

/// Certificates that cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum BadTls {
    /// PEM, but not as it should be.
    #[error("a certificate or key is damaged: {0}")]
    Pem(#[from] pem::Error),
    /// A certificate that is not the key's, or that nobody can read.
    #[error("the certificate and its key cannot be used: {0}")]
    Identity(#[from] rustls::Error),
    /// An authority that cannot vouch for clients.
    #[error("the clients' authority cannot be used: {0}")]
    Authority(#[from] VerifierBuilderError),
}

/// What connections are accepted with: the same certificate and authority, another protocol.
pub(super) struct Configs {
    /// HTTP/2.
    pub(super) grpc: Arc<ServerConfig>,
    /// HTTP/1.1.
    pub(super) http: Arc<ServerConfig>,
}

/// Reads the certificates once for both protocols.
pub(super) fn server_configs(tls: &ServerTls) -> Result<Arc<Configs>, BadTls> {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            for certificate in CertificateDer::pem_slice_iter(authority.pem()) {
                roots.add(certificate?)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = CertificateDer::pem_slice_iter(tls.identity.certificate()).collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(tls.identity.key())?;
    let config = builder.with_single_cert(chain, key)?;
    let speaking = |protocol: &[u8]| {
        let mut config = config.clone();
        config.alpn_protocols.push(protocol.to_vec());
        Arc::new(config)
    };
    Ok(Arc::new(Configs { grpc: speaking(b"h2"), http: speaking(b"http/1.1") }))
}
