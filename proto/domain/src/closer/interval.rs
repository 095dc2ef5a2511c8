//! Bootstrap intervals on average precision (Efron 1979), seeded.
//!
//! Sentences are drawn with replacement from each class by itself, as many as it has. Which sentence is drawn is said by its place
//! among its class in order of falling response: all places are alike to the draw, and so the interval depends on the multiset of
//! (response, label) alone, as AP does. Draws depend on the seed and the classes' sizes, and are shared by all units of a concept.

/// How often the sentences are drawn anew.
const DRAWS: usize = 1000;

/// How often each place was drawn, summed up to it: `[draw][place]`, one more place than sentences.
pub struct Resamples {
    on: Vec<Vec<u32>>,
    off: Vec<Vec<u32>>,
}

/// One threshold of a unit: how many positives and negatives respond as much or more.
type Threshold = (usize, usize);

impl Resamples {
    /// Draws for classes of these sizes, both at least one.
    pub fn new(positives: usize, negatives: usize, seed: u64) -> Self {
        let mut random = Random(seed ^ ((positives as u64) << 32) ^ negatives as u64);
        let mut drawn = |count: usize| {
            let mut sums = vec![0; count + 1];
            (0..count).for_each(|_| sums[random.below(count) + 1] += 1);
            for place in 0..count {
                sums[place + 1] += sums[place];
            }
            sums
        };
        let (mut on, mut off) = (Vec::with_capacity(DRAWS), Vec::with_capacity(DRAWS));
        for _ in 0..DRAWS {
            on.push(drawn(positives));
            off.push(drawn(negatives));
        }
        Self { on, off }
    }

    /// The 2.5th and the 97.5th percentile, numpy's linear interpolation, of a unit's AP over the draws; `on` and `off` are its
    /// responses to the positives and the negatives.
    pub fn interval(&self, on: Vec<f32>, off: Vec<f32>) -> (f64, f64) {
        let thresholds = thresholds(on, off);
        let mut values: Vec<f64> =
            self.on.iter().zip(&self.off).map(|(on, off)| average_precision(&thresholds, on, off)).collect();
        values.sort_unstable_by(f64::total_cmp);
        (percentile(&values, 0.025), percentile(&values, 0.975))
    }
}

/// The thresholds that have positives, in falling order.
fn thresholds(mut on: Vec<f32>, mut off: Vec<f32>) -> Vec<Threshold> {
    on.sort_unstable_by(|a, b| b.total_cmp(a));
    off.sort_unstable_by(|a, b| b.total_cmp(a));
    let (mut found, mut above, mut below) = (Vec::with_capacity(on.len()), 0, 0);
    for same in on.chunk_by(|a, b| a == b) {
        above += same.len();
        below += off[below..].iter().take_while(|&&response| response >= same[0]).count();
        found.push((above, below));
    }
    found
}

/// AP where each place counts as often as it was drawn. Every draw has as many positives as the class.
fn average_precision(thresholds: &[Threshold], on: &[u32], off: &[u32]) -> f64 {
    let (mut sum, mut before) = (0.0, 0);
    for &(above, below) in thresholds {
        let (positives, negatives) = (on[above], off[below]);
        if positives > before {
            sum += f64::from(positives - before) * f64::from(positives) / f64::from(positives + negatives);
            before = positives;
        }
    }
    sum / f64::from(on.last().copied().unwrap_or(1).max(1))
}

/// numpy's linear interpolation; `values` rise.
fn percentile(values: &[f64], q: f64) -> f64 {
    let place = (values.len() - 1) as f64 * q;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

/// splitmix64 (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    /// A number below `count`: the high half of a product, which favours none by more than one part in 2⁶⁴ / count.
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((u128::from(z) * count as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{Labels, Scorer};

    #[test]
    fn a_draw_scores_as_its_sentences_would() {
        let (on, off) = (vec![0.5, 1.25, 2.0, 2.0, 3.5, 0.25], vec![0.5, -1.0, 0.0, 2.0, 1.0, 0.25, -0.75]);
        let resamples = Resamples::new(on.len(), off.len(), 5);
        let sorted = |class: &[f32]| {
            let mut class = class.to_vec();
            class.sort_unstable_by(|a, b| b.total_cmp(a));
            class
        };
        let (sorted_on, sorted_off) = (sorted(&on), sorted(&off));
        let responses = [&sorted_on[..], &sorted_off].concat();
        for (on_sums, off_sums) in resamples.on.iter().zip(&resamples.off).take(50) {
            let times = |sums: &[u32], first: u32| -> Vec<u32> {
                let each = sums.windows(2).zip(first..);
                each.flat_map(|(pair, number)| std::iter::repeat_n(number, (pair[1] - pair[0]) as usize)).collect()
            };
            let (positive, negative) = (times(on_sums, 0), times(off_sums, on.len() as u32));
            assert_eq!((positive.len(), negative.len()), (on.len(), off.len()));
            let labels = Labels::new(responses.len(), &[(&positive, &negative)]).unwrap();
            let expected = Scorer::new(&labels).score(&responses).unwrap().next().unwrap().ap;
            let found = average_precision(&thresholds(on.clone(), off.clone()), on_sums, off_sums);
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
    }

    #[test]
    fn intervals_are_seeded_and_know_no_order() {
        let on: Vec<f32> = (0..60).map(|n| (n * 37 % 61) as f32 / 30.0).collect();
        let off: Vec<f32> = (0..80).map(|n| (n * 53 % 83) as f32 / 60.0).collect();
        let turned = |class: &[f32]| class.iter().rev().copied().collect::<Vec<f32>>();
        let interval = |seed, on: &[f32], off: &[f32]| {
            Resamples::new(on.len(), off.len(), seed).interval(on.to_vec(), off.to_vec())
        };
        let (low, high) = interval(1, &on, &off);
        assert_eq!((low, high), interval(1, &turned(&on), &turned(&off)));
        assert_ne!((low, high), interval(2, &on, &off));
        assert!(low > 0.4 && high < 1.0 && low < high, "{low} {high}");
        assert_eq!(interval(1, &[2.0, 3.0], &[0.0, 1.0]), (1.0, 1.0), "nothing to doubt");
    }
}
