//! What concepts share, without what does not matter to a plan.

use rustc_hash::FxHashMap;

use super::Holdings;
use crate::job::Job;

/// A job's concepts over *bundles*: sentences that stand in exactly the same concepts and are held by the same workers go
/// together wherever they go, so they count as one. Those of a single concept that nobody holds are no bundle but part of
/// the concept's own cost.
pub(super) struct Sharing {
    pub concepts: Vec<ConceptCost>,
    /// Tokens of each bundle, `[bundle]`.
    pub bundles: Vec<u64>,
    /// Workers that hold a bundle's responses from before, one bit each: `[bundle, worker / 64]`.
    pub holders: Vec<u64>,
    pub distinct_sentences: u64,
    pub distinct_tokens: u64,
    /// Of the distinct ones, those that nobody holds.
    pub new_tokens: u64,
    /// Sum over concepts of their distinct sentences.
    pub unshared_sentences: u64,
}

/// What one concept costs.
pub(super) struct ConceptCost {
    /// All its distinct sentences, in tokens.
    pub tokens: u64,
    /// Those of them that nobody holds.
    pub new_tokens: u64,
    /// The bundles that it needs, ascending.
    pub bundles: Vec<u32>,
}

impl Sharing {
    pub fn new(job: &Job, weights: &[u32], holdings: &Holdings) -> Self {
        let distinct: Vec<Vec<u32>> = job.concepts.iter().map(|concept| concept.distinct()).collect();
        let (starts, users) = users(&distinct, weights.len());
        let mut concepts: Vec<ConceptCost> =
            distinct.iter().map(|_| ConceptCost { tokens: 0, new_tokens: 0, bundles: Vec::new() }).collect();
        let mut bundles: Vec<u64> = Vec::new();
        let mut holders: Vec<u64> = Vec::new();
        let mut new_tokens = 0;
        let mut bundle_of: FxHashMap<(&[u32], &[u64]), usize> = FxHashMap::default();
        for (sentence, &weight) in weights.iter().enumerate() {
            let users = &users[starts[sentence]..starts[sentence + 1]];
            let held_by = holdings.of(sentence);
            let is_new = !holdings.held(sentence as u32);
            for &user in users {
                concepts[user as usize].tokens += u64::from(weight);
                concepts[user as usize].new_tokens += if is_new { u64::from(weight) } else { 0 };
            }
            if is_new && !users.is_empty() {
                new_tokens += u64::from(weight);
            }
            if users.is_empty() || (users.len() < 2 && is_new) {
                continue;
            }
            let bundle = *bundle_of.entry((users, held_by)).or_insert_with(|| {
                for &user in users {
                    concepts[user as usize].bundles.push(bundles.len() as u32);
                }
                bundles.push(0);
                holders.extend_from_slice(held_by);
                bundles.len() - 1
            });
            bundles[bundle] += u64::from(weight);
        }
        let used = |&(_, sentence): &(&u32, usize)| starts[sentence] < starts[sentence + 1];
        Self {
            concepts,
            bundles,
            holders,
            new_tokens,
            distinct_sentences: weights.iter().zip(0..).filter(used).count() as u64,
            distinct_tokens: weights.iter().zip(0..).filter(used).map(|(&weight, _)| u64::from(weight)).sum(),
            unshared_sentences: distinct.iter().map(|sentences| sentences.len() as u64).sum(),
        }
    }

    /// See [`super::PlanCost::lower_bound`].
    pub fn lower_bound(&self, speeds: &[f64]) -> f64 {
        let dearest = self.concepts.iter().map(|concept| concept.new_tokens).max().unwrap_or(0);
        let fastest = speeds.iter().copied().fold(0.0, f64::max);
        (self.new_tokens as f64 / speeds.iter().sum::<f64>()).max(dearest as f64 / fastest)
    }

    /// Cuts a worker's concepts into two parts of about one cost that share no sentence; or does not, if all hang
    /// together.
    pub fn halves(&self, concepts: &[u32]) -> Vec<Vec<u32>> {
        let mut groups = self.groups(concepts);
        let tokens = |group: &Vec<u32>| {
            let mut bundles: Vec<u32> =
                group.iter().flat_map(|&concept| &self.concepts[concept as usize].bundles).copied().collect();
            let whole: u64 = group.iter().map(|&concept| self.concepts[concept as usize].tokens).sum();
            let repeated: u64 = bundles.iter().map(|&bundle| self.bundles[bundle as usize]).sum();
            bundles.sort_unstable();
            bundles.dedup();
            whole - repeated + bundles.iter().map(|&bundle| self.bundles[bundle as usize]).sum::<u64>()
        };
        groups.sort_by_cached_key(|group| (std::cmp::Reverse(tokens(group)), group.clone()));
        let mut halves = [(0, Vec::new()), (0, Vec::new())];
        for group in groups {
            let lighter = usize::from(halves[1].0 < halves[0].0);
            halves[lighter].0 += tokens(&group);
            halves[lighter].1.extend(group);
        }
        halves.into_iter().map(|(_, half)| half).filter(|half| !half.is_empty()).collect()
    }

    /// Sets of concepts, connected by the bundles that they share.
    fn groups(&self, concepts: &[u32]) -> Vec<Vec<u32>> {
        let mut parent: Vec<usize> = (0..concepts.len()).collect();
        let mut first_user: FxHashMap<u32, usize> = FxHashMap::default();
        for (place, &concept) in concepts.iter().enumerate() {
            for &bundle in &self.concepts[concept as usize].bundles {
                let other = *first_user.entry(bundle).or_insert(place);
                let (one, other) = (root(&mut parent, place), root(&mut parent, other));
                parent[one.max(other)] = one.min(other);
            }
        }
        let mut groups: Vec<Vec<u32>> = vec![Vec::new(); concepts.len()];
        for (place, &concept) in concepts.iter().enumerate() {
            groups[root(&mut parent, place)].push(concept);
        }
        groups.retain(|group| !group.is_empty());
        groups
    }
}

/// The representative of a place's set, halving the path to it.
fn root(parent: &mut [usize], mut place: usize) -> usize {
    while parent[place] != place {
        parent[place] = parent[parent[place]];
        place = parent[place];
    }
    place
}

/// The concepts that need each sentence, ascending: those of sentence `s` at `starts[s]..starts[s + 1]`.
fn users(distinct: &[Vec<u32>], sentences: usize) -> (Vec<usize>, Vec<u32>) {
    let mut starts = vec![0; sentences + 1];
    for &sentence in distinct.iter().flatten() {
        starts[sentence as usize + 1] += 1;
    }
    for sentence in 0..sentences {
        starts[sentence + 1] += starts[sentence];
    }
    let mut next = starts.clone();
    let mut users = vec![0; starts[sentences]];
    for (concept, numbers) in (0..).zip(distinct) {
        for &sentence in numbers {
            users[next[sentence as usize]] = concept;
            next[sentence as usize] += 1;
        }
    }
    (starts, users)
}
