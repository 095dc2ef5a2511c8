//! The door of a server: who calls, and may they?

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwapOption;
use http::{HeaderMap, Request, Response};
use lode_domain::access::{Right, Secret, TokenTable};
use tonic::{Status, body::Body};
use tower_layer::Layer;
use tower_service::Service;
use tracing::Instrument as _;

use super::{
    body::{Incoming, Outgoing},
    limits::{Busy, Caller, Limits, Permit},
    line::{self, LineInfo},
    seldom::Seldom,
};
use crate::{
    Fault,
    trace::{self, HEADER, RequestId},
};

/// A layer that lets only those in who show a token with the right that the RPC asks for, and not too often; without
/// tokens, everyone. Clones are of the same guard.
#[derive(Clone)]
pub struct Guard {
    tokens: Arc<ArcSwapOption<TokenTable>>,
    limits: Arc<Limits>,
    refusals: Arc<Seldom>,
}

/// A call that was let in; it runs until this is dropped.
pub struct Admitted {
    /// Who calls.
    pub caller: Caller,
    permit: Option<Arc<Permit>>,
    _call: Option<line::Call>,
}

/// A call before the door.
#[derive(Clone, Copy, Debug)]
pub struct Knock<'k> {
    /// What it calls, in words that users know.
    pub method: &'k str,
    /// What that asks of its caller.
    pub right: Right,
    /// Where the token stands.
    pub headers: &'k HeaderMap,
}

impl From<Busy> for Fault {
    fn from(busy: Busy) -> Self {
        Self::exhausted(busy.message).retry_after(busy.retry_after)
    }
}

impl Guard {
    /// A guard that knows no tokens yet.
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        Self { tokens: Arc::default(), limits, refusals: Arc::default() }
    }

    /// Exchanges the tokens.
    pub(super) fn change(&self, tokens: Option<TokenTable>) {
        self.tokens.store(tokens.map(Arc::new));
    }

    /// Who calls, if they may.
    fn check(&self, knock: &Knock<'_>, address: IpAddr) -> Result<Caller, Fault> {
        let Knock { method, right, headers } = *knock;
        let tokens = self.tokens.load();
        let Some(tokens) = tokens.as_ref().filter(|_| right != Right::Open) else {
            let is_member = right == Right::Join;
            return Ok(if is_member { Caller::member_at(address) } else { Caller::at(address) });
        };
        let Some(secret) = bearer_of(headers) else {
            return Err(Fault::unauthenticated(
                "a token is needed and none was sent: give one with --token, --token-file or in LODE_TOKEN",
            ));
        };
        let Some((role, id)) = tokens.find(&secret) else {
            return Err(Fault::unauthenticated("the token that was sent is none of this cluster's"));
        };
        if role.has(right) {
            return Ok(Caller::Token(id));
        }
        Err(Fault::denied(format!("the token is a {role}'s, but {method} is for {}", right.holders())))
    }

    /// Charges a call to its caller or says why it may not. Those who may not call at all soon hear only that they try too
    /// often.
    fn charge(&self, knock: &Knock<'_>, address: IpAddr) -> Result<(Caller, Option<Permit>), Fault> {
        let refused: Fault = match self.check(knock, address) {
            Ok(caller) if self.limits.spares(caller, knock.right) => return Ok((caller, None)),
            Ok(caller) => match self.limits.admit(caller) {
                Ok(permit) => return Ok((caller, Some(permit))),
                Err(busy) => busy.into(),
            },
            Err(fault) => match self.limits.charge(Caller::at(address)) {
                Ok(()) => fault,
                Err(busy) => busy.into(),
            },
        };
        if let Some(more) = self.refusals.now() {
            tracing::warn!(peer = %address, fault = %refused, more, "refused");
        }
        Err(refused)
    }

    /// Lets a call in that came over `line`.
    ///
    /// # Errors
    /// If nobody knows who calls, they may not, or they call too often.
    pub fn admit(&self, knock: &Knock<'_>, line: Option<&LineInfo>) -> Result<Admitted, Fault> {
        // Every server here accepts lines; a call without one is a test's.
        let address = line.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), LineInfo::address);
        let (caller, permit) = self.charge(knock, address)?;
        let is_known = knock.right != Right::Open;
        Ok(Admitted { caller, permit: permit.map(Arc::new), _call: line.map(|line| line.call(is_known)) })
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
#[derive(Clone)]
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
        let (path, line) = (request.uri().path().to_owned(), request.extensions().get::<LineInfo>().cloned());
        let id = RequestId::of(request.headers());
        let span = trace::of_call(&path, &id, request.headers());
        let method = path.rsplit('/').next().unwrap_or(&path);
        let knock = Knock { method, right: Right::of_rpc(&path), headers: request.headers() };
        let admitted = match span.in_scope(|| self.guard.admit(&knock, line.as_ref())) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                let mut refusal = Status::from(refusal).into_http();
                refusal.headers_mut().insert(HEADER, id.header());
                return Box::pin(async move { Ok(refusal) });
            }
        };
        let caller = admitted.caller;
        let request = request.map(|body| Body::new(Incoming::new(&path, body, admitted.permit.clone())));
        let future = id.clone().scope(caller.scope(self.inner.call(request))).instrument(span.clone());
        Box::pin(async move {
            let mut response = future.await?;
            span.in_scope(|| trace::note(response.headers()));
            response.headers_mut().insert(HEADER, id.header());
            Ok(response.map(|body| Body::new(Outgoing { body, request: id, span, _running: admitted })))
        })
    }
}

#[cfg(test)]
mod tests {
    use lode_domain::access::grants;

    use super::*;
    use crate::{CallLimits, Charged, FaultKind};

    fn knock<'k>(path: &'k str, headers: &'k HeaderMap) -> Knock<'k> {
        Knock { method: path, right: Right::of_rpc(path), headers }
    }

    fn admit(guard: &Guard, path: &str, headers: &HeaderMap) -> Result<Admitted, FaultKind> {
        guard.admit(&knock(path, headers), None).map_err(|fault| fault.kind)
    }

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn check(path: &str, header: Option<&str>) -> Result<(), FaultKind> {
        let tokens = TokenTable::new(&grants("reader r\nminer m\nworker w\nadmin a").unwrap());
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert("authorization", header.parse().unwrap());
        }
        let guard = Guard::new(Arc::new(Limits::new(Charged::Strangers(CallLimits::default()))));
        guard.change(Some(tokens));
        guard.check(&knock(path, &headers), HERE).map(drop).map_err(|fault| fault.kind)
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

    fn guard(per_second: u32) -> (Guard, HeaderMap) {
        let number = |n| std::num::NonZeroU32::new(n).unwrap();
        let limits = CallLimits { per_second: number(per_second), at_once: number(100), ..CallLimits::default() };
        let guard = Guard::new(Arc::new(Limits::new(Charged::Everyone(limits))));
        guard.change(Some(TokenTable::new(&grants("reader r\nworker w").unwrap())));
        (guard, HeaderMap::new())
    }

    #[test]
    fn guessing_tokens_soon_ends_and_costs_nobody_else() {
        const QUERY: &str = "/lode.v1.Lode/TopUnits";
        let (guard, mut headers) = guard(5);
        headers.insert("authorization", "Bearer guess".parse().unwrap());
        let codes: Vec<_> = (0..30).map(|_| admit(&guard, QUERY, &headers).err().unwrap()).collect();
        assert_eq!(codes.first(), Some(&FaultKind::Unauthenticated));
        assert_eq!(codes.last(), Some(&FaultKind::Exhausted));
        headers.insert("authorization", "Bearer r".parse().unwrap());
        assert!(admit(&guard, QUERY, &headers).is_ok());
    }

    #[test]
    fn heartbeats_wait_for_nobody() {
        let (guard, mut headers) = guard(5);
        headers.insert("authorization", "Bearer w".parse().unwrap());
        for _ in 0..1000 {
            assert!(admit(&guard, "/lode.v1.Registry/Heartbeat", &headers).is_ok());
        }
        // Nor where there are no tokens.
        guard.change(None);
        while admit(&guard, "/lode.v1.Lode/TopUnits", &headers).is_ok() {}
        assert!(admit(&guard, "/lode.v1.Registry/Heartbeat", &headers).is_ok());
    }

    /// A worker's only caller is its coordinator; whoever else reaches it can do no more than ask how it is.
    #[test]
    fn strangers_are_limited_where_the_known_are_not() {
        const HEALTH: &str = "/grpc.health.v1.Health/Watch";
        let limits = CallLimits { at_once: std::num::NonZeroU32::new(3).unwrap(), ..CallLimits::default() };
        let guard = Guard::new(Arc::new(Limits::new(Charged::Strangers(limits))));
        let mut headers = HeaderMap::new();
        for tokens in [None, Some(TokenTable::new(&grants("worker w").unwrap()))] {
            guard.change(tokens);
            let watching: Vec<_> = (0..3).map(|_| admit(&guard, HEALTH, &headers).unwrap()).collect();
            assert_eq!(admit(&guard, HEALTH, &headers).err(), Some(FaultKind::Exhausted));
            headers.insert("authorization", "Bearer w".parse().unwrap());
            let mining: Vec<_> = (0..9).map(|_| admit(&guard, "/lode.v1.Worker/Mine", &headers)).collect();
            assert!(mining.iter().all(Result::is_ok));
            drop(watching);
        }
    }

    #[test]
    fn tokens_change_while_the_guard_stands() {
        let (guard, mut headers) = guard(5);
        headers.insert("authorization", "Bearer r".parse().unwrap());
        let code = || admit(&guard, "/lode.v1.Lode/TopUnits", &headers).err();
        assert_eq!(code(), None);
        guard.change(Some(TokenTable::new(&grants("reader other").unwrap())));
        assert_eq!(code(), Some(FaultKind::Unauthenticated));
    }

    /// An RPC that is not in the table would be the administrator's alone.
    #[test]
    fn every_rpc_asks_for_a_right() {
        let files = [include_str!("../../lode/v1/lode.proto"), include_str!("../../lode/v1/worker.proto")];
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
