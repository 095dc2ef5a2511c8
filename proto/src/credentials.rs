//! What a caller shows and whom it trusts.

use lode_domain::access::Secret;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataMap, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    pem::{Authority, Identity},
    trace::{self, RequestId},
};

/// A caller's token and certificates, as far as it has any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Shown with every call.
    pub token: Option<Secret>,
    /// Who must have signed the server's certificate.
    pub ca: Option<Authority>,
    /// The certificate shown to servers that ask for one.
    pub identity: Option<Identity>,
}

/// A connection that shows a token with every call.
pub type BearerChannel = InterceptedService<Channel, Bearer>;

/// Credentials and a URL that do not fit.
#[derive(Debug, thiserror::Error)]
pub enum BadCredentials {
    /// No URL of a gRPC server.
    #[error("{0}")]
    Url(String),
    /// Nobody to vouch for the server.
    #[error("https:// needs --ca FILE, the certificate of the authority that signed the server's")]
    NoAuthority,
    /// Certificates that would not be used.
    #[error("http:// is not encrypted, but certificates are given: write https:// or leave them out")]
    NotEncrypted,
    /// Certificates that the TLS library refuses.
    #[error("the certificates cannot be used: {0}")]
    Certificates(tonic::transport::Error),
    /// A token that cannot be sent.
    #[error("the token is empty or has characters that are not printable ASCII")]
    Token,
}

impl Credentials {
    /// The server at `url`, not connected yet.
    ///
    /// # Errors
    /// If it is no URL, or its scheme does not go with the certificates.
    pub fn endpoint(&self, url: &str) -> Result<Endpoint, BadCredentials> {
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(|error| BadCredentials::Url(error.to_string()))?;
        match (endpoint.uri().scheme_str(), &self.ca) {
            (Some("http"), None) if self.identity.is_none() => Ok(endpoint),
            (Some("http"), _) => Err(BadCredentials::NotEncrypted),
            (Some("https"), None) => Err(BadCredentials::NoAuthority),
            (Some("https"), Some(ca)) => {
                let config = ClientTlsConfig::new().ca_certificate(ca.certificate());
                let config = match &self.identity {
                    Some(identity) => config.identity(identity.pair()),
                    None => config,
                };
                endpoint.tls_config(config).map_err(BadCredentials::Certificates)
            }
            _ => Err(BadCredentials::Url("it does not begin with http:// or https://".to_owned())),
        }
    }

    /// What adds the token to calls.
    ///
    /// # Errors
    /// If it cannot be sent.
    pub fn bearer(&self) -> Result<Bearer, BadCredentials> {
        let Some(token) = &self.token else { return Ok(Bearer { header: None }) };
        if token.reveal().is_empty() || !token.reveal().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadCredentials::Token);
        }
        let header = format!("Bearer {}", token.reveal());
        let mut header: MetadataValue<Ascii> = header.parse().map_err(|_| BadCredentials::Token)?;
        header.set_sensitive(true);
        Ok(Bearer { header: Some(header) })
    }
}

/// Adds a token to calls, and the id of the request that they are part of.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// Marked as sensitive, so that no library below prints or compresses it.
    header: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.header {
            request.metadata_mut().insert("authorization", header.clone());
        }
        let mut headers = std::mem::take(request.metadata_mut()).into_headers();
        headers.insert(trace::HEADER, RequestId::to_send().header());
        headers.extend(trace::context());
        *request.metadata_mut() = MetadataMap::from_headers(headers);
        Ok(request)
    }
}
