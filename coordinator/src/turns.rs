//! Whose turn it is: a free worker goes to the waiting job that has the fewest.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lode_domain::id::{JobId, ModelHash};

/// What running jobs have and want.
#[derive(Default)]
pub(crate) struct Turns(Mutex<BTreeMap<JobId, Demand>>);

struct Demand {
    model: ModelHash,
    /// Workers that mine for it.
    holds: u32,
    /// Whether it could use one more now.
    waits: bool,
}

impl Turns {
    /// A job begins.
    pub(crate) fn join(&self, job: JobId, model: ModelHash) {
        self.demands().insert(job, Demand { model, holds: 0, waits: false });
    }

    /// A job ends.
    pub(crate) fn leave(&self, job: JobId) {
        self.demands().remove(&job);
    }

    /// A job says whether it could use one more worker.
    pub(crate) fn wait(&self, job: JobId, waits: bool) {
        if let Some(demand) = self.demands().get_mut(&job) {
            demand.waits = waits;
        }
    }

    /// Whether the next free worker is this job's: nobody else who waits for the same model has fewer; of two with as many the
    /// older job is first.
    pub(crate) fn is_next(&self, job: JobId) -> bool {
        let demands = self.demands();
        let Some(own) = demands.get(&job) else { return true };
        let others = demands.iter().filter(|(id, other)| **id != job && other.waits && other.model == own.model);
        others.map(|(id, other)| (other.holds, *id)).all(|other| (own.holds, job) < other)
    }

    pub(crate) fn take(&self, job: JobId) {
        if let Some(demand) = self.demands().get_mut(&job) {
            demand.holds += 1;
        }
    }

    pub(crate) fn give_back(&self, job: JobId) {
        if let Some(demand) = self.demands().get_mut(&job) {
            demand.holds = demand.holds.saturating_sub(1);
        }
    }

    fn demands(&self) -> MutexGuard<'_, BTreeMap<JobId, Demand>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_shared_out_evenly() {
        let turns = Turns::default();
        let (old, new) = (JobId(1), JobId(2));
        turns.join(old, ModelHash([1; 32]));
        turns.join(new, ModelHash([1; 32]));
        turns.join(JobId(3), ModelHash([9; 32]));
        [old, new, JobId(3)].into_iter().for_each(|job| turns.wait(job, true));
        assert!(turns.is_next(old) && !turns.is_next(new) && turns.is_next(JobId(3)));
        turns.take(old);
        assert!(!turns.is_next(old) && turns.is_next(new));
        turns.take(new);
        assert!(turns.is_next(old));
        // Who wants nothing is in nobody's way.
        turns.wait(old, false);
        assert!(turns.is_next(new));
        turns.give_back(old);
        turns.leave(new);
        assert!(turns.is_next(old));
    }
}
