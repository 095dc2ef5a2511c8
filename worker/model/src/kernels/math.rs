//! Elementary functions and sums in f32, written so that loops over them become vector code.
//!
//! No fused multiply-add and a fixed number of lanes: the bits are the same on every machine.

use pulp::{Arch, WithSimd};

/// Partial sums kept side by side; sums are folded in a fixed order at the end.
const LANES: usize = 16;

/// Runs `work` compiled for the widest vectors of this machine: as far as it is inlined here, so mark closures
/// `#[inline(always)]`. What is left outside has narrow vectors.
#[inline(always)]
pub fn vectorised<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}

/// Runs `work` with the widest vectors of this machine.
#[inline(always)]
pub fn vectorised_with<W: WithSimd>(work: W) -> W::Output {
    Arch::new().dispatch(work)
}

/// e^x to two units in the last place, for |x| < 87; beyond, the nearest value in range. (Cephes `expf`.)
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // 1.5 * 2^23: adding it rounds to an integer, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + coefficient;
    }
    let two_to_n = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    (p * (r * r) + r + 1.0) * two_to_n
}

/// 1 - erf(x) for x of 0 or more, absolute error below 3e-7, relative below 1e-5. (Numerical Recipes' `erfcc`.)
#[inline(always)]
pub fn erfc(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.5 * x);
    let mut p = 0.170_872_77;
    for coefficient in [
        -0.822_152_23,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ] {
        p = p * t + coefficient;
    }
    t * exp(p - x * x)
}

/// The sum of `value(i)` for `i` below `len`, in an order that depends on `len` alone.
#[inline(always)]
pub fn sum(len: usize, value: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let whole = len - len % LANES;
    let mut start = 0;
    while start < whole {
        for (lane, total) in lanes.iter_mut().enumerate() {
            *total += value(start + lane);
        }
        start += LANES;
    }
    let mut total = fold(lanes);
    for i in whole..len {
        total += value(i);
    }
    total
}

/// The inner product of two vectors of one length.
#[inline(always)]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_whole, b_whole) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail = a_whole.remainder().iter().zip(b_whole.remainder());
    for (a, b) in a_whole.zip(b_whole) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    tail.fold(fold(lanes), |total, (a, b)| total + a * b)
}

#[inline(always)]
fn fold(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for step in -87_000..87_000 {
            let x = step as f32 / 1000.0;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2.0 * f64::from(f32::EPSILON), "exp({x}) is off by {error:e}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::INFINITY).is_finite());
    }

    #[test]
    fn erfc_is_within_its_bound() {
        for step in 0..5000 {
            let x = step as f32 / 1000.0;
            let exact = 1.0 - candle_core::cpu::erf::erf_f64(f64::from(x));
            let error = (f64::from(erfc(x)) - exact).abs();
            // The difference from 1 is itself only known to f64's rounding.
            assert!(error < 3e-7 && error < 1e-5 * exact + 2e-16, "erfc({x}) is off by {error:e}");
        }
        assert!(erfc(40.0) < 1e-30);
    }

    #[test]
    fn sums_are_sums() {
        for len in [0, 1, 15, 16, 17, 96, 100] {
            let a: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let expected = (0..len).map(|i| (i * i) as f32).sum::<f32>();
            assert_eq!(dot(&a, &a), expected);
            assert_eq!(sum(len, |i| a[i] * a[i]), expected);
        }
    }
}
