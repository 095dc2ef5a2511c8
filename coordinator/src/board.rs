//! A job's shards: which wait, which run, who gets which, and what becomes of one that broke off. No network here, and time is
//! an argument.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use lode_domain::{concept::ConceptId, id::ShardId};

/// How often a shard's worker may answer with an error before the shard is set aside.
const MOST_FAILURES: u32 = 3;
/// How often its worker may be lost. Workers die for other reasons than a shard; one that kills so many is to blame.
const MOST_LOSSES: u32 = 10;
/// How long a shard that broke off waits before it runs again; doubled each time.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What a shard is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Whole concepts.
    Concepts(Vec<ConceptId>),
    /// A range of the split's sentences, by number.
    Range(u32),
}

/// Why an attempt did not bring all that it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The worker answered with an error.
    Failure,
    /// The worker was lost, or its connection.
    Loss,
    /// The worker left in good order.
    HandedBack,
}

/// One shard.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) work: Work,
    /// What it should cost.
    pub(crate) tokens: u64,
    /// The worker that it was planned for, by address.
    pub(crate) preferred: Option<String>,
    failures: u32,
    losses: u32,
    not_before: Option<Instant>,
    /// Addresses on which it broke off.
    avoid: BTreeSet<String>,
    /// Attempts under way.
    running: u32,
}

impl Task {
    pub(crate) fn new(work: Work, tokens: u64, preferred: Option<String>) -> Self {
        let avoid = BTreeSet::new();
        Self { work, tokens, preferred, failures: 0, losses: 0, not_before: None, avoid, running: 0 }
    }
}

/// All shards of a job that are not done.
#[derive(Debug, Default)]
pub(crate) struct Board {
    tasks: BTreeMap<ShardId, Task>,
}

impl Board {
    pub(crate) fn add(&mut self, shard: ShardId, task: Task) {
        self.tasks.insert(shard, task);
    }

    pub(crate) fn get(&self, shard: ShardId) -> Option<&Task> {
        self.tasks.get(&shard)
    }

    /// All of them.
    pub(crate) fn shards(&self) -> impl Iterator<Item = (ShardId, &Task)> {
        self.tasks.iter().map(|(shard, task)| (*shard, task))
    }

    /// Whether nothing waits or runs.
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Whether a shard waits, for a worker or for its time.
    pub(crate) fn waits(&self) -> bool {
        self.tasks.values().any(|task| task.running == 0)
    }

    /// Shards that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.tasks.values().filter(|task| task.running == 0).count()
    }

    /// The shard that a free worker should do: its own first, then the dearest. One on which a shard broke off gets it
    /// only if no one else is `present`.
    pub(crate) fn pick(&self, worker: &str, present: &[String], now: Instant) -> Option<ShardId> {
        let is_ready = |task: &Task| task.running == 0 && task.not_before.is_none_or(|time| time <= now);
        let may = |task: &Task| !task.avoid.contains(worker) || present.iter().all(|url| task.avoid.contains(url));
        let ready = self.tasks.iter().filter(|(_, task)| is_ready(task) && may(task));
        let best = ready.max_by_key(|(shard, task)| {
            let is_own = task.preferred.as_deref() == Some(worker);
            (is_own, task.tokens, std::cmp::Reverse(**shard))
        });
        best.map(|(shard, _)| *shard)
    }

    /// Shards with one attempt under way, which a free worker could do as well.
    pub(crate) fn running_once(&self, worker: &str) -> impl Iterator<Item = (ShardId, &Task)> {
        let worker = worker.to_owned();
        let once = self.tasks.iter().filter(move |(_, task)| task.running == 1 && !task.avoid.contains(&worker));
        once.map(|(shard, task)| (*shard, task))
    }

    /// An attempt begins.
    pub(crate) fn begin(&mut self, shard: ShardId) {
        if let Some(task) = self.tasks.get_mut(&shard) {
            task.running += 1;
        }
    }

    /// A shard is done.
    pub(crate) fn finish(&mut self, shard: ShardId) {
        self.tasks.remove(&shard);
    }

    /// An attempt ended before the shard was done. True if the shard runs on or will run again; false if it has been tried
    /// often enough, and then it is off the board.
    pub(crate) fn break_off(&mut self, shard: ShardId, worker: &str, mishap: Mishap, now: Instant) -> bool {
        let Some(task) = self.tasks.get_mut(&shard) else { return true };
        task.running = task.running.saturating_sub(1);
        match mishap {
            Mishap::Failure => task.failures += 1,
            Mishap::Loss => task.losses += 1,
            Mishap::HandedBack => {}
        }
        task.avoid.insert(worker.to_owned());
        if task.running > 0 {
            return true;
        }
        if task.failures >= MOST_FAILURES || task.losses >= MOST_LOSSES {
            self.tasks.remove(&shard);
            return false;
        }
        let times = (task.failures + task.losses).saturating_sub(1).min(10);
        let wait = if mishap == Mishap::HandedBack { Duration::ZERO } else { FIRST_WAIT * 2u32.pow(times) };
        task.not_before = Some(now + wait.min(LONGEST_WAIT));
        true
    }

    /// Some of a shard came through: what killed workers before is not to blame on the rest.
    pub(crate) fn forgive(&mut self, shard: ShardId) {
        if let Some(task) = self.tasks.get_mut(&shard) {
            (task.failures, task.losses) = (0, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        let mut board = Board::default();
        for (number, tokens, preferred) in [(0, 10, "a"), (1, 30, "b"), (2, 20, "a")] {
            board.add(ShardId(number), Task::new(Work::Range(number as u32), tokens, Some(preferred.into())));
        }
        board
    }

    fn present() -> Vec<String> {
        vec!["a".into(), "b".into()]
    }

    #[test]
    fn a_worker_takes_its_own_then_the_dearest() {
        let mut board = board();
        let now = Instant::now();
        let mut picked = |worker: &str| {
            let shard = board.pick(worker, &present(), now);
            shard.into_iter().for_each(|shard| board.begin(shard));
            shard
        };
        assert_eq!(picked("a"), Some(ShardId(2)));
        assert_eq!(picked("c"), Some(ShardId(1)));
        assert_eq!(picked("b"), Some(ShardId(0)));
        assert_eq!(picked("b"), None);
    }

    #[test]
    fn what_broke_off_waits_and_goes_elsewhere() {
        let mut board = Board::default();
        board.add(ShardId(0), Task::new(Work::Range(0), 1, None));
        let now = Instant::now();
        board.begin(ShardId(0));
        assert!(board.break_off(ShardId(0), "a", Mishap::Failure, now));
        assert_eq!(board.pick("b", &present(), now), None);
        let later = now + LONGEST_WAIT;
        assert_eq!(board.pick("a", &present(), later), None);
        assert_eq!(board.pick("b", &present(), later), Some(ShardId(0)));
        // With nobody else there, the same worker gets it again.
        assert_eq!(board.pick("a", &["a".to_owned()], later), Some(ShardId(0)));
    }

    #[test]
    fn a_shard_that_fails_everywhere_is_set_aside() {
        let mut board = board();
        let now = Instant::now();
        for (worker, goes_on) in [("a", true), ("b", true), ("c", false)] {
            board.begin(ShardId(1));
            assert_eq!(board.break_off(ShardId(1), worker, Mishap::Failure, now), goes_on);
        }
        assert_eq!(board.waiting(), 2);
        // Lost workers are forgiven longer, and good-byes for ever.
        for time in 1..=MOST_LOSSES {
            board.begin(ShardId(2));
            board.break_off(ShardId(2), "a", Mishap::HandedBack, now);
            board.begin(ShardId(2));
            assert_eq!(board.break_off(ShardId(2), "a", Mishap::Loss, now), time < MOST_LOSSES);
        }
        for _ in 0..3 * MOST_LOSSES {
            board.begin(ShardId(0));
            assert!(board.break_off(ShardId(0), "a", Mishap::Loss, now));
            board.forgive(ShardId(0));
        }
    }

    #[test]
    fn of_two_attempts_one_may_break_off() {
        let mut board = board();
        let now = Instant::now();
        board.begin(ShardId(1));
        assert_eq!(board.running_once("b").count(), 1);
        board.begin(ShardId(1));
        assert_eq!(board.running_once("b").count(), 0);
        assert!(board.break_off(ShardId(1), "a", Mishap::Loss, now));
        assert!(board.pick("c", &present(), now) != Some(ShardId(1)));
        assert_eq!((board.running_once("a").count(), board.running_once("b").count()), (0, 1));
        board.finish(ShardId(1));
        assert!(board.waits() && !board.is_empty());
    }
}
