//! Labels, laid out for the walk: concepts that label much of the sentences side by side, the others by themselves.

/// The labels b of a set of sentences for a group of concepts that share them.
#[derive(Clone, Debug)]
pub struct Labels {
    sentences: usize,
    /// Positives and negatives per concept, repetitions counted.
    totals: Vec<(u32, u32)>,
    /// Concepts that label many of the sentences, side by side.
    pub(super) dense: Vec<Dense<LANES>>,
    /// Concepts that label few of the sentences.
    pub(super) sparse: Vec<Sparse>,
}

/// Concepts that are walked side by side; a lane that stays empty costs nothing.
pub(super) const LANES: usize = 4;
/// A concept that labels at least one of this many sentences is dense: a label that is looked up in vain costs a sixth of one
/// that is brought into order.
const DENSE: usize = 6;

/// Labels of `L` concepts as a table.
#[derive(Clone, Debug)]
pub(super) struct Dense<const L: usize> {
    /// Places of the concepts in the group; fewer than `L` leave lanes without labels.
    pub(super) concepts: Vec<usize>,
    /// `[sentence]`
    pub(super) rows: Vec<Row<L>>,
}

/// How often a sentence stands among the positives and among the negatives of `L` concepts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<const L: usize> {
    pub(super) on: [u8; L],
    pub(super) off: [u8; L],
}

/// Labels of one concept as a list.
#[derive(Clone, Debug)]
pub(super) struct Sparse {
    pub(super) concept: usize,
    /// Ascending by sentence.
    pub(super) labels: Vec<Label>,
}

/// How often a sentence stands among the positives, and among the negatives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) sentence: u32,
    pub(super) on: u32,
    pub(super) off: u32,
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
        let mut totals = Vec::with_capacity(concepts.len());
        let (mut dense, mut sparse) = (Vec::new(), Vec::new());
        for (concept, (positive, negative)) in concepts.iter().enumerate() {
            let (positives, negatives) = (positive.len() as u32, negative.len() as u32);
            if positives == 0 || negatives == 0 {
                return Err(BadLabels::OneClass { concept, positives, negatives });
            }
            totals.push((positives, negatives));
            let labels = merged(positive, negative);
            if let Some(label) = labels.last().filter(|label| label.sentence as usize >= sentences) {
                return Err(BadLabels::NoSuchSentence { concept, sentence: label.sentence, sentences });
            }
            let fits_a_row = labels.iter().all(|label| label.on.max(label.off) <= u32::from(u8::MAX));
            let is_dense = fits_a_row && labels.len() * DENSE >= sentences;
            let list = if is_dense { &mut dense } else { &mut sparse };
            list.push(Sparse { concept, labels });
        }
        let dense = dense.chunks(LANES).map(|few| Dense::new(sentences, few)).collect();
        Ok(Self { sentences, totals, dense, sparse })
    }

    /// How many sentences are labelled.
    pub fn sentences(&self) -> usize {
        self.sentences
    }

    /// How many concepts the labels are for.
    pub fn concepts(&self) -> usize {
        self.totals.len()
    }

    /// Positives and negatives of a concept, repetitions counted.
    pub fn totals(&self, concept: usize) -> (u32, u32) {
        self.totals[concept]
    }
}

impl<const L: usize> Dense<L> {
    fn new(sentences: usize, concepts: &[Sparse]) -> Self {
        let mut rows = vec![Row { on: [0; L], off: [0; L] }; sentences];
        for (lane, concept) in concepts.iter().enumerate() {
            for label in &concept.labels {
                let row = &mut rows[label.sentence as usize];
                (row.on[lane], row.off[lane]) = (label.on as u8, label.off as u8);
            }
        }
        Self { concepts: concepts.iter().map(|concept| concept.concept).collect(), rows }
    }
}

/// One label a sentence, ascending.
fn merged(positive: &[u32], negative: &[u32]) -> Vec<Label> {
    let on = positive.iter().map(|&sentence| Label { sentence, on: 1, off: 0 });
    let off = negative.iter().map(|&sentence| Label { sentence, on: 0, off: 1 });
    let mut labels: Vec<Label> = on.chain(off).collect();
    labels.sort_unstable_by_key(|label| label.sentence);
    labels.dedup_by(|next, kept| {
        let is_same = next.sentence == kept.sentence;
        if is_same {
            kept.on += next.on;
            kept.off += next.off;
        }
        is_same
    });
    labels
}
