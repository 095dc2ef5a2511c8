//! The door of a server: who calls, and may they?

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, Request, Response};
use lode_domain::access::{Right, Secret, TokenTable};
use tonic::{Status, body::Body};
use tower_layer::Layer;
use tower_service::Service;

use crate::Fault;

/// A layer that lets only those in who show a token with the right that the RPC asks for; without tokens, everyone.
#[derive(Clone, Debug)]
pub struct Guard {
    tokens: Option<Arc<TokenTable>>,
}

impl Guard {
    /// A guard that knows some tokens.
    pub fn new(tokens: Option<TokenTable>) -> Self {
        Self { tokens: tokens.map(Arc::new) }
    }

    fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), Fault> {
        let right = Right::of_rpc(path);
        let Some(tokens) = self.tokens.as_ref().filter(|_| right != Right::Open) else { return Ok(()) };
        let Some(secret) = bearer_of(headers) else {
            return Err(Fault::unauthenticated(
                "a token is needed and none was sent: give one with --token, --token-file or in LODE_TOKEN",
            ));
        };
        let Some(role) = tokens.role(&secret) else {
            return Err(Fault::unauthenticated("the token that was sent is none of this cluster's"));
        };
        if role.has(right) {
            return Ok(());
        }
        let (method, holders) = (path.rsplit('/').next().unwrap_or(path), right.holders());
        Err(Fault::denied(format!("the token is a {role}'s, but {method} is for {holders}")))
    }
}

/// The token that a request shows.
pub fn bearer_of(headers: &HeaderMap) -> Option<Secret> {
    let header = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().into())
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded { guard: self.clone(), inner }
    }
}

/// A service behind a [`Guard`].
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request<Body>> for Guarded<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.guard.check(request.uri().path(), request.headers()) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(fault) => {
                tracing::warn!(rpc = request.uri().path(), %fault, "refused");
                let refusal = Status::from(fault).into_http();
                Box::pin(async move { Ok(refusal) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use lode_domain::access::grants;

    use super::*;
    use crate::FaultKind;

    fn check(path: &str, header: Option<&str>) -> Result<(), FaultKind> {
        let tokens = TokenTable::new(&grants("reader r\nminer m\nworker w\nadmin a").unwrap());
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("authorization", header.parse().unwrap());
        }
        Guard::new(Some(tokens)).check(path, &headers).map_err(|fault| fault.kind)
    }

    #[test]
    fn a_token_opens_what_its_role_may() {
        let (query, mine, join) = ("/lode.v1.Lode/TopUnits", "/lode.v1.Lode/SubmitJob", "/lode.v1.Registry/Register");
        assert_eq!(check(query, Some("Bearer r")), Ok(()));
        assert_eq!(check(mine, Some("Bearer r")), Err(FaultKind::Denied));
        assert_eq!(check(mine, Some("bearer m")), Ok(()));
        assert_eq!(check(join, Some("Bearer m")), Err(FaultKind::Denied));
        assert_eq!(check(join, Some("Bearer w")), Ok(()));
        assert_eq!(check("/other/Method", Some("Bearer a")), Ok(()));
    }

    #[test]
    fn who_shows_no_token_stays_out() {
        for header in [None, Some("r"), Some("Basic r"), Some("Bearer "), Some("Bearer x")] {
            assert_eq!(check("/lode.v1.Lode/GetStatus", header), Err(FaultKind::Unauthenticated));
            assert_eq!(check("/grpc.health.v1.Health/Check", header), Ok(()));
        }
    }

    /// An RPC that is not in the table would be the administrator's alone.
    #[test]
    fn every_rpc_asks_for_a_right() {
        let files = [include_str!("../lode/v1/lode.proto"), include_str!("../lode/v1/worker.proto")];
        let (mut service, mut methods) = ("", 0);
        for line in files.iter().flat_map(|file| file.lines()).map(str::trim) {
            if let Some(rest) = line.strip_prefix("service ") {
                service = rest.trim_end_matches(" {");
            }
            if let Some(rest) = line.strip_prefix("rpc ") {
                let method = rest.split('(').next().unwrap();
                let right = Right::of_rpc(&format!("/lode.v1.{service}/{method}"));
                assert!(
                    !matches!(right, Right::Rule | Right::Open),
                    "{service}/{method} is not in the table of rights"
                );
                methods += 1;
            }
        }
        assert!(methods > 15);
    }
}
