//! Puts concepts on workers.
//!
//! Two ways, of which the better result counts:
//! - *greedy*: the dearest concept first, each to the worker that would end soonest with it, where sentences that the
//!   worker already runs cost nothing. Without sharing this is the LPT rule. With sharing it spreads a group of
//!   concepts over all workers while these are idle, and each then pays for what the group shares.
//! - *packed*: a time by which all must end is given; each concept goes where it adds least among the workers that it
//!   still fits. This keeps groups together. The least such time is searched by bisection, between the lower
//!   bound and what greedy reached.

use std::cmp::Ordering;

use super::sharing::Sharing;

/// Times tried for the packed way; the last step is 1/64 of the gap to the lower bound.
const TRIES: u32 = 6;

/// The concepts of each worker, `[worker]`.
pub(super) fn assign(sharing: &Sharing, speeds: &[f64]) -> Vec<Vec<u32>> {
    let by_name: Vec<u32> = (0..sharing.concepts.len() as u32).collect();
    let mut by_cost = by_name.clone();
    // Stable, so equal costs stay in id order.
    by_cost.sort_by_key(|&concept| std::cmp::Reverse(sharing.concepts[concept as usize].tokens));

    let mut best = Loads::new(sharing, speeds);
    for &concept in &by_cost {
        best.put_where_it_ends_first(concept);
    }
    let (mut low, mut high) = (sharing.lower_bound(speeds), best.makespan());
    for _ in 0..TRIES {
        let deadline = low + (high - low) / 2.0;
        if high <= low {
            break;
        }
        // Groups often have names next to each other; and where they do not, the dearest first fits better.
        let packed = [&by_name, &by_cost].into_iter().find_map(|order| Loads::packed(sharing, speeds, order, deadline));
        match packed {
            Some(packed) => {
                high = packed.makespan().min(deadline);
                if packed.order(&best) == Ordering::Less {
                    best = packed;
                }
            }
            None => low = deadline,
        }
    }
    best.concepts
}

/// What every worker has so far.
struct Loads<'a> {
    sharing: &'a Sharing,
    speeds: &'a [f64],
    concepts: Vec<Vec<u32>>,
    /// `[worker]`, in tokens.
    tokens: Vec<u64>,
    /// Which workers run a bundle or hold it from before, one bit each: `[bundle, worker / 64]`.
    holders: Vec<u64>,
    /// 64-bit words a bundle.
    words: usize,
    /// Scratch: what a concept would share with each worker, `[worker]`, in tokens.
    shared: Vec<u64>,
}

impl<'a> Loads<'a> {
    fn new(sharing: &'a Sharing, speeds: &'a [f64]) -> Self {
        let words = speeds.len().div_ceil(64);
        Self {
            sharing,
            speeds,
            concepts: vec![Vec::new(); speeds.len()],
            tokens: vec![0; speeds.len()],
            holders: sharing.holders.clone(),
            words,
            shared: vec![0; speeds.len()],
        }
    }

    /// The packed way; `None` if a concept fits nowhere.
    fn packed(sharing: &'a Sharing, speeds: &'a [f64], order: &[u32], deadline: f64) -> Option<Self> {
        let mut loads = Self::new(sharing, speeds);
        for &concept in order {
            loads.put_where_it_adds_least(concept, deadline)?;
        }
        Some(loads)
    }

    fn put_where_it_ends_first(&mut self, concept: u32) {
        self.look(concept);
        let best = (0..self.speeds.len()).min_by(|&one, &other| {
            let key = |worker| (self.end_with(concept, worker), self.added(concept, worker));
            let ((end, added), (other_end, other_added)) = (key(one), key(other));
            end.total_cmp(&other_end).then(added.cmp(&other_added))
        });
        // There is always a worker: `plan` refuses to go without.
        if let Some(worker) = best {
            self.put(concept, worker);
        }
    }

    fn put_where_it_adds_least(&mut self, concept: u32, deadline: f64) -> Option<()> {
        self.look(concept);
        let fits = |&worker: &usize| self.end_with(concept, worker) <= deadline;
        let best = (0..self.speeds.len()).filter(fits).min_by(|&one, &other| {
            let added = self.added(concept, one).cmp(&self.added(concept, other));
            added.then(self.end_with(concept, one).total_cmp(&self.end_with(concept, other)))
        })?;
        self.put(concept, best);
        Some(())
    }

    /// Fills `shared` for a concept.
    fn look(&mut self, concept: u32) {
        self.shared.fill(0);
        for &bundle in &self.sharing.concepts[concept as usize].bundles {
            let tokens = self.sharing.bundles[bundle as usize];
            let holders = &self.holders[bundle as usize * self.words..][..self.words];
            for (word, &bits) in holders.iter().enumerate() {
                let mut bits = bits;
                while bits != 0 {
                    self.shared[64 * word + bits.trailing_zeros() as usize] += tokens;
                    bits &= bits - 1;
                }
            }
        }
    }

    /// Tokens that the concept last looked at would add to a worker.
    fn added(&self, concept: u32, worker: usize) -> u64 {
        self.sharing.concepts[concept as usize].tokens - self.shared[worker]
    }

    fn end_with(&self, concept: u32, worker: usize) -> f64 {
        (self.tokens[worker] + self.added(concept, worker)) as f64 / self.speeds[worker]
    }

    fn put(&mut self, concept: u32, worker: usize) {
        self.tokens[worker] += self.added(concept, worker);
        self.concepts[worker].push(concept);
        for &bundle in &self.sharing.concepts[concept as usize].bundles {
            self.holders[bundle as usize * self.words + worker / 64] |= 1 << (worker % 64);
        }
    }

    fn makespan(&self) -> f64 {
        self.tokens.iter().zip(self.speeds).map(|(&tokens, speed)| tokens as f64 / speed).fold(0.0, f64::max)
    }

    /// The better one is less: it ends sooner, or as soon and runs fewer tokens.
    fn order(&self, other: &Self) -> Ordering {
        let total = |loads: &Self| loads.tokens.iter().sum::<u64>();
        self.makespan().total_cmp(&other.makespan()).then_with(|| total(self).cmp(&total(other)))
    }
}
