//! How probable tokens are, by the model itself.

use crate::kernels::math::{exp, sum, vectorised};

/// The logarithm of the sum of e^logit over `logits` `[token]`: what a logit is less to be a log probability.
pub(crate) fn log_total(logits: &[f32]) -> f64 {
    vectorised(
        #[inline(always)]
        || {
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            f64::from(largest) + f64::from(sum(logits.len(), |i| exp(logits[i] - largest))).ln()
        },
    )
}

/// The `count` tokens with the largest logits, largest first, of equal ones the lower id first.
pub(crate) fn largest(logits: &[f32], count: usize) -> Vec<u32> {
    let mut found: Vec<u32> = Vec::with_capacity(count + 1);
    if count == 0 {
        return found;
    }
    let mut least = f32::NEG_INFINITY;
    for (token, &logit) in (0u32..).zip(logits) {
        if found.len() == count && logit <= least {
            continue;
        }
        let place = found.partition_point(|&other| logits[other as usize] >= logit);
        found.insert(place, token);
        found.truncate(count);
        least = logits[found[found.len() - 1] as usize];
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn probabilities_sum_to_one(logits in prop::collection::vec(-30.0f32..30.0, 1..3000)) {
            let total = log_total(&logits);
            let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - total).exp()).sum();
            prop_assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }

        #[test]
        fn the_largest_are_those_of_a_sort(
            logits in prop::collection::vec((0u8..20).prop_map(f32::from), 0..60),
            count in 0usize..30,
        ) {
            let mut all: Vec<u32> = (0..logits.len() as u32).collect();
            all.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]).then(a.cmp(&b)));
            all.truncate(count);
            prop_assert_eq!(largest(&logits, count), all);
        }
    }
}
