//! Average precision, criteria beside it and forcing values: one sort of a unit's responses scores it for every concept.
//!
//! AP is scikit-learn's `average_precision_score`: with the sentences in order of falling response and equal responses
//! forming one threshold, AP = Σₙ (Rₙ − Rₙ₋₁) Pₙ over the thresholds n, where P is precision and R recall.
//!
//! Every number depends on the multiset of (response, label) pairs alone: sums run over the distinct responses in
//! falling order, one addition each, so that no order of sentences, batches or shards can change a bit.
//!
//! `falling.rs` brings a unit's sentences into order, once for all concepts. `walk.rs` goes through the thresholds: four concepts
//! side by side where they label much of the sentences (`labels.rs` says which do), else concept by concept through those
//! thresholds alone that its sentences stand at. `spread.rs` goes the way once more where AUROC and Cohen's d are asked for. `simple.rs` is the same without haste, for the tests: the bits are equal.

mod falling;
mod labels;
#[cfg(test)]
mod simple;
mod sparse;
mod spread;
#[cfg(test)]
mod tests;
mod walk;

use pulp::{Arch, NullaryFnOnce};

pub use self::labels::{BadLabels, Labels};
use self::{
    falling::Falling,
    labels::{Dense, LANES},
    sparse::SparseWalk,
    spread::Spread,
    walk::Walk,
};
use crate::expertise::{Column, UnitExpertise};

/// A response that is not a number.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the response to sentence {sentence} is not finite")]
pub struct NotFinite {
    /// Number of the sentence.
    pub sentence: usize,
}

/// A unit's numbers for one concept as they are summed, before they are stored as f32.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Scores {
    /// Average precision.
    pub ap: f64,
    /// Mean response to the positives.
    pub on_mean: f64,
    /// Median response to the positives.
    pub on_p50: f64,
    /// 90th percentile of the responses to the positives.
    pub on_p90: f64,
    /// Mean response to the negatives.
    pub off_mean: f64,
    /// Area under the ROC curve; 0 where it was not asked for.
    pub auroc: f64,
    /// Cohen's d; 0 where it was not asked for.
    pub cohens_d: f64,
}

impl Scores {
    /// The number of a column as it is stored; `held_out` are the unit's scores on what is held out.
    pub fn get(&self, column: Column, held_out: Option<&Self>) -> f32 {
        (match column {
            Column::HeldOutAp => held_out.map_or(0.0, |scores| scores.ap),
            Column::Ap => self.ap,
            Column::OnMean => self.on_mean,
            Column::OnP50 => self.on_p50,
            Column::OnP90 => self.on_p90,
            Column::OffMean => self.off_mean,
            Column::Auroc => self.auroc,
            Column::CohensD => self.cohens_d,
        }) as f32
    }
}

/// How much is scored of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// AP and forcing values.
    Ap,
    /// AUROC and Cohen's d too.
    Spread,
}

impl From<Scores> for UnitExpertise {
    fn from(scores: Scores) -> Self {
        Self {
            ap: scores.ap as f32,
            on_mean: scores.on_mean as f32,
            on_p50: scores.on_p50 as f32,
            on_p90: scores.on_p90 as f32,
            off_mean: scores.off_mean as f32,
        }
    }
}

/// Scores units one at a time; keeps its buffers between units.
pub struct Scorer<'a> {
    labels: &'a Labels,
    depth: Depth,
    arch: Arch,
    falling: Falling,
    /// Positives at or above each threshold, `[threshold]`.
    counts: Vec<[i32; LANES]>,
    sparse: SparseWalk,
    /// `[concept]`
    scores: Vec<Scores>,
}

impl<'a> Scorer<'a> {
    /// A scorer for one set of labels that finds AP and forcing values.
    pub fn new(labels: &'a Labels) -> Self {
        Self::with_depth(labels, Depth::Ap)
    }

    /// A scorer for one set of labels.
    pub fn with_depth(labels: &'a Labels, depth: Depth) -> Self {
        let sentences = labels.sentences();
        let dense = if labels.dense.is_empty() { 0 } else { sentences };
        let sparse = SparseWalk::new(if labels.sparse.is_empty() { 0 } else { sentences });
        Self {
            labels,
            depth,
            arch: Arch::new(),
            falling: Falling::new(sentences),
            counts: vec![[0; LANES]; dense],
            sparse,
            scores: vec![Scores::default(); labels.concepts()],
        }
    }

    /// How many concepts it scores.
    pub fn concepts(&self) -> usize {
        self.labels.concepts()
    }

    /// Scores one unit: `responses` is `[sentence]`, the answer `[concept]`.
    ///
    /// # Errors
    /// If a response is not finite.
    ///
    /// # Panics
    /// If there are not as many responses as labelled sentences.
    pub fn score(
        &mut self,
        responses: &[f32],
    ) -> Result<impl ExactSizeIterator<Item = Scores> + Clone + '_, NotFinite> {
        assert_eq!(responses.len(), self.labels.sentences(), "one response a sentence");
        let (labels, falling) = (self.labels, &mut self.falling);
        if !self.arch.dispatch(Arrange { falling, responses }) {
            let sentence = responses.iter().position(|response| !response.is_finite()).unwrap_or_default();
            return Err(NotFinite { sentence });
        }
        let (falling, scores) = (&self.falling, &mut self.scores[..]);
        for dense in &labels.dense {
            self.arch.dispatch(ScoreDense { labels, falling, dense, counts: &mut self.counts, scores });
            if self.depth == Depth::Spread {
                self.arch.dispatch(SpreadDense { labels, falling, dense, scores });
            }
        }
        if !self.labels.sparse.is_empty() {
            self.sparse.note_thresholds(&self.falling);
            for concept in &self.labels.sparse {
                let totals = self.labels.totals(concept.concept);
                self.scores[concept.concept] = self.sparse.score(concept, totals, (self.falling.values(), self.depth));
            }
        }
        Ok(self.scores.iter().copied())
    }
}

// What `Arch::dispatch` is given is compiled for the widest vectors of the machine; without fused multiplication and addition,
// so the bits are the same on all. These are types, for a closure is not sure to be compiled into its caller.

/// See [`Falling::arrange`].
struct Arrange<'a> {
    falling: &'a mut Falling,
    responses: &'a [f32],
}

impl NullaryFnOnce for Arrange<'_> {
    type Output = bool;

    #[inline(always)]
    fn call(self) -> bool {
        self.falling.arrange(self.responses)
    }
}

/// Scores concepts that are walked side by side.
struct ScoreDense<'a, const L: usize> {
    labels: &'a Labels,
    falling: &'a Falling,
    dense: &'a Dense<L>,
    counts: &'a mut [[i32; L]],
    scores: &'a mut [Scores],
}

impl<const L: usize> NullaryFnOnce for ScoreDense<'_, L> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let values = self.falling.values();
        let counts = &mut self.counts[..values.len()];
        let walk = Walk::through(self.falling, &self.dense.rows, counts);
        for (lane, &concept) in self.dense.concepts.iter().enumerate() {
            self.scores[concept] = walk.finish(lane, self.labels.totals(concept), values, counts);
        }
    }
}

/// Goes their way once more.
struct SpreadDense<'a, const L: usize> {
    labels: &'a Labels,
    falling: &'a Falling,
    dense: &'a Dense<L>,
    scores: &'a mut [Scores],
}

impl<const L: usize> NullaryFnOnce for SpreadDense<'_, L> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Dense { concepts, rows } = self.dense;
        let (mut on_mean, mut off_mean) = ([0.0; L], [0.0; L]);
        for (lane, &concept) in concepts.iter().enumerate() {
            (on_mean[lane], off_mean[lane]) = (self.scores[concept].on_mean, self.scores[concept].off_mean);
        }
        let spread = Spread::about(on_mean, off_mean).through(self.falling, rows);
        for (lane, &concept) in concepts.iter().enumerate() {
            spread.finish(lane, self.labels.totals(concept), &mut self.scores[concept]);
        }
    }
}
