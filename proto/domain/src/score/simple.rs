//! The mathematics of the module without haste: a comparison sort, and one concept after the other, sentence by sentence.
//! What is fast must give the same bits.

use super::Scores;

/// A group's scores, `[concept]`: `concepts` list their positives and negatives, `responses` are `[sentence]`.
pub(super) fn score(responses: &[f32], concepts: &[(&[u32], &[u32])]) -> Vec<Scores> {
    let mut order: Vec<usize> = (0..responses.len()).collect();
    order.sort_by(|&one, &other| responses[other].total_cmp(&responses[one]));
    let score = |(positive, negative): &(&[u32], &[u32])| {
        let times = |class: &[u32], sentence: usize| class.iter().filter(|&&s| s as usize == sentence).count() as u32;
        let mut walk = Walk::new(positive.len() as u32, negative.len() as u32);
        for &sentence in &order {
            let (on, off) = (times(positive, sentence), times(negative, sentence));
            if on + off > 0 {
                walk.take(responses[sentence], on, off);
            }
        }
        let mut scores = walk.finish();
        spread(responses, (positive, negative), &mut scores);
        scores
    };
    concepts.iter().map(score).collect()
}

/// AUROC by all pairs. Cohen's d by its definition, but that squares are added in falling order and those of equal responses at once.
fn spread(responses: &[f32], (positive, negative): (&[u32], &[u32]), scores: &mut Scores) {
    let of = |class: &[u32]| class.iter().map(|&sentence| responses[sentence as usize] + 0.0).collect::<Vec<f32>>();
    let (on, off) = (of(positive), of(negative));
    let halves = |z: f32| off.iter().map(|&y| u64::from(z > y) + u64::from(z >= y)).sum::<u64>();
    let wins: u64 = on.iter().map(|&z| halves(z)).sum();
    scores.auroc = wins as f64 / (2.0 * on.len() as f64 * off.len() as f64);
    let squares = |mut class: Vec<f32>, mean: f64| {
        class.sort_by(|a, b| b.total_cmp(a));
        let alike = class.chunk_by(|a, b| a == b);
        alike.fold(0.0, |sum, few| sum + (f64::from(few[0]) - mean).powi(2) * few.len() as f64)
    };
    let (difference, freedom) = (scores.on_mean - scores.off_mean, (on.len() + off.len()) as f64 - 2.0);
    let deviation = ((squares(on, scores.on_mean) + squares(off, scores.off_mean)) / freedom).sqrt();
    let most = f64::from(f32::MAX);
    scores.cohens_d = match difference {
        0.0 => 0.0,
        _ if deviation > 0.0 => (difference / deviation).clamp(-most, most),
        _ => most.copysign(difference),
    };
}

/// A concept's way through the sentences in order of falling response.
struct Walk {
    on_total: u32,
    off_total: u32,
    /// Sentences above the open threshold.
    on: u32,
    off: u32,
    /// The open threshold: its response and the sentences at it so far.
    threshold: f32,
    open_on: u32,
    open_off: u32,
    /// Σ over settled thresholds of (positives there) × precision.
    weighted_precision: f64,
    on_sum: f64,
    off_sum: f64,
    percentiles: [Percentile; 2],
}

impl Walk {
    fn new(on_total: u32, off_total: u32) -> Self {
        Self {
            on_total,
            off_total,
            on: 0,
            off: 0,
            threshold: f32::NAN,
            open_on: 0,
            open_off: 0,
            weighted_precision: 0.0,
            on_sum: 0.0,
            off_sum: 0.0,
            percentiles: [Percentile::new(0.5, on_total), Percentile::new(0.9, on_total)],
        }
    }

    fn take(&mut self, response: f32, on: u32, off: u32) {
        if response != self.threshold {
            self.settle();
            self.threshold = response;
        }
        self.open_on += on;
        self.open_off += off;
    }

    /// Closes the open threshold: all sentences at it enter at once.
    fn settle(&mut self) {
        if self.open_on > 0 {
            let above = self.on;
            self.on += self.open_on;
            self.percentiles.iter_mut().for_each(|p| p.take(above..self.on, self.threshold));
            let precision = f64::from(self.on) / f64::from(self.on + self.off + self.open_off);
            self.weighted_precision += f64::from(self.open_on) * precision;
            // f32 times a count fits an f64 exactly, so only the addition rounds.
            self.on_sum += f64::from(self.threshold) * f64::from(self.open_on);
        }
        if self.open_off > 0 {
            self.off += self.open_off;
            self.off_sum += f64::from(self.threshold) * f64::from(self.open_off);
        }
        (self.open_on, self.open_off) = (0, 0);
    }

    fn finish(&mut self) -> Scores {
        self.settle();
        let [p50, p90] = &self.percentiles;
        Scores {
            ap: self.weighted_precision / f64::from(self.on_total),
            on_mean: self.on_sum / f64::from(self.on_total),
            on_p50: p50.value(),
            on_p90: p90.value(),
            off_mean: self.off_sum / f64::from(self.off_total),
            ..Scores::default()
        }
    }
}

/// numpy's linear interpolation: the percentile q of n values lies at place (n − 1) q of the rising order.
struct Percentile {
    /// Places, in falling order, of the value below and the value above.
    below_place: u32,
    above_place: u32,
    fraction: f64,
    below: f32,
    above: f32,
}

impl Percentile {
    fn new(q: f64, count: u32) -> Self {
        let last = count.saturating_sub(1);
        let place = f64::from(last) * q;
        let below = place.floor() as u32;
        let above = (below + 1).min(last);
        Self {
            below_place: last - below,
            above_place: last - above,
            fraction: place - f64::from(below),
            below: 0.0,
            above: 0.0,
        }
    }

    fn take(&mut self, places: std::ops::Range<u32>, response: f32) {
        if places.contains(&self.above_place) {
            self.above = response;
        }
        if places.contains(&self.below_place) {
            self.below = response;
        }
    }

    fn value(&self) -> f64 {
        let (below, above) = (f64::from(self.below), f64::from(self.above));
        below + (above - below) * self.fraction
    }
}
