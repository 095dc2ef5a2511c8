//! A job's shards: which wait, which run, who gets which, and what becomes of one that broke off. No network here, and time is
//! an argument.

use std::{
    collections::BTreeMap,
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
/// How long it rather goes elsewhere.
const AVOIDED: Duration = Duration::from_secs(20);

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

/// What becomes of a shard after a mishap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Another attempt is under way.
    RunsOn,
    /// It will run again.
    Waits,
    /// It has been tried often enough, and is off the board.
    SetAside,
}

/// One shard.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) work: Work,
    /// What it should cost.
    pub(crate) tokens: u64,
    /// Its distinct sentences.
    pub(crate) sentences: u64,
    /// The worker that it was planned for, by address.
    pub(crate) preferred: Option<String>,
    failures: u32,
    losses: u32,
    not_before: Option<Instant>,
    /// Addresses on which it broke off, and until when others are preferred.
    avoid: BTreeMap<String, Instant>,
    /// Attempts under way.
    running: u32,
}

impl Task {
    fn avoids(&self, worker: &str, now: Instant) -> bool {
        self.avoid.get(worker).is_some_and(|until| now < *until)
    }

    /// The same of so many distinct sentences.
    pub(crate) fn of(self, sentences: u64) -> Self {
        Self { sentences, ..self }
    }

    pub(crate) fn new(work: Work, tokens: u64, preferred: Option<String>) -> Self {
        let avoid = BTreeMap::new();
        Self { work, tokens, sentences: 0, preferred, failures: 0, losses: 0, not_before: None, avoid, running: 0 }
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

    /// Shards that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.tasks.values().filter(|task| task.running == 0).count()
    }

    /// The shard that a free worker should do: its own first, then the dearest. One on which a shard broke off gets it
    /// only if no one else is `present`.
    pub(crate) fn pick(&self, worker: &str, present: &[String], now: Instant) -> Option<ShardId> {
        let is_ready = |task: &Task| task.running == 0 && task.not_before.is_none_or(|time| time <= now);
        let may = |task: &Task| !task.avoids(worker, now) || present.iter().all(|url| task.avoids(url, now));
        let ready = self.tasks.iter().filter(|(_, task)| is_ready(task) && may(task));
        let best = ready.max_by_key(|(shard, task)| {
            let is_own = task.preferred.as_deref() == Some(worker);
            (is_own, task.tokens, std::cmp::Reverse(**shard))
        });
        best.map(|(shard, _)| *shard)
    }

    /// Shards with one attempt under way, which a free worker could do as well.
    pub(crate) fn running_once(&self, worker: &str, now: Instant) -> impl Iterator<Item = (ShardId, &Task)> {
        let worker = worker.to_owned();
        let once = self.tasks.iter().filter(move |(_, task)| task.running == 1 && !task.avoids(&worker, now));
        once.map(|(shard, task)| (*shard, task))
    }

    /// Whether two attempts at a shard are under way.
    pub(crate) fn runs_twice(&self, shard: ShardId) -> bool {
        self.tasks.get(&shard).is_some_and(|task| task.running > 1)
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

    /// An attempt ended before the shard was done.
    pub(crate) fn break_off(&mut self, shard: ShardId, worker: &str, mishap: Mishap, now: Instant) -> Fate {
        let Some(task) = self.tasks.get_mut(&shard) else { return Fate::RunsOn };
        task.running = task.running.saturating_sub(1);
        match mishap {
            Mishap::Failure => task.failures += 1,
            Mishap::Loss => task.losses += 1,
            Mishap::HandedBack => {}
        }
        if mishap != Mishap::HandedBack {
            task.avoid.insert(worker.to_owned(), now + AVOIDED);
        }
        if task.running > 0 {
            return Fate::RunsOn;
        }
        if task.failures >= MOST_FAILURES || task.losses >= MOST_LOSSES {
            self.tasks.remove(&shard);
            return Fate::SetAside;
        }
        let times = (task.failures + task.losses).saturating_sub(1).min(10);
        let wait = if mishap == Mishap::HandedBack { Duration::ZERO } else { FIRST_WAIT * 2u32.pow(times) };
        task.not_before = Some(now + wait.min(LONGEST_WAIT));
        Fate::Waits
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
        assert_eq!(board.break_off(ShardId(0), "a", Mishap::Failure, now), Fate::Waits);
        assert_eq!(board.pick("b", &present(), now), None);
        let later = now + LONGEST_WAIT;
        assert_eq!(board.pick("a", &present(), later), None);
        assert_eq!(board.pick("b", &present(), later), Some(ShardId(0)));
        // With nobody else there, the same worker gets it again.
        assert_eq!(board.pick("a", &["a".to_owned()], later), Some(ShardId(0)));
        // Nor is it avoided for ever, or for having left in good order.
        assert_eq!(board.pick("a", &present(), later + AVOIDED), Some(ShardId(0)));
        board.begin(ShardId(0));
        board.break_off(ShardId(0), "b", Mishap::HandedBack, now);
        assert_eq!(board.pick("b", &present(), now), Some(ShardId(0)));
    }

    #[test]
    fn a_shard_that_fails_everywhere_is_set_aside() {
        let mut board = board();
        let now = Instant::now();
        for (worker, goes_on) in [("a", Fate::Waits), ("b", Fate::Waits), ("c", Fate::SetAside)] {
            board.begin(ShardId(1));
            assert_eq!(board.break_off(ShardId(1), worker, Mishap::Failure, now), goes_on);
        }
        assert_eq!(board.waiting(), 2);
        // Lost workers are forgiven longer, and good-byes for ever.
        for time in 1..=MOST_LOSSES {
            board.begin(ShardId(2));
            board.break_off(ShardId(2), "a", Mishap::HandedBack, now);
            board.begin(ShardId(2));
            let fate = if time < MOST_LOSSES { Fate::Waits } else { Fate::SetAside };
            assert_eq!(board.break_off(ShardId(2), "a", Mishap::Loss, now), fate);
        }
        for _ in 0..3 * MOST_LOSSES {
            board.begin(ShardId(0));
            assert_eq!(board.break_off(ShardId(0), "a", Mishap::Loss, now), Fate::Waits);
            board.forgive(ShardId(0));
        }
    }

    #[test]
    fn of_two_attempts_one_may_break_off() {
        let mut board = board();
        let now = Instant::now();
        board.begin(ShardId(1));
        assert_eq!(board.running_once("b", now).count(), 1);
        board.begin(ShardId(1));
        assert_eq!(board.running_once("b", now).count(), 0);
        assert_eq!(board.break_off(ShardId(1), "a", Mishap::Loss, now), Fate::RunsOn);
        assert!(board.pick("c", &present(), now) != Some(ShardId(1)));
        assert_eq!((board.running_once("a", now).count(), board.running_once("b", now).count()), (0, 1));
        board.finish(ShardId(1));
        assert!(board.waiting() > 0 && !board.is_empty());
    }
}
