//! Certificates and keys, from PEM files.

use std::path::{Path, PathBuf};

use tonic::transport::Certificate;

/// A file of certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadPem {
    /// It cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// As the system says.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("{path} holds no {what} in PEM form")]
    Without {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
    },
}

/// Who signs the certificates of the other side.
#[derive(Clone, PartialEq, Eq)]
pub struct Authority(Vec<u8>);

/// A certificate and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// How a server speaks TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// What it shows.
    pub identity: Identity,
    /// Who must have signed what clients show; without one they show nothing.
    pub client_ca: Option<Authority>,
}

impl Authority {
    /// Reads the certificates of authorities.
    ///
    /// # Errors
    /// If there are none in the file.
    pub fn read(path: &Path) -> Result<Self, BadPem> {
        Ok(Self(read(path, "CERTIFICATE", "certificate")?))
    }

    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::from_pem(&self.0)
    }

    pub(crate) fn pem(&self) -> &[u8] {
        &self.0
    }
}

impl Identity {
    /// Reads a certificate (with those between it and its authority) and its key.
    ///
    /// # Errors
    /// If one is not in its file.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, BadPem> {
        let certificate = read(certificate, "CERTIFICATE", "certificate")?;
        let key = read(key, "PRIVATE KEY", "private key")?;
        Ok(Self { certificate, key })
    }

    pub(crate) fn pair(&self) -> tonic::transport::Identity {
        tonic::transport::Identity::from_pem(&self.certificate, &self.key)
    }

    pub(crate) fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

fn read(path: &Path, label: &str, what: &'static str) -> Result<Vec<u8>, BadPem> {
    let pem = std::fs::read(path).map_err(|source| BadPem::Unreadable { path: path.to_owned(), source })?;
    let is_there = String::from_utf8_lossy(&pem)
        .lines()
        .any(|line| line.starts_with("-----BEGIN ") && line.trim_end().trim_end_matches('-').ends_with(label));
    if is_there { Ok(pem) } else { Err(BadPem::Without { path: path.to_owned(), what }) }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}

/// Without the key.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}
