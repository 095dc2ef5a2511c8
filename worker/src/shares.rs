//! How the device's time is shared between mining and text where both want it.

use std::{fmt, str::FromStr, time::Duration};

/// The share of the device's time that texts have while sentences are mined; above 0 and below 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextShare(f64);

/// A share that is none.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("`{0}` is no share: it lies above 0 and below 1")]
pub struct BadShare(String);

impl Default for TextShare {
    fn default() -> Self {
        Self(0.5)
    }
}

impl FromStr for TextShare {
    type Err = BadShare;

    fn from_str(text: &str) -> Result<Self, BadShare> {
        let share = text.parse().ok().filter(|share: &f64| 0.0 < *share && *share < 1.0);
        share.map(Self).ok_or_else(|| BadShare(text.to_owned()))
    }
}

impl fmt::Display for TextShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What texts have to get before the next batch of sentences runs.
///
/// A batch of sentences takes as long as many steps of a text: one of each by turns would leave texts next to nothing.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    share: TextShare,
    owed: Duration,
}

impl Shares {
    pub(crate) fn new(share: TextShare) -> Self {
        Self { share, owed: Duration::ZERO }
    }

    /// A batch of sentences took this long; what was owed before is not added up.
    pub(crate) fn mined(&mut self, took: Duration) {
        self.owed = took.mul_f64(self.share.0 / (1.0 - self.share.0));
    }

    /// A step of the texts took this long. Whether the next step is theirs, too.
    pub(crate) fn generated(&mut self, took: Duration) -> bool {
        self.owed = self.owed.saturating_sub(took);
        !self.owed.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(10);

    /// Steps of 10 ms between batches of 90 ms.
    fn steps(share: &str) -> u32 {
        let mut shares = Shares::new(share.parse().unwrap());
        let mut steps = 0;
        for _ in 0..100 {
            shares.mined(9 * STEP);
            loop {
                steps += 1;
                if !shares.generated(STEP) {
                    break;
                }
            }
        }
        steps
    }

    #[test]
    fn texts_have_their_share_of_the_time() {
        assert_eq!(steps("0.5"), 900, "as long as the batches");
        assert_eq!(steps("0.1"), 100);
        assert_eq!(steps("0.001"), 100, "a step between batches in any case");
        assert_eq!(steps("0.9"), 8100);
    }

    #[test]
    fn shares_are_between_none_and_all() {
        for text in ["0", "1", "-0.5", "nan", "half", ""] {
            assert!(text.parse::<TextShare>().unwrap_err().to_string().contains("above 0 and below 1"), "{text}");
        }
        assert_eq!("0.25".parse::<TextShare>().unwrap().to_string(), "0.25");
    }
}
