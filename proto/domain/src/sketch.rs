//! Sketches of AP: a byte a unit, with a bound on what the correlation of two concepts can be.
//!
//! They only ever rule out. Write dx, dy for two concepts' deviations from their means, as computed in f64; the correlation is
//! dx·dy / (|dx| |dy|). A [`Sketch`] stands for a vector ŷ near dy and knows |dy - ŷ|, a [`Probe`] for one near dx, x̂, and
//! knows |dx - x̂|. Then
//!
//! dx·dy = x̂·ŷ + (dx - x̂)·ŷ + dx·(dy - ŷ), so |dx·dy - x̂·ŷ| ≤ |dx - x̂| (|dy| + |dy - ŷ|) + |dx| |dy - ŷ|
//!
//! by Cauchy and Schwarz. x̂ is a scale times whole numbers and ŷ an affine image of bytes, so x̂·ŷ is a sum of integers, which
//! is exact. The rounding of all that is floating, the sums of the correlation itself included, is bounded by the machine
//! epsilon times the number of additions, and is added to the bound ([`Probe::bounds`]).

use crate::compare::Moments;

/// Products in an `i32`: 128 times 32,767 times 255 stays below 2^31.
const CHUNK: usize = 128;

/// How the bytes of one concept's AP are read, and how far they are off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sketch {
    /// The deviation that byte 0 stands for.
    pub offset: f64,
    /// The deviation between one byte and the next.
    pub step: f64,
    /// At least |dy - ŷ|.
    pub error: f64,
}

impl Sketch {
    /// Sketches AP, `[unit]`: how to read it, and the bytes, `[unit]`.
    pub fn of(ap: &[f32], moments: &Moments) -> (Self, Vec<u8>) {
        let (low, high) = ap.iter().fold((f32::MAX, f32::MIN), |(low, high), &a| (low.min(a), high.max(a)));
        let (low, high) = (f64::from(low), f64::from(high));
        let (offset, step) = (low - moments.mean, (high - low) / 255.0);
        let byte = |a: f32| if step > 0.0 { ((f64::from(a) - low) / step).round() as u8 } else { 0 };
        let bytes: Vec<u8> = ap.iter().map(|&a| byte(a)).collect();
        let squares: f64 = ap
            .iter()
            .zip(&bytes)
            .map(|(&a, &byte)| (f64::from(a) - moments.mean) - (step * f64::from(byte) + offset))
            .map(|error| error * error)
            .sum();
        let units = ap.len() as f64;
        let rounding = 8.0 * f64::EPSILON * (high - low) * units.sqrt();
        let error = squares.sqrt() * (1.0 + 4.0 * units * f64::EPSILON) + rounding;
        (Self { offset, step, error }, bytes)
    }

    fn range(&self) -> f64 {
        255.0 * self.step
    }
}

/// One concept's AP, to be compared with many sketches.
pub struct Probe {
    /// x̂ in units of `scale`, `[unit]`.
    whole: Vec<i16>,
    scale: f64,
    /// Sum of `whole`.
    sum: i64,
    /// At least |dx - x̂|.
    error: f64,
    /// |dx|.
    norm: f64,
}

impl Probe {
    /// Prepares AP, `[unit]`.
    pub fn new(ap: &[f32], moments: &Moments) -> Self {
        let deviation = |&a: &f32| f64::from(a) - moments.mean;
        let largest = ap.iter().map(|a| deviation(a).abs()).fold(0.0, f64::max);
        let scale = largest / f64::from(i16::MAX);
        let whole: Vec<i16> =
            ap.iter().map(|a| if scale > 0.0 { (deviation(a) / scale).round() as i16 } else { 0 }).collect();
        let squares: f64 = ap
            .iter()
            .zip(&whole)
            .map(|(a, &whole)| deviation(a) - scale * f64::from(whole))
            .map(|error| error * error)
            .sum();
        let units = ap.len() as f64;
        let rounding = 4.0 * f64::EPSILON * largest * units.sqrt();
        let error = squares.sqrt() * (1.0 + 4.0 * units * f64::EPSILON) + rounding;
        let sum = whole.iter().map(|&whole| i64::from(whole)).sum();
        Self { whole, scale, sum, error, norm: moments.squares.sqrt() }
    }

    /// The least and the greatest that [`correlation`](crate::compare::correlation) can return for this concept and a sketched
    /// one of as many units.
    pub fn bounds(&self, bytes: &[u8], sketch: &Sketch, moments: &Moments) -> (f64, f64) {
        debug_assert_eq!(self.whole.len(), bytes.len(), "both are of one model");
        let norm = moments.squares.sqrt();
        let norms = self.norm * norm;
        if norms == 0.0 {
            // Rounding may have made a zero of something smaller than any number: then nothing is known.
            let flat = moments.squares == 0.0 || self.norm == 0.0;
            return if flat { (0.0, 0.0) } else { (f64::NEG_INFINITY, f64::INFINITY) };
        }
        let near = self.scale * (sketch.step * dot(&self.whole, bytes) as f64 + sketch.offset * self.sum as f64);
        let units = self.whole.len() as f64;
        let radius = self.norm * sketch.error + self.error * (norm + sketch.error);
        let rounding = 8.0 * f64::EPSILON * sketch.range() * units.sqrt() * (self.norm + self.error)
            + 4.0 * units * f64::EPSILON * norms;
        let radius = radius * (1.0 + 8.0 * units * f64::EPSILON) + 2.0 * rounding;
        let (least, greatest) = ((near - radius) / norms - 1e-12, (near + radius) / norms + 1e-12);
        if least.is_finite() && greatest.is_finite() { (least, greatest) } else { (f64::NEG_INFINITY, f64::INFINITY) }
    }
}

/// The exact sum of products.
fn dot(whole: &[i16], bytes: &[u8]) -> i64 {
    let product = |(&whole, &byte): (&i16, &u8)| i32::from(whole) * i32::from(byte);
    let chunks = whole.chunks(CHUNK).zip(bytes.chunks(CHUNK));
    chunks.map(|(whole, bytes)| i64::from(whole.iter().zip(bytes).map(product).sum::<i32>())).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compare::correlation;

    fn check(x: &[f32], y: &[f32]) -> (f64, f64) {
        let (of_x, of_y) = (Moments::of(x), Moments::of(y));
        let (sketch, bytes) = Sketch::of(y, &of_y);
        let (least, greatest) = Probe::new(x, &of_x).bounds(&bytes, &sketch, &of_y);
        let exact = correlation((x, &of_x), (y, &of_y));
        assert!(least <= exact && exact <= greatest, "{least} {exact} {greatest}: {x:?} {y:?}");
        (least, greatest)
    }

    fn values() -> impl Strategy<Value = f32> {
        prop_oneof![
            0.0f32..1.0,
            (0u8..3).prop_map(|v| f32::from(v) / 2.0),
            (0u32..64).prop_map(|ulps| f32::from_bits(0.5f32.to_bits() + ulps)),
            any::<f32>().prop_filter("finite", |v| v.is_finite()),
        ]
    }

    proptest! {
        #[test]
        fn the_correlation_never_leaves_its_bounds(pairs in prop::collection::vec((values(), values()), 1..700)) {
            let (x, y): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            check(&x, &y);
            check(&x, &x);
        }

        #[test]
        fn nearly_constant_and_tiny_and_huge_values_too(
            pairs in prop::collection::vec((0u32..9, 0u32..9), 1..300),
            base in any::<f32>().prop_filter("finite", |v| v.is_finite()),
        ) {
            let near = |ulps: u32| f32::from_bits(base.to_bits() + ulps).clamp(f32::MIN, f32::MAX);
            let (x, y): (Vec<f32>, Vec<f32>) = pairs.into_iter().map(|(a, b)| (near(a), near(b))).unzip();
            if x.iter().chain(&y).all(|v| v.is_finite()) {
                check(&x, &y);
            }
        }
    }

    #[test]
    fn bounds_are_tight_on_values_like_ap() {
        let mixed = |i: u64| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f32 / (1u64 << 24) as f32;
        let x: Vec<f32> = (0..20_000).map(|i| 0.3 + 0.6 * mixed(i).powi(8)).collect();
        let y: Vec<f32> = (0..20_000).map(|i| 0.2 + 0.3 * mixed(i).powi(8) + 0.4 * mixed(i + 77_777).powi(8)).collect();
        let (least, greatest) = check(&x, &y);
        assert!(greatest - least < 0.02, "{least} to {greatest}");
    }

    #[test]
    fn what_does_not_vary_correlates_by_nothing() {
        assert_eq!(check(&[0.5; 9], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]), (0.0, 0.0));
    }
}
