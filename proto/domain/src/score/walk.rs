//! The way of `L` concepts, side by side, through the thresholds in order of falling response.

#![allow(clippy::needless_range_loop, reason = "a lane is the same place of several arrays")]

use super::{Scores, falling::Falling, labels::Row};

/// What is summed on the way, `[concept]` each.
#[derive(Clone, Copy)]
pub(super) struct Walk<const L: usize> {
    /// Positives and all sentences at or above the threshold.
    on: [i32; L],
    seen: [i32; L],
    /// Σ over thresholds of (positives there) × precision.
    weighted_precision: [f64; L],
    on_sum: [f64; L],
    off_sum: [f64; L],
}

impl<const L: usize> Walk<L> {
    pub(super) const START: Self =
        Self { on: [0; L], seen: [0; L], weighted_precision: [0.0; L], on_sum: [0.0; L], off_sum: [0.0; L] };

    /// Takes a threshold: all sentences at it enter at once.
    ///
    /// A concept without sentences there adds 0.0 or -0.0 to its sums, which changes no bit of them: they begin at 0.0, and a sum
    /// of f64 that began there is never -0.0. Response times count is exact, so only the additions round.
    #[inline(always)]
    pub(super) fn enter(mut self, response: f32, on: [i32; L], off: [i32; L]) -> Self {
        let response = f64::from(response);
        for lane in 0..L {
            self.on[lane] += on[lane];
        }
        for lane in 0..L {
            self.seen[lane] += on[lane] + off[lane];
        }
        for lane in 0..L {
            // Before a concept's first sentence, 0/1 stands in for 0/0.
            let precision = f64::from(self.on[lane]) / f64::from(self.seen[lane].max(1));
            self.weighted_precision[lane] += f64::from(on[lane]) * precision;
        }
        for lane in 0..L {
            self.on_sum[lane] += response * f64::from(on[lane]);
        }
        for lane in 0..L {
            self.off_sum[lane] += response * f64::from(off[lane]);
        }
        self
    }

    /// Takes all thresholds of `falling`; `counts` become the positives at or above each.
    #[inline(always)]
    pub(super) fn through(falling: &Falling, rows: &[Row<L>], counts: &mut [[i32; L]]) -> Self {
        let mut walk = Self::START;
        let values = falling.values();
        if falling.ends.is_empty() {
            for ((&sentence, &value), place) in falling.order.iter().zip(values).zip(counts) {
                let row = &rows[sentence as usize];
                let (on, off) = (row.on.map(i32::from), row.off.map(i32::from));
                walk = walk.enter(value, on, off);
                *place = walk.on;
            }
            return walk;
        }
        let mut start = 0;
        for ((&end, &value), place) in falling.ends.iter().zip(values).zip(counts) {
            let (mut on, mut off) = ([0; L], [0; L]);
            for &sentence in &falling.order[start as usize..end as usize] {
                let row = &rows[sentence as usize];
                add(&mut on, &row.on.map(i32::from));
                add(&mut off, &row.off.map(i32::from));
            }
            start = end;
            walk = walk.enter(value, on, off);
            *place = walk.on;
        }
        walk
    }

    /// The scores of the concept in `lane`: `totals` are its positives and negatives, `values` the thresholds that were taken,
    /// `counts` the positives at or above each.
    pub(super) fn finish(&self, lane: usize, totals: (u32, u32), values: &[f32], counts: &[[i32; L]]) -> Scores {
        // Of the positives in falling order, the response of the one at `place`.
        let at = |place: u32| {
            let threshold = counts.partition_point(|count| count[lane] <= place as i32);
            f64::from(values[threshold.min(values.len() - 1)])
        };
        let (positives, negatives) = (f64::from(totals.0), f64::from(totals.1));
        Scores {
            ap: self.weighted_precision[lane] / positives,
            on_mean: self.on_sum[lane] / positives,
            on_p50: percentile(0.5, totals.0, at),
            on_p90: percentile(0.9, totals.0, at),
            off_mean: self.off_sum[lane] / negatives,
            ..Scores::default()
        }
    }
}

#[inline(always)]
fn add<const L: usize>(sums: &mut [i32; L], more: &[i32; L]) {
    for lane in 0..L {
        sums[lane] += more[lane];
    }
}

/// numpy's linear interpolation: the percentile q of n values lies at place (n − 1) q of the rising order. `falling` gives
/// the value at a place of the falling order.
fn percentile(q: f64, count: u32, falling: impl Fn(u32) -> f64) -> f64 {
    let last = count.saturating_sub(1);
    let place = f64::from(last) * q;
    let below = place.floor() as u32;
    let above = (below + 1).min(last);
    let fraction = place - f64::from(below);
    let (below, above) = (falling(last - below), falling(last - above));
    below + (above - below) * fraction
}
