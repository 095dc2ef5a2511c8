//! How much one caller may ask: calls a second, and calls at once.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _, clock::DefaultClock};
use lode_domain::access::{Right, TokenId};

/// Admissions between two rounds that forget callers who have not called for long.
const ROUND: u32 = 4096;

/// When to try again where that follows from other calls' ends, which nobody knows.
const LATER: Duration = Duration::from_secs(1);

/// What each caller may ask.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// Calls a second in the long run; twice as many at once after a pause.
    pub per_second: NonZeroU32,
    /// Calls that run at the same time; a stream is a call until it ends.
    pub at_once: NonZeroU32,
    /// Bytes of large requests that are held at the same time; a call holds what it sent until it ends.
    pub bytes: u64,
}

impl Default for CallLimits {
    fn default() -> Self {
        Self { per_second: PER_SECOND, at_once: AT_ONCE, bytes: BYTES }
    }
}

const PER_SECOND: NonZeroU32 = NonZeroU32::new(200).expect("it is not zero");
const AT_ONCE: NonZeroU32 = NonZeroU32::new(256).expect("it is not zero");
const BYTES: u64 = 512 << 20;
const TWO: NonZeroU32 = NonZeroU32::new(2).expect("it is not zero");

/// Whose calls are limited.
#[derive(Clone, Copy, Debug)]
pub enum Charged {
    /// Everybody's but those of a cluster's members who show a token.
    Everyone(CallLimits),
    /// Of those who show no right to call: what is open to all, and what is refused.
    Strangers(CallLimits),
}

/// Who asks, as far as limits care.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// The bearer of a token.
    Token(TokenId),
    /// Somebody without a token, at an address or in an IPv6 network.
    Address(IpAddr),
    /// A worker of a cluster without tokens: clients at the same address take nothing from it.
    Member(IpAddr),
}

tokio::task_local! {
    static CURRENT: Caller;
}

impl Caller {
    /// Whom this task works for; the cluster itself, unless a call led here.
    pub fn current() -> Self {
        CURRENT.try_with(|caller| *caller).unwrap_or(Self::Member(IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }

    /// Makes it the current one of `future`.
    pub fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }

    /// Somebody without a token. Whoever has one IPv6 address has 2^64 of them.
    pub(super) fn at(address: IpAddr) -> Self {
        Self::Address(network(address))
    }

    /// A worker without a token.
    pub(super) fn member_at(address: IpAddr) -> Self {
        Self::Member(network(address))
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// A call that must wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Busy {
    pub(super) message: String,
    pub(super) retry_after: Duration,
}

pub(super) struct Limits {
    limits: CallLimits,
    spares_the_known: bool,
    rates: DefaultKeyedRateLimiter<Caller>,
    clock: DefaultClock,
    running: Mutex<HashMap<Caller, Own>>,
    admitted: AtomicU32,
}

/// What runs of one caller.
#[derive(Default)]
struct Own {
    calls: u32,
    bytes: u64,
}

/// A call that was let in and runs, until it is dropped.
pub(super) struct Permit {
    limits: Arc<Limits>,
    caller: Caller,
    bytes: AtomicU64,
}

impl Permit {
    /// Notes that the call has sent so many bytes more.
    pub(super) fn hold(&self, bytes: u64) -> Result<(), Busy> {
        let (mut running, most) = (self.limits.running(), self.limits.limits.bytes);
        let own = running.entry(self.caller).or_default();
        if own.bytes.saturating_add(bytes) > most {
            let (caller, most) = (of(self.caller), most >> 20);
            let message = format!("too large requests at once: {caller} may have {most} MiB of them that run");
            return Err(Busy { message, retry_after: LATER });
        }
        own.bytes += bytes;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Limits {
    pub(super) fn new(charged: Charged) -> Self {
        let (limits, spares_the_known) = match charged {
            Charged::Everyone(limits) => (limits, false),
            Charged::Strangers(limits) => (limits, true),
        };
        let quota = Quota::per_second(limits.per_second).allow_burst(limits.per_second.saturating_mul(TWO));
        Self {
            limits,
            spares_the_known,
            rates: RateLimiter::keyed(quota),
            clock: DefaultClock::default(),
            running: Mutex::default(),
            admitted: AtomicU32::new(0),
        }
    }

    /// Whether whoever shows this right is not limited. A worker's heartbeats wait for nobody.
    pub(super) fn spares(&self, caller: Caller, right: Right) -> bool {
        match right {
            Right::Open => false,
            Right::Join if matches!(caller, Caller::Token(_)) => true,
            _ => self.spares_the_known,
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Caller, Own>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Charges a call to its caller's account.
    pub(super) fn charge(&self, caller: Caller) -> Result<(), Busy> {
        if self.admitted.fetch_add(1, Ordering::Relaxed) % ROUND == ROUND - 1 {
            self.rates.retain_recent();
            self.rates.shrink_to_fit();
        }
        self.rates.check_key(&caller).map_err(|wait| {
            let most = self.limits.per_second;
            Busy {
                message: format!("too many calls: {} may make {most} a second", of(caller)),
                retry_after: wait.wait_time_from(self.clock.now()),
            }
        })
    }

    /// Lets a call in, if its caller has few enough of them.
    pub(super) fn admit(self: &Arc<Self>, caller: Caller) -> Result<Permit, Busy> {
        self.charge(caller)?;
        let mut running = self.running();
        let own = running.entry(caller).or_default();
        let most = self.limits.at_once.get();
        if own.calls >= most {
            let message = format!("too many calls at once: {} may have {most} that run", of(caller));
            return Err(Busy { message, retry_after: LATER });
        }
        own.calls += 1;
        drop(running);
        Ok(Permit { limits: self.clone(), caller, bytes: AtomicU64::new(0) })
    }
}

fn of(caller: Caller) -> &'static str {
    match caller {
        Caller::Token(_) => "a token",
        Caller::Address(_) => "an address without a token",
        Caller::Member(_) => "the workers of an address",
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut running = self.limits.running();
        if let Some(own) = running.get_mut(&self.caller) {
            own.calls -= 1;
            own.bytes -= self.bytes.load(Ordering::Relaxed);
            if own.calls == 0 {
                running.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(per_second: u32, at_once: u32) -> Arc<Limits> {
        let number = |n| NonZeroU32::new(n).unwrap();
        Arc::new(Limits::new(Charged::Everyone(CallLimits {
            per_second: number(per_second),
            at_once: number(at_once),
            bytes: 1000,
        })))
    }

    fn caller(last: u8) -> Caller {
        Caller::at([10, 0, 0, last].into())
    }

    #[test]
    fn one_caller_uses_up_its_own_rate_only() {
        let limits = limits(5, 100);
        let admitted = (0..50).filter(|_| limits.admit(caller(1)).is_ok()).count();
        assert!((10..=12).contains(&admitted), "twice the rate at once, not {admitted}");
        let Err(busy) = limits.admit(caller(1)) else { panic!("the rate is used up") };
        assert!(busy.message.contains("5 a second"), "{busy:?}");
        assert!(busy.retry_after > Duration::ZERO && busy.retry_after <= Duration::from_millis(200), "{busy:?}");
        assert!(limits.admit(caller(2)).is_ok());
        std::thread::sleep(busy.retry_after);
        assert!(limits.admit(caller(1)).is_ok(), "the time it said was right");
    }

    #[test]
    fn calls_that_run_are_counted_until_they_end() {
        let limits = limits(1000, 2);
        let (first, _second) = (limits.admit(caller(1)).unwrap_or_else(|_| panic!()), limits.admit(caller(1)));
        assert!(limits.admit(caller(1)).is_err_and(|busy| busy.message.contains("at once")));
        assert!(limits.admit(caller(2)).is_ok());
        drop(first);
        assert!(limits.admit(caller(1)).is_ok());
        drop(_second);
        assert!(limits.running().is_empty(), "who has no calls takes no memory");
    }

    #[test]
    fn large_requests_are_held_until_their_calls_end() {
        let limits = limits(1000, 9);
        let admit = |who| limits.admit(caller(who)).unwrap_or_else(|_| panic!());
        let (first, second, other) = (admit(1), admit(1), admit(2));
        assert!(first.hold(600).is_ok() && first.hold(300).is_ok());
        assert!(second.hold(200).is_err_and(|busy| busy.message.contains("too large")));
        assert!(other.hold(1000).is_ok() && second.hold(100).is_ok());
        drop(first);
        assert!(second.hold(900).is_ok() && second.hold(1).is_err());
        drop((second, other));
        assert!(limits.running().is_empty());
    }

    #[test]
    fn an_ipv6_network_is_one_caller() {
        let at = |text: &str| Caller::at(text.parse().unwrap());
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
        assert_ne!(at("10.0.0.1"), at("10.0.0.2"));
        assert_ne!(at("10.0.0.1"), Caller::member_at([10, 0, 0, 1].into()));
    }

    #[test]
    fn callers_who_left_are_forgotten() {
        let limits = limits(1_000_000, 10);
        for number in 0..3 * ROUND {
            drop(limits.admit(Caller::at(Ipv4Addr::from(number).into())));
        }
        assert!(limits.rates.len() < 2 * ROUND as usize, "{}", limits.rates.len());
    }
}
