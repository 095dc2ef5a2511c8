//! The concepts nearest to one, among all of a model.
//!
//! The answer is that of comparing with every concept in full: who shares most experts (by Jaccard), ties by correlation, then by
//! name. But most concepts need not be compared in full. First the experts of all are read, which are few and kept by
//! derived copies: that gives every Jaccard exactly. Then, of those who could be among the first by that, sketches bound the
//! correlation ([`lode_domain::sketch`]). With the lower bounds there are `limit` concepts that are at least as near as some
//! (Jaccard, correlation); whoever's upper bound is below that is not among the first `limit`, whatever its correlation is.
//! The rest is compared in full, and sorted.
//!
//! It holds a column or a sketch for each of eight readers, one probe, and a hundred bytes a concept: with 414,720 units at most
//! 30 MB, whatever the number of concepts.

use lode_domain::{
    compare::{Experts, Moments, correlation, holds, jaccard},
    query::Neighbour,
    ranking::BadK,
    record::ConceptKey,
    sketch::Probe,
    unit::UnitId,
};
use rayon::prelude::*;

use crate::{Index, IndexError, query::QueryError, store::Entry, subject::Subject};

/// The concept asked about.
struct Asked {
    ap: Vec<f32>,
    moments: Moments,
    experts: Experts,
    /// How many experts it has.
    count: usize,
    /// One bit a unit.
    is_expert: Vec<u64>,
}

/// A concept that may be near.
struct Prospect<'a> {
    key: &'a ConceptKey,
    /// As it was listed.
    entry: &'a Entry,
    /// The slot that its experts were counted in.
    read: u64,
    shared: usize,
    jaccard: f64,
    /// The correlation is not below the first and not above the second.
    correlation: (f64, f64),
}

const UNKNOWN: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

impl Index {
    /// The at most `limit` concepts of the same model and recipe that share most experts with one, most first; ties by
    /// correlation of AP, then by name.
    ///
    /// # Errors
    /// If a top k does not fit the model; [`IndexError::UnknownConcept`], [`IndexError::Corrupt`], or the store's.
    pub fn nearest(&self, key: &ConceptKey, experts: Experts, limit: u32) -> Result<Vec<Neighbour>, QueryError> {
        let own = self.entry(key)?;
        let (ap, moments) = self.reading(key, own, |entry| {
            let concept = Subject::new(self, key, entry);
            let ap = concept.ap()?;
            let moments = concept.moments(&ap);
            Ok((ap, moments))
        })?;
        let listing = self.store.listing(key.model)?;
        let others = |(other, _): &&(ConceptKey, Entry)| other.recipe == key.recipe && other.concept != key.concept;
        let others: Vec<&(ConceptKey, Entry)> = listing.iter().filter(others).collect();
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let asked = Asked::new(ap, moments, experts)?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let (derived, limit) = (&self.store.derived, limit as usize);
        let prospects: Result<Vec<Option<Prospect<'_>>>, QueryError> =
            derived.at_once(|| others.into_par_iter().map(|other| asked.prospect(self, other)).collect());
        let mut prospects: Vec<Prospect<'_>> = prospects?.into_iter().flatten().collect();

        keep_contenders(&mut prospects, limit);
        if prospects.len() > limit {
            let probe = Probe::new(&asked.ap, &asked.moments);
            derived.at_once(|| prospects.par_iter_mut().for_each(|prospect| asked.bound(self, &probe, prospect)));
            keep_contenders(&mut prospects, limit);
        }
        let compared: Result<Vec<Option<Prospect<'_>>>, QueryError> =
            derived.at_once(|| prospects.into_par_iter().map(|prospect| asked.compared(self, prospect)).collect());
        let mut compared: Vec<Prospect<'_>> = compared?.into_iter().flatten().collect();
        compared.sort_by(|a, b| {
            let nearer = b.jaccard.total_cmp(&a.jaccard).then(b.correlation.0.total_cmp(&a.correlation.0));
            nearer.then_with(|| a.key.concept.cmp(&b.key.concept))
        });
        compared.truncate(limit);
        Ok(compared.into_iter().map(Prospect::into_neighbour).collect())
    }
}

/// Drops who is not among the first `limit`, whatever the correlations are within their bounds.
fn keep_contenders(prospects: &mut Vec<Prospect<'_>>, limit: usize) {
    if prospects.len() <= limit {
        return;
    }
    let order = |a: &(f64, f64), b: &(f64, f64)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1));
    let mut least: Vec<(f64, f64)> = prospects.iter().map(|p| (p.jaccard, p.correlation.0)).collect();
    let (_, enough, _) = least.select_nth_unstable_by(limit - 1, |a, b| order(b, a));
    let enough = *enough;
    prospects.retain(|p| order(&(p.jaccard, p.correlation.1), &enough).is_ge());
}

impl Asked {
    fn new(ap: Vec<f32>, moments: Moments, experts: Experts) -> Result<Self, QueryError> {
        let units = experts.of(&ap)?;
        let mut is_expert = vec![0; ap.len().div_ceil(64)];
        units.iter().for_each(|unit| is_expert[unit.index() / 64] |= 1 << (unit.0 % 64));
        Ok(Self { ap, moments, experts, count: units.len(), is_expert })
    }

    /// The experts that another concept shares; `None` if it is gone.
    fn prospect<'a>(
        &self,
        index: &Index,
        (key, entry): &'a (ConceptKey, Entry),
    ) -> Result<Option<Prospect<'a>>, QueryError> {
        let found = index.reading(key, entry.clone(), |now| {
            let shared = self.shared(&Subject::new(index, key, now))?;
            let prospect =
                |(shared, jaccard)| Prospect { key, entry, read: now.slot, shared, jaccard, correlation: UNKNOWN };
            Ok(shared.map(prospect))
        });
        match found {
            Ok(prospect) => Ok(Some(prospect?)),
            Err(error) => gone(error),
        }
    }

    /// How many experts a concept shares, and the Jaccard.
    fn shared(&self, other: &Subject<'_>) -> Result<Result<(usize, f64), BadK>, IndexError> {
        let leading = other.leading().unwrap_or_default();
        let pairs: Vec<(UnitId, f32)> = leading.iter().map(|(unit, all)| (*unit, all.ap)).collect();
        let counted = match self.experts.leading(&pairs, other.units()) {
            Err(bad) => return Ok(Err(bad)),
            Ok(Some(count)) => {
                Ok((count, pairs[..count].iter().filter(|(unit, _)| holds(&self.is_expert, *unit)).count()))
            }
            Ok(None) => self.experts.count(&other.ap()?, &self.is_expert),
        };
        Ok(counted.map(|(count, shared)| (shared, jaccard(self.count, count, shared))))
    }

    /// Narrows what the correlation can be, if the concept has a sketch.
    fn bound(&self, index: &Index, probe: &Probe, prospect: &mut Prospect<'_>) {
        let other = Subject::new(index, prospect.key, prospect.entry);
        if prospect.entry.slot == prospect.read
            && other.units() as usize == self.ap.len()
            && let Some(bounds) =
                other.derived(|member| Ok(probe.bounds(&member.sketch_bytes()?, &member.sketch(), &member.moments())))
        {
            prospect.correlation = bounds;
        }
    }

    /// Makes the correlation exact; `None` if the concept is gone.
    fn compared<'a>(&self, index: &Index, mut prospect: Prospect<'a>) -> Result<Option<Prospect<'a>>, QueryError> {
        let found = index.reading(prospect.key, prospect.entry.clone(), |now| {
            let other = Subject::new(index, prospect.key, now);
            // Mined again since its experts were counted: both numbers are to be of one mining.
            let shared = if now.slot == prospect.read { None } else { Some(self.shared(&other)?) };
            Ok((shared.transpose(), self.correlation(&other, &other.ap()?)))
        });
        match found {
            Ok((shared, exact)) => {
                if let Some((shared, jaccard)) = shared? {
                    (prospect.shared, prospect.jaccard) = (shared, jaccard);
                }
                prospect.correlation = (exact, exact);
                Ok(Some(prospect))
            }
            Err(error) => gone(error),
        }
    }

    fn correlation(&self, other: &Subject<'_>, ap: &[f32]) -> f64 {
        correlation((&self.ap, &self.moments), (ap, &other.moments(ap)))
    }
}

impl Prospect<'_> {
    fn into_neighbour(self) -> Neighbour {
        let Self { key, shared, jaccard, correlation, .. } = self;
        Neighbour { concept: key.concept.clone(), shared: shared as u32, jaccard, correlation: correlation.0 }
    }
}

/// A concept that was removed while it was read is no neighbour.
fn gone<'a>(error: IndexError) -> Result<Option<Prospect<'a>>, QueryError> {
    match error {
        IndexError::UnknownConcept(_) => Ok(None),
        error => Err(error.into()),
    }
}
