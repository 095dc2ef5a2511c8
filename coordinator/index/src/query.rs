//! Questions over many units or concepts: from derived copies where there are, from the blocks where not, with the same answer.

use lode_domain::{
    compare::{Experts, Overlap, correlation},
    criterion::Criterion,
    expertise::{Extra, UnitExpertise},
    query::{BadGlob, TopQuery},
    ranking::BadK,
    record::ConceptKey,
    unit::{UnitId, UnitSpace},
};

use crate::{Index, IndexError, subject::Subject};

/// A question that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The index has no answer.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A k that does not fit the model.
    #[error(transparent)]
    K(#[from] BadK),
    /// A glob that cannot be read.
    #[error(transparent)]
    Glob(#[from] BadGlob),
}

/// Units with their expertise and what is kept beside it, in the order asked for, and how many fit the question's filters in all.
pub type Listed = (Vec<(UnitId, UnitExpertise, Extra)>, u32);

/// Two concepts compared: the overlap, and its shared units' expertise in the first and in the second.
pub type Compared = (Overlap, Vec<(UnitExpertise, UnitExpertise)>);

impl Index {
    /// The units of a concept that a query asks for.
    ///
    /// # Errors
    /// If the glob cannot be read; [`IndexError::UnknownConcept`], [`IndexError::NotMeasured`], [`IndexError::Corrupt`], or the
    /// store's.
    pub fn top(&self, key: &ConceptKey, space: &UnitSpace, query: &TopQuery) -> Result<Listed, QueryError> {
        let listed = self.reading(key, self.entry(key)?, |entry| {
            let concept = Subject::new(self, key, entry);
            let kept = if query.bottom { concept.trailing() } else { concept.leading() }.unwrap_or_default();
            let first: Vec<(UnitId, f32)> = kept.iter().map(|(unit, all)| (*unit, all.ap)).collect();
            let found = match query.select_first(space, &first) {
                Ok(Some(found)) => Ok(found),
                Ok(None) => {
                    let ap = concept.ap()?;
                    let scores = match query.criterion {
                        Criterion::Ap => None,
                        other => Some(concept.scores(other)?),
                    };
                    query.select(space, (scores.as_deref().unwrap_or(&ap), &ap))
                }
                Err(bad) => Err(bad),
            };
            let (units, matching) = match found {
                Ok(found) => found,
                Err(bad) => return Ok(Err(bad)),
            };
            let rows = concept.rows(&units, &kept)?;
            let extra = self.store.read_extra(key, entry, &units)?;
            let rows = units.into_iter().zip(rows).zip(extra).map(|((unit, row), extra)| (unit, row, extra));
            Ok(Ok((rows.collect(), matching)))
        })?;
        Ok(listed?)
    }

    /// Two concepts of one model compared.
    ///
    /// # Errors
    /// If a top k does not fit the model; [`IndexError::UnknownConcept`], [`IndexError::Corrupt`], or the store's.
    pub fn overlap(&self, first: &ConceptKey, second: &ConceptKey, experts: Experts) -> Result<Compared, QueryError> {
        self.reading(first, self.entry(first)?, |a| {
            self.reading(second, self.entry(second)?, |b| {
                let (a, b) = (Subject::new(self, first, a), Subject::new(self, second, b));
                // Two disks' worth of waiting, or two cores' of summing: the columns know nothing of each other.
                let (x, y) = rayon::join(|| a.ap(), || b.ap());
                let (x, y) = (x?, y?);
                let (of_x, of_y) = rayon::join(|| a.moments(&x), || b.moments(&y));
                let correlation = || correlation((&x, &of_x), (&y, &of_y));
                let sides = || {
                    let (leading_a, leading_b) = (a.leading().unwrap_or_default(), b.leading().unwrap_or_default());
                    let of_a = a.experts(experts, &leading_a, || Ok(x.as_slice().into()))?;
                    let of_b = b.experts(experts, &leading_b, || Ok(y.as_slice().into()))?;
                    Ok::<_, QueryError>((leading_a, of_a, leading_b, of_b))
                };
                let (correlation, sides) = rayon::join(correlation, sides);
                let (leading_a, of_a, leading_b, of_b) = match sides {
                    Err(QueryError::Index(error)) => return Err(error),
                    Err(other) => return Ok(Err(other)),
                    Ok(sides) => sides,
                };
                let found = Overlap::of(&of_a, &of_b, correlation);
                let rows_a = a.rows(&found.shared, &leading_a)?;
                let rows_b = b.rows(&found.shared, &leading_b)?;
                Ok(Ok((found, rows_a.into_iter().zip(rows_b).collect())))
            })
        })?
    }
}
