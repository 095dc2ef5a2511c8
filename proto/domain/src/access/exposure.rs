//! Whether an address may be served on.

use std::net::SocketAddr;

/// How a server is guarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Callers show tokens.
    Guarded,
    /// Anyone who reaches it may call it, and nobody said that this is meant.
    Open,
    /// Anyone who reaches it may call it, as `--insecure` says.
    Insecure,
}

/// An open door to the network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "listening on {address} without tokens would let anyone who reaches it use it: give --token-file FILE, or --insecure \
     if everyone who does may"
)]
pub struct Exposed {
    /// Where.
    pub address: SocketAddr,
}

impl Exposure {
    /// What the flags say.
    pub fn of(has_tokens: bool, insecure: bool) -> Self {
        match (has_tokens, insecure) {
            (true, _) => Self::Guarded,
            (false, true) => Self::Insecure,
            (false, false) => Self::Open,
        }
    }

    /// An open server stays on the loopback.
    ///
    /// # Errors
    /// If it would not.
    pub fn check(self, address: SocketAddr) -> Result<(), Exposed> {
        match self {
            Self::Open if !address.ip().is_loopback() => Err(Exposed { address }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_open_server_must_stay_on_the_loopback() {
        let check = |tokens, insecure, address: &str| Exposure::of(tokens, insecure).check(address.parse().unwrap());
        assert!(check(false, false, "127.0.0.1:7400").is_ok() && check(false, false, "[::1]:7400").is_ok());
        for address in ["0.0.0.0:0", "10.0.0.1:7400", "[::]:7400"] {
            let refused = check(false, false, address).unwrap_err().to_string();
            assert!(refused.contains("--token-file") && refused.contains("--insecure") && refused.contains(address));
            assert!(check(true, false, address).is_ok() && check(false, true, address).is_ok());
        }
    }
}
