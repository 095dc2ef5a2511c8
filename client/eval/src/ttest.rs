//! Welch's t-test: whether two samples have equal means, whatever their variances.

use crate::stats::mean;

/// Terms of the continued fraction at most.
const TERMS: usize = 500;

/// What the test says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TTest {
    /// The difference of the means over its standard error; infinite where neither sample varies.
    pub t: f64,
    /// Degrees of freedom by Welch and Satterthwaite.
    pub freedom: f64,
    /// How probable a t at least as far from 0 on either side is if the means are equal.
    pub p: f64,
}

/// Compares the means of two samples, two-sided (Welch 1947), as `scipy.stats.ttest_ind(equal_var=False)`; nothing of fewer than two
/// values on a side, or where neither side varies and both are the same.
pub fn welch(a: &[f64], b: &[f64]) -> Option<TTest> {
    let side = |values: &[f64]| {
        let (count, mean) = (values.len() as f64, mean(values)?);
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (values.len() > 1).then_some((mean, variance / count, count - 1.0))
    };
    let ((a_mean, a_error, a_free), (b_mean, b_error, b_free)) = (side(a)?, side(b)?);
    let (difference, error) = (a_mean - b_mean, a_error + b_error);
    if error == 0.0 {
        let t = f64::INFINITY.copysign(difference);
        return (difference != 0.0).then_some(TTest { t, freedom: a_free + b_free, p: 0.0 });
    }
    let freedom = error.powi(2) / (a_error.powi(2) / a_free + b_error.powi(2) / b_free);
    let t = difference / error.sqrt();
    Some(TTest { t, freedom, p: two_sided(t, freedom) })
}

/// P(|T| >= |t|) of Student's distribution: the regularised incomplete beta function I of ν / (ν + t²) at ν/2 and ½ (Abramowitz and
/// Stegun 26.7.1).
fn two_sided(t: f64, freedom: f64) -> f64 {
    let (x, rest) = (freedom / (freedom + t * t), t * t / (freedom + t * t));
    incomplete_beta((freedom / 2.0, 0.5), (x, rest))
}

/// I_x(a, b), given x and 1 − x, by its continued fraction (DLMF 8.17.22), which converges fast where x < (a + 1) / (a + b + 2); else by
/// its symmetry.
fn incomplete_beta((a, b): (f64, f64), (x, rest): (f64, f64)) -> f64 {
    if x <= 0.0 || rest <= 0.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    let front =
        libm::exp(libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log(rest));
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction((a, b), x) / a
    } else {
        1.0 - front * fraction((b, a), rest) / b
    }
}

/// The continued fraction of [`incomplete_beta`], from the front on (Lentz's method).
fn fraction((a, b): (f64, f64), x: f64) -> f64 {
    let kept = |value: f64| if value.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / kept(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for m in 1..TERMS {
        let m = m as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for term in [even, odd] {
            d = 1.0 / kept(1.0 + term * d);
            c = kept(1.0 + term / c);
            value *= c * d;
        }
        if (value - before).abs() <= 1e-16 * value.abs() {
            break;
        }
    }
    value
}

/// p values after Bonferroni's correction for `tests` tests: the chance of one as small among all of them is at most that.
pub fn bonferroni(p: f64, tests: usize) -> f64 {
    (p * tests as f64).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn students_distribution_has_its_known_values() {
        // One degree of freedom is Cauchy's distribution, two have a closed form.
        for t in [0.1, 1.0, 12.7, 300.0f64] {
            let cauchy = 1.0 - 2.0 / std::f64::consts::PI * t.atan();
            assert!((two_sided(t, 1.0) - cauchy).abs() < 1e-13, "{t}");
            let closed = 1.0 - t / (2.0 + t * t).sqrt();
            assert!((two_sided(-t, 2.0) - closed).abs() < 1e-13, "{t}");
        }
        assert_eq!(two_sided(0.0, 5.0), 1.0);
    }

    #[test]
    fn what_does_not_vary_is_told_apart_by_being_different() {
        assert_eq!(welch(&[1.0, 1.0], &[1.0, 1.0]), None);
        assert_eq!(welch(&[1.0], &[1.0, 2.0]), None);
        let certain = welch(&[0.0, 0.0, 0.0], &[1.0, 1.0]).unwrap();
        assert_eq!((certain.t, certain.p), (f64::NEG_INFINITY, 0.0));
        let same = welch(&[0.0, 1.0, 0.5], &[0.25, 0.75]).unwrap();
        assert_eq!((same.t, same.p), (0.0, 1.0));
        assert_eq!((bonferroni(0.01, 4), bonferroni(0.4, 4)), (0.04, 1.0));
    }
}
