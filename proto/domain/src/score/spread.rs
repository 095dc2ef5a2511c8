//! The second way of `L` concepts through a unit's thresholds, for what AP does not ask: AUROC and Cohen's d.
//!
//! It is a way of its own so that AP alone costs what it did, and since squares are summed about means that the first way finds:
//! sums of squares about zero would lose all digits where responses lie far from it.

#![allow(clippy::needless_range_loop, reason = "a lane is the same place of several arrays")]

use super::{Scores, falling::Falling, labels::Row};

/// What is summed on the way, `[concept]` each.
#[derive(Clone, Copy)]
pub(super) struct Spread<const L: usize> {
    on_mean: [f64; L],
    off_mean: [f64; L],
    /// Positives above the threshold.
    above: [u64; L],
    /// Pairs in which the positive responds more, twice; and those that respond alike, once.
    wins: [u64; L],
    on_squares: [f64; L],
    off_squares: [f64; L],
}

impl<const L: usize> Spread<L> {
    /// About the means of both classes, `[concept]`.
    #[inline(always)]
    pub(super) fn about(on_mean: [f64; L], off_mean: [f64; L]) -> Self {
        let (above, wins) = ([0; L], [0; L]);
        Self { on_mean, off_mean, above, wins, on_squares: [0.0; L], off_squares: [0.0; L] }
    }

    /// Takes a threshold with all sentences at it. A concept without sentences there adds 0.
    #[inline(always)]
    pub(super) fn enter(&mut self, response: f32, on: [i32; L], off: [i32; L]) {
        let response = f64::from(response);
        for lane in 0..L {
            let (on, off) = (u64::from(on[lane] as u32), u64::from(off[lane] as u32));
            self.wins[lane] += off * (2 * self.above[lane] + on);
            self.above[lane] += on;
        }
        for lane in 0..L {
            let (from_on, from_off) = (response - self.on_mean[lane], response - self.off_mean[lane]);
            self.on_squares[lane] += from_on * from_on * f64::from(on[lane]);
            self.off_squares[lane] += from_off * from_off * f64::from(off[lane]);
        }
    }

    /// Takes all thresholds of `falling`.
    #[inline(always)]
    pub(super) fn through(mut self, falling: &Falling, rows: &[Row<L>]) -> Self {
        let mut start = 0;
        for (place, &value) in falling.values().iter().enumerate() {
            // Without ties every sentence is a threshold.
            let end = falling.ends.get(place).map_or(place + 1, |&end| end as usize);
            let (mut on, mut off) = ([0; L], [0; L]);
            for &sentence in &falling.order[start..end] {
                let row = &rows[sentence as usize];
                for lane in 0..L {
                    on[lane] += i32::from(row.on[lane]);
                    off[lane] += i32::from(row.off[lane]);
                }
            }
            start = end;
            self.enter(value, on, off);
        }
        self
    }

    /// Adds what was found to the scores of the concept in `lane`, whose positives and negatives are `totals`.
    pub(super) fn finish(&self, lane: usize, totals: (u32, u32), scores: &mut Scores) {
        let (positives, negatives) = totals;
        scores.auroc = self.wins[lane] as f64 / (2.0 * f64::from(positives) * f64::from(negatives));
        let freedom = f64::from(positives) + f64::from(negatives) - 2.0;
        let deviation = ((self.on_squares[lane] + self.off_squares[lane]) / freedom).sqrt();
        scores.cohens_d = standardised(self.on_mean[lane] - self.off_mean[lane], deviation);
    }
}

/// A difference in deviations, never beyond what an f32 holds; `deviation` may be 0, or 0/0 with one sentence a class.
fn standardised(difference: f64, deviation: f64) -> f64 {
    let most = f64::from(f32::MAX);
    if difference == 0.0 {
        0.0
    } else if deviation > 0.0 {
        (difference / deviation).clamp(-most, most)
    } else {
        most.copysign(difference)
    }
}
