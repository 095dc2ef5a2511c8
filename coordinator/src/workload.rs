//! What a worker mines: the forward passes of one shard, and the delivery of the one before.
//!
//! The device is the worker's bottleneck and need not wait for its network, or for the coordinator's disk: who has computed a
//! shard gets the next one while the first is still being delivered. One, not more: what a worker sends has to be held here.

use lode_domain::id::JobId;

/// Shards that a worker may still be delivering when it gets another one.
const MOST_DELIVERED: usize = 1;

/// A shard that a worker has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// Tells it from the worker's others.
    pub(crate) number: u64,
    pub(crate) job: JobId,
    /// Bytes of its responses.
    pub(crate) bytes: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Workload {
    next: u64,
    computing: Option<Share>,
    delivering: Vec<Share>,
}

impl Workload {
    /// Whether there is nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.computing.is_none() && self.delivering.is_empty()
    }

    /// Whether the device has nothing to do and a shard of `bytes` more could run, its responses beside those that are being
    /// delivered, within `budget`. The first may be of any size: what does not fit goes to the worker's disk.
    pub(crate) fn has_room(&self, bytes: u64, budget: u64) -> bool {
        let held: u64 = self.delivering.iter().map(|share| share.bytes).sum();
        let fits = self.delivering.is_empty() || held.saturating_add(bytes) <= budget;
        self.computing.is_none() && self.delivering.len() <= MOST_DELIVERED && fits
    }

    /// A shard begins; its number.
    pub(crate) fn begin(&mut self, job: JobId, bytes: u64) -> u64 {
        self.next += 1;
        self.computing = Some(Share { number: self.next, job, bytes });
        self.next
    }

    /// A shard's forward passes are through; false if they were before.
    pub(crate) fn computed(&mut self, number: u64) -> bool {
        let share = self.computing.take_if(|share| share.number == number);
        self.delivering.extend(share);
        share.is_some()
    }

    /// A shard has ended; true if it was still being computed.
    pub(crate) fn end(&mut self, number: u64) -> bool {
        self.delivering.retain(|share| share.number != number);
        self.computing.take_if(|share| share.number == number).is_some()
    }

    /// The job that it is for; of two the one that is computed.
    pub(crate) fn job(&self) -> Option<JobId> {
        self.computing.iter().chain(&self.delivering).next().map(|share| share.job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_computed_while_another_is_delivered() {
        let mut load = Workload::default();
        assert!(load.is_idle() && load.has_room(1000, 100));
        let first = load.begin(JobId(1), 60);
        assert!(!load.has_room(0, 100), "the device is busy");
        assert!(load.computed(first) && !load.computed(first));
        assert!(load.has_room(40, 100) && !load.has_room(41, 100));
        let second = load.begin(JobId(2), 40);
        assert_eq!(load.job(), Some(JobId(2)));
        assert!(load.computed(second));
        assert!(!load.has_room(0, 100), "two are being delivered");
        // Whichever ends first makes room, and each ends only itself.
        assert!(!load.end(second) && load.has_room(0, 100));
        let third = load.begin(JobId(3), 0);
        assert!(!load.end(first) && load.job() == Some(JobId(3)));
        assert!(load.end(third) && load.is_idle());
    }
}
