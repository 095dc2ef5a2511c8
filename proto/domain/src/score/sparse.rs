//! The way of a concept that labels few of the sentences: only through the thresholds that they stand at.

use super::{Depth, Scores, falling::Falling, labels::Sparse, spread::Spread, walk::Walk};

/// See the module; keeps its buffers from unit to unit.
pub(super) struct SparseWalk {
    /// Each sentence's threshold, `[sentence]`.
    thresholds: Vec<u32>,
    /// The concept's positives and negatives at each threshold, `[threshold]`; all 0 between concepts.
    labels: Vec<(i32, i32)>,
    /// One bit a threshold: whether sentences of the concept stand there; all 0 between concepts.
    taken: Vec<u64>,
    /// The responses at those thresholds, in falling order, and the positives at or above each.
    values: Vec<f32>,
    counts: Vec<[i32; 1]>,
    /// The negatives at each, where there is a second way.
    offs: Vec<i32>,
}

impl SparseWalk {
    pub(super) fn new(sentences: usize) -> Self {
        Self {
            thresholds: vec![0; sentences],
            labels: vec![(0, 0); sentences],
            taken: vec![0; sentences.div_ceil(64)],
            values: Vec::new(),
            counts: Vec::new(),
            offs: Vec::new(),
        }
    }

    /// Notes a unit's order.
    pub(super) fn note_thresholds(&mut self, falling: &Falling) {
        if falling.ends.is_empty() {
            for (threshold, &sentence) in (0..).zip(&falling.order) {
                self.thresholds[sentence as usize] = threshold;
            }
            return;
        }
        let mut start = 0;
        for (threshold, &end) in (0..).zip(&falling.ends) {
            for &sentence in &falling.order[start as usize..end as usize] {
                self.thresholds[sentence as usize] = threshold;
            }
            start = end;
        }
    }

    /// Scores a concept for that unit, whose thresholds are `values`.
    pub(super) fn score(&mut self, concept: &Sparse, totals: (u32, u32), (values, depth): (&[f32], Depth)) -> Scores {
        for label in &concept.labels {
            let threshold = self.thresholds[label.sentence as usize] as usize;
            let (on, off) = &mut self.labels[threshold];
            *on += label.on as i32;
            *off += label.off as i32;
            self.taken[threshold / 64] |= 1 << (threshold % 64);
        }
        self.values.clear();
        self.counts.clear();
        self.offs.clear();
        let (mut walk, mut count) = (Walk::START, 0);
        for (first, word) in (0..).step_by(64).zip(&mut self.taken) {
            while *word != 0 {
                let threshold: usize = first + word.trailing_zeros() as usize;
                *word &= *word - 1;
                let (on, off) = std::mem::take(&mut self.labels[threshold]);
                walk = walk.enter(values[threshold], [on], [off]);
                count += on;
                self.values.push(values[threshold]);
                self.counts.push([count]);
                if depth == Depth::Spread {
                    self.offs.push(off);
                }
            }
        }
        let mut scores = walk.finish(0, totals, &self.values, &self.counts);
        if depth == Depth::Spread {
            self.spread(totals, &mut scores);
        }
        scores
    }

    /// Goes the same way once more.
    fn spread(&self, totals: (u32, u32), scores: &mut Scores) {
        let (mut spread, mut above) = (Spread::about([scores.on_mean], [scores.off_mean]), 0);
        for ((&value, &[count]), &off) in self.values.iter().zip(&self.counts).zip(&self.offs) {
            spread.enter(value, [count - above], [off]);
            above = count;
        }
        spread.finish(0, totals, scores);
    }
}
