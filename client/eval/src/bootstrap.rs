//! Bootstrap intervals (Efron 1979), seeded.

use rand::{Rng, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::stats::quantile;

/// How often a sample is drawn anew.
const DRAWS: usize = 1000;

/// A value, and between which values it lies in 95 % of the draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Of the sample as it is.
    pub value: f64,
    /// The 2.5th percentile of the draws.
    pub low: f64,
    /// The 97.5th.
    pub high: f64,
}

/// A statistic of `items` and its 95 % percentile interval from 1,000 draws with replacement; nothing if the statistic is not
/// defined for the items as they are. Draws for which it is not are left out.
///
/// The same items, seed and statistic give the same interval on every machine.
pub fn interval<T: Copy>(items: &[T], seed: u64, statistic: impl Fn(&[T]) -> Option<f64>) -> Option<Interval> {
    let value = statistic(items)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn = Vec::with_capacity(items.len());
    let mut values = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        drawn.clear();
        drawn.extend((0..items.len()).map(|_| items[rng.random_range(0..items.len())]));
        values.extend(statistic(&drawn));
    }
    Some(Interval {
        value,
        low: quantile(&values, 0.025).unwrap_or(value),
        high: quantile(&values, 0.975).unwrap_or(value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::mean;

    #[test]
    fn an_interval_is_seeded_and_about_two_standard_errors_wide() {
        let items: Vec<f64> = (0..400).map(|n| f64::from(n % 2)).collect();
        let found = interval(&items, 7, mean).unwrap();
        assert_eq!(interval(&items, 7, mean), Some(found));
        assert_ne!(interval(&items, 8, mean), Some(found));
        assert_eq!(found.value, 0.5);
        // The standard error is 0.5 / 20.
        assert!((found.high - found.low - 4.0 * 0.98 * 0.025).abs() < 0.012, "{found:?}");
    }

    #[test]
    fn what_is_not_defined_has_no_interval() {
        assert_eq!(interval(&[], 7, mean), None);
        let constant = interval(&[2.0, 2.0], 7, mean).unwrap();
        assert_eq!((constant.low, constant.high), (2.0, 2.0));
    }
}
