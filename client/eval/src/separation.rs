//! How well a unit's responses tell a concept's sentences apart: criteria beside average precision.

/// Area under the ROC curve: the share of pairs of a positive and a negative in which the positive responds more, equal
/// responses counting half (Hanley and McNeil 1982; scikit-learn's `roc_auc_score`). Nothing without both classes.
pub fn auroc(on: &[f32], off: &[f32]) -> Option<f64> {
    let mut off = off.to_vec();
    off.sort_unstable_by(f32::total_cmp);
    let halves = |z: &f32| off.partition_point(|other| other < z) + off.partition_point(|other| other <= z);
    let wins: usize = on.iter().map(halves).sum();
    let pairs = on.len() * off.len();
    (pairs > 0).then(|| wins as f64 / (2 * pairs) as f64)
}

/// Cohen's d: the difference of the means over the pooled standard deviation (Cohen 1988, the deviation with n - 1). Nothing
/// with fewer than two of a class, or if nothing varies.
pub fn cohens_d(on: &[f32], off: &[f32]) -> Option<f64> {
    let moments = |values: &[f32]| {
        let mean = values.iter().map(|&z| f64::from(z)).sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|&z| (f64::from(z) - mean).powi(2)).sum::<f64>())
    };
    if on.len() < 2 || off.len() < 2 {
        return None;
    }
    let ((on_mean, on_squares), (off_mean, off_squares)) = (moments(on), moments(off));
    let pooled = ((on_squares + off_squares) / (on.len() + off.len() - 2) as f64).sqrt();
    (pooled > 0.0).then(|| (on_mean - off_mean) / pooled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn criteria_know_their_ends_and_their_ties() {
        assert_eq!(auroc(&[2.0, 3.0], &[0.0, 1.0]), Some(1.0));
        assert_eq!(auroc(&[0.0], &[1.0]), Some(0.0));
        assert_eq!(auroc(&[1.0, 1.0], &[1.0]), Some(0.5));
        assert_eq!(auroc(&[], &[1.0]), None);
        assert_eq!(cohens_d(&[1.0, 1.0], &[1.0, 1.0]), None);
        assert_eq!(cohens_d(&[3.0, 5.0], &[0.0, 2.0]), Some(3.0 / 2f64.sqrt()));
    }
}
