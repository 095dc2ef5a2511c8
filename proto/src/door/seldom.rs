//! Log lines that an attacker can cause: written now and then, and counted in between.

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Lines a second of one kind.
const LINES: NonZeroU32 = NonZeroU32::new(10).expect("it is not zero");

/// Says when a line may be written.
pub(super) struct Seldom {
    lines: DefaultDirectRateLimiter,
    kept_back: AtomicU64,
}

impl Default for Seldom {
    fn default() -> Self {
        Self { lines: RateLimiter::direct(Quota::per_second(LINES)), kept_back: AtomicU64::new(0) }
    }
}

impl Seldom {
    /// If a line may be written now: how many were not since the last one.
    pub(super) fn now(&self) -> Option<u64> {
        if self.lines.check().is_ok() {
            return Some(self.kept_back.swap(0, Ordering::Relaxed));
        }
        self.kept_back.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_back_is_counted() {
        let seldom = Seldom::default();
        let written = (0..1000).filter(|_| seldom.now().is_some()).count() as u64;
        assert!((10..100).contains(&written), "{written}");
        assert_eq!(seldom.kept_back.load(Ordering::Relaxed), 1000 - written);
    }
}
