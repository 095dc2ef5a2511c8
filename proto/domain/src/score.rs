//! Average precision and forcing values: one sort of a unit's responses scores it for every concept.
//!
//! AP is scikit-learn's `average_precision_score`: with the sentences in order of falling response and equal responses
//! forming one threshold, AP = Σₙ (Rₙ − Rₙ₋₁) Pₙ over the thresholds n, where P is precision and R recall.
//!
//! Every number depends on the multiset of (response, label) pairs alone: sums run over the distinct responses in
//! falling order, one addition each, so that no order of sentences, batches or shards can change a bit.

use crate::expertise::UnitExpertise;

/// One sentence's part in one concept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Membership {
    concept: u32,
    /// How often the sentence stands among the positives, and among the negatives.
    on: u32,
    off: u32,
}

/// The labels b of a set of sentences for a group of concepts that share them.
#[derive(Clone, Debug)]
pub struct Labels {
    /// `starts[s]..starts[s + 1]` are the memberships of sentence `s`.
    starts: Vec<u32>,
    memberships: Vec<Membership>,
    /// Positives and negatives per concept, repetitions counted.
    totals: Vec<(u32, u32)>,
}

/// Labels that cannot be scored.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BadLabels {
    /// AP needs both classes.
    #[error(
        "concept number {concept} has {positives} positive and {negatives} negative sentences to score: both need at least one"
    )]
    OneClass {
        /// Place of the concept in the group.
        concept: usize,
        /// Positives left.
        positives: u32,
        /// Negatives left.
        negatives: u32,
    },
    /// A label for a sentence that is not there.
    #[error("concept number {concept} names sentence {sentence}, but there are {sentences}")]
    NoSuchSentence {
        /// Place of the concept in the group.
        concept: usize,
        /// As named.
        sentence: u32,
        /// How many there are.
        sentences: usize,
    },
}

impl Labels {
    /// Labels of `sentences` sentences; each concept lists its positives and its negatives, a sentence as often as
    /// it counts.
    ///
    /// # Errors
    /// If a concept lacks a class or names a sentence that is not there.
    pub fn new(sentences: usize, concepts: &[(&[u32], &[u32])]) -> Result<Self, BadLabels> {
        let mut all: Vec<(u32, Membership)> = Vec::new();
        let mut totals = Vec::with_capacity(concepts.len());
        for (concept, (positive, negative)) in concepts.iter().enumerate() {
            let (positives, negatives) = (positive.len() as u32, negative.len() as u32);
            if positives == 0 || negatives == 0 {
                return Err(BadLabels::OneClass { concept, positives, negatives });
            }
            totals.push((positives, negatives));
            for (class, on, off) in [(positive, 1, 0), (negative, 0, 1)] {
                for &sentence in *class {
                    if sentence as usize >= sentences {
                        return Err(BadLabels::NoSuchSentence { concept, sentence, sentences });
                    }
                    all.push((sentence, Membership { concept: concept as u32, on, off }));
                }
            }
        }
        all.sort_unstable_by_key(|(sentence, membership)| (*sentence, membership.concept));
        let mut starts = vec![0; sentences + 1];
        let mut memberships: Vec<Membership> = Vec::with_capacity(all.len());
        let mut previous = None;
        for (sentence, membership) in all {
            if previous == Some((sentence, membership.concept)) {
                if let Some(last) = memberships.last_mut() {
                    last.on += membership.on;
                    last.off += membership.off;
                }
            } else {
                memberships.push(membership);
                previous = Some((sentence, membership.concept));
            }
            starts[sentence as usize + 1] = memberships.len() as u32;
        }
        for sentence in 0..sentences {
            starts[sentence + 1] = starts[sentence + 1].max(starts[sentence]);
        }
        Ok(Self { starts, memberships, totals })
    }

    /// How many sentences are labelled.
    pub fn sentences(&self) -> usize {
        self.starts.len() - 1
    }

    /// How many concepts the labels are for.
    pub fn concepts(&self) -> usize {
        self.totals.len()
    }

    /// Positives and negatives of a concept, repetitions counted.
    pub fn totals(&self, concept: usize) -> (u32, u32) {
        self.totals[concept]
    }

    fn of(&self, sentence: usize) -> &[Membership] {
        &self.memberships[self.starts[sentence] as usize..self.starts[sentence + 1] as usize]
    }
}

/// A response that is not a number.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the response to sentence {sentence} is not finite")]
pub struct NotFinite {
    /// Number of the sentence.
    pub sentence: usize,
}

/// A unit's numbers for one concept as they are summed, before they are stored as f32.
#[derive(Clone, Copy, Debug, PartialEq)]
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
    order: Vec<u64>,
    walks: Vec<Walk>,
}

impl<'a> Scorer<'a> {
    /// A scorer for one set of labels.
    pub fn new(labels: &'a Labels) -> Self {
        let walks = labels.totals.iter().map(|&(on, off)| Walk::new(on, off)).collect();
        Self { labels, order: Vec::with_capacity(labels.sentences()), walks }
    }

    /// Scores one unit: `responses` is `[sentence]`, the answer `[concept]`.
    ///
    /// # Errors
    /// If a response is not finite.
    ///
    /// # Panics
    /// If there are not as many responses as labelled sentences.
    pub fn score(&mut self, responses: &[f32]) -> Result<impl ExactSizeIterator<Item = Scores> + '_, NotFinite> {
        assert_eq!(responses.len(), self.labels.sentences(), "one response a sentence");
        if let Some(sentence) = responses.iter().position(|response| !response.is_finite()) {
            return Err(NotFinite { sentence });
        }
        self.order.clear();
        self.order.extend(responses.iter().zip(0u64..).map(|(&z, sentence)| (falling_key(z) << 32) | sentence));
        self.order.sort_unstable();
        self.walks.iter_mut().for_each(Walk::restart);
        for &entry in &self.order {
            let sentence = (entry & u64::from(u32::MAX)) as usize;
            let response = responses[sentence];
            for membership in self.labels.of(sentence) {
                self.walks[membership.concept as usize].take(response, membership.on, membership.off);
            }
        }
        Ok(self.walks.iter_mut().map(Walk::finish))
    }
}

/// An integer that orders as the responses do, largest response first; -0.0 and 0.0 are equal.
fn falling_key(response: f32) -> u64 {
    let bits = (response + 0.0).to_bits();
    let rising = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(!rising)
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

    fn restart(&mut self) {
        (self.on, self.off, self.open_on, self.open_off) = (0, 0, 0, 0);
        (self.weighted_precision, self.on_sum, self.off_sum) = (0.0, 0.0, 0.0);
        self.threshold = f32::NAN;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn score(responses: &[f32], positive: &[u32], negative: &[u32]) -> Scores {
        let labels = Labels::new(responses.len(), &[(positive, negative)]).unwrap();
        Scorer::new(&labels).score(responses).unwrap().next().unwrap()
    }

    /// AP by its definition: every distinct response is a threshold, and everything is counted anew at each.
    fn brute_force_ap(responses: &[f32], positive: &[u32], negative: &[u32]) -> f64 {
        let at_least = |class: &[u32], t: f32| class.iter().filter(|&&s| responses[s as usize] >= t).count() as f64;
        let mut thresholds: Vec<f32> = positive.iter().chain(negative).map(|&s| responses[s as usize]).collect();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        let (mut ap, mut recall) = (0.0, 0.0);
        for t in thresholds {
            let (tp, fp) = (at_least(positive, t), at_least(negative, t));
            ap += (tp / positive.len() as f64 - recall) * tp / (tp + fp);
            recall = tp / positive.len() as f64;
        }
        ap
    }

    fn numpy_percentile(mut values: Vec<f32>, q: f64) -> f64 {
        values.sort_by(f32::total_cmp);
        let place = (values.len() - 1) as f64 * q;
        let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
        f64::from(low) + (f64::from(high) - f64::from(low)) * place.fract()
    }

    /// Few distinct values, so that ties within and across the classes are the rule; sentences may repeat and may stand
    /// in both classes.
    fn scored() -> impl Strategy<Value = (Vec<f32>, Vec<u32>, Vec<u32>)> {
        (2usize..40).prop_flat_map(|n| {
            let value = prop_oneof![(-4i8..5).prop_map(|v| f32::from(v) * 0.5), -1e3f32..1e3, Just(-0.0)];
            let sentences = || prop::collection::vec(0..n as u32, 1..40);
            (prop::collection::vec(value, n), sentences(), sentences())
        })
    }

    proptest! {
        #[test]
        fn ap_is_the_definition((responses, positive, negative) in scored()) {
            let found = score(&responses, &positive, &negative);
            let expected = brute_force_ap(&responses, &positive, &negative);
            prop_assert!((found.ap - expected).abs() < 1e-12, "{} {}", found.ap, expected);
        }

        #[test]
        fn values_are_numpys((responses, positive, negative) in scored()) {
            let found = score(&responses, &positive, &negative);
            let on: Vec<f32> = positive.iter().map(|&s| responses[s as usize]).collect();
            let off: Vec<f32> = negative.iter().map(|&s| responses[s as usize]).collect();
            let mean = |v: &[f32]| v.iter().map(|&z| f64::from(z)).sum::<f64>() / v.len() as f64;
            prop_assert!((found.on_mean - mean(&on)).abs() < 1e-9);
            prop_assert!((found.off_mean - mean(&off)).abs() < 1e-9);
            prop_assert!((found.on_p50 - numpy_percentile(on.clone(), 0.5)).abs() < 1e-9);
            prop_assert!((found.on_p90 - numpy_percentile(on, 0.9)).abs() < 1e-9);
        }

        #[test]
        fn no_order_of_sentences_changes_a_bit((responses, positive, negative) in scored(), rotate in 0usize..40) {
            let n = responses.len();
            let moved = |s: u32| ((s as usize + rotate) % n) as u32;
            let mut turned = responses.clone();
            turned.rotate_right(rotate % n);
            let positive_turned: Vec<u32> = positive.iter().rev().map(|&s| moved(s)).collect();
            let negative_turned: Vec<u32> = negative.iter().rev().map(|&s| moved(s)).collect();
            let (a, b) = (score(&responses, &positive, &negative), score(&turned, &positive_turned, &negative_turned));
            prop_assert_eq!(a.ap.to_bits(), b.ap.to_bits());
            prop_assert_eq!(a.on_mean.to_bits(), b.on_mean.to_bits());
            prop_assert_eq!(a.off_mean.to_bits(), b.off_mean.to_bits());
            prop_assert_eq!((a.on_p50.to_bits(), a.on_p90.to_bits()), (b.on_p50.to_bits(), b.on_p90.to_bits()));
        }

        #[test]
        fn a_concept_scores_the_same_in_company(
            (responses, positive, negative) in scored(),
            others in prop::collection::vec((prop::collection::vec(0u32..2, 1..9), prop::collection::vec(0u32..2, 1..9)), 0..4),
        ) {
            let alone = score(&responses, &positive, &negative);
            let mut group: Vec<(&[u32], &[u32])> = others.iter().map(|(p, n)| (&p[..], &n[..])).collect();
            group.push((&positive, &negative));
            let labels = Labels::new(responses.len(), &group).unwrap();
            let in_company = Scorer::new(&labels).score(&responses).unwrap().last().unwrap();
            prop_assert_eq!(alone, in_company);
        }
    }

    #[test]
    fn ties_are_one_threshold() {
        // Both at one response: AP is the base rate, whatever the order.
        assert_eq!(score(&[1.0, 1.0], &[0], &[1]).ap, 0.5);
        assert_eq!(score(&[0.0, -0.0], &[0], &[1]).ap, 0.5);
        assert_eq!(score(&[2.0, 1.0, 0.0], &[0, 1], &[2]).ap, 1.0);
    }

    #[test]
    fn unusable_labels_and_responses_are_refused() {
        assert!(matches!(
            Labels::new(2, &[(&[0], &[])]),
            Err(BadLabels::OneClass { concept: 0, positives: 1, negatives: 0 })
        ));
        assert!(matches!(Labels::new(2, &[(&[0], &[2])]), Err(BadLabels::NoSuchSentence { sentence: 2, .. })));
        let labels = Labels::new(2, &[(&[0], &[1])]).unwrap();
        assert_eq!(Scorer::new(&labels).score(&[0.0, f32::NAN]).err(), Some(NotFinite { sentence: 1 }));
    }
}
