//! How far and how fast an attempt is, and how long its worker has been silent.
//!
//! Only the worker's own time counts: while the coordinator has yet to take what came, by a slow disk or a long commit, nobody
//! listens, and a worker that waits for that is neither silent nor slow.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lode_domain::{
    event::{Progress, ShardEvent},
    id::ShardId,
};

use crate::{metrics, tally::Tally};

/// Tokens below which a run says little about a worker's speed.
const TELLING_TOKENS: u64 = 2_000;

/// What an attempt has to bring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Units, of all its concepts together.
    pub(crate) units: u64,
    /// Values that are sent of one of them.
    pub(crate) values: u64,
}

/// See the module.
pub(crate) struct Meter {
    tally: Arc<Tally>,
    shard: ShardId,
    reading: Mutex<Reading>,
}

impl Meter {
    /// Of an attempt that begins now.
    pub(crate) fn new(tally: Arc<Tally>, shard: ShardId, load: Load) -> Self {
        Self { tally, shard, reading: Mutex::new(Reading::new(load, Instant::now())) }
    }

    /// Notes what the worker sent. From now on it waits for the coordinator.
    pub(crate) fn hear(&self, event: &ShardEvent) {
        let mut reading = self.reading();
        let before = reading.progress.tokens_done;
        reading.hear(event, Instant::now());
        let now = reading.progress;
        drop(reading);
        if matches!(event, ShardEvent::Progress(_)) {
            metrics::TOKENS_MINED.add(now.tokens_done.saturating_sub(before));
            self.tally.note(self.shard, now);
        }
    }

    /// Whether the worker has said anything.
    pub(crate) fn has_heard(&self) -> bool {
        self.reading().has_heard
    }

    /// What came is taken; now it is the worker's turn again.
    pub(crate) fn listen(&self) {
        self.reading().listen(Instant::now());
    }

    /// The worker has nothing more to say; the rest is the coordinator's.
    pub(crate) fn stop_listening(&self) {
        self.reading().stop_listening(Instant::now());
    }

    /// How long the worker has kept the coordinator waiting.
    pub(crate) fn silence(&self) -> Duration {
        self.reading().silence(Instant::now())
    }

    /// How long it takes to send all that the attempt has to bring, at a pace of so many values per second.
    pub(crate) fn delivery_at(&self, pace: f64) -> f64 {
        let Load { units, values } = self.reading().load;
        (units * values) as f64 / pace
    }

    /// Values per second that the worker sends, once it sends them.
    pub(crate) fn pace(&self) -> Option<f64> {
        self.reading().pace(Instant::now())
    }

    /// How long the attempt should still take.
    pub(crate) fn remaining(&self) -> Duration {
        self.reading().remaining(Instant::now())
    }

    /// Tokens per second between the first and the last sign of forward passes, if there were enough.
    pub(crate) fn speed(&self) -> Option<f64> {
        self.reading().speed()
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Times are arguments: a meter without a clock.
struct Reading {
    started: Instant,
    /// Since when the worker is listened to; `None` while the coordinator takes what came.
    listening: Option<Instant>,
    heard: Instant,
    has_heard: bool,
    /// What the coordinator has taken for itself so far.
    own: Duration,
    /// When forward passes were first and last told of.
    first: Option<(Instant, u64)>,
    last: Option<(Instant, u64)>,
    progress: Progress,
    /// When forward passes were through, and what had been the coordinator's own until then.
    delivery: Option<(Instant, Duration)>,
    load: Load,
    units_done: u64,
}

impl Reading {
    fn new(load: Load, now: Instant) -> Self {
        Self {
            started: now,
            listening: Some(now),
            heard: now,
            has_heard: false,
            own: Duration::ZERO,
            first: None,
            last: None,
            progress: Progress::default(),
            delivery: None,
            load,
            units_done: 0,
        }
    }

    fn hear(&mut self, event: &ShardEvent, now: Instant) {
        (self.heard, self.listening, self.has_heard) = (now, None, true);
        match event {
            ShardEvent::Progress(progress) => {
                self.first.get_or_insert((now, progress.tokens_done));
                self.last = Some((now, progress.tokens_done));
                self.progress = *progress;
                if progress.sentences_done == progress.sentences_total {
                    self.delivery.get_or_insert((now, self.own));
                }
            }
            ShardEvent::Block { block, .. } => self.units_done += block.len() as u64,
            ShardEvent::Partial(part) => self.units_done += u64::from(part.units),
            ShardEvent::ConceptDone { .. } | ShardEvent::Dropped(_) => {}
        }
    }

    fn listen(&mut self, now: Instant) {
        self.own += now - self.heard;
        self.listening = Some(now);
    }

    fn stop_listening(&mut self, now: Instant) {
        (self.heard, self.listening) = (now, None);
    }

    fn silence(&self, now: Instant) -> Duration {
        self.listening.map_or(Duration::ZERO, |since| now - since)
    }

    /// The coordinator's own time until now.
    fn own(&self, now: Instant) -> Duration {
        let current = if self.listening.is_some() { Duration::ZERO } else { now - self.heard };
        self.own + current
    }

    /// By the attempt's own speed, first of its forward passes and then of what it sends; and no less than it is silent.
    fn remaining(&self, now: Instant) -> Duration {
        let Progress { tokens_done, tokens_total, .. } = self.progress;
        let forward = still(tokens_done, tokens_total, (now - self.started).saturating_sub(self.own(now)));
        let delivery =
            self.delivering(now).map_or(Duration::ZERO, |spent| still(self.units_done, self.load.units, spent));
        forward.max(delivery).max(self.silence(now))
    }

    /// How long the worker has been sending.
    fn delivering(&self, now: Instant) -> Option<Duration> {
        let (began, own) = self.delivery?;
        Some((now - began).saturating_sub(self.own(now).saturating_sub(own)))
    }

    fn pace(&self, now: Instant) -> Option<f64> {
        let spent = self.delivering(now).filter(|_| self.units_done > 0)?;
        Some((self.units_done * self.load.values) as f64 / spent.as_secs_f64().max(1e-3))
    }

    fn speed(&self) -> Option<f64> {
        let ((from, before), (to, after)) = self.first.zip(self.last)?;
        let tokens = after.checked_sub(before).filter(|&tokens| tokens >= TELLING_TOKENS)?;
        Some(tokens as f64 / (to - from).as_secs_f64().max(1e-3))
    }
}

/// How long the rest takes if what is done took `spent`.
fn still(done: u64, total: u64, spent: Duration) -> Duration {
    let left = total.saturating_sub(done) as f64;
    if done == 0 {
        Duration::ZERO
    } else {
        Duration::from_secs_f64((left / done as f64 * spent.as_secs_f64()).min(1e6))
    }
}

#[cfg(test)]
mod tests {
    use lode_domain::event::PartialUnits;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// As many sentences as tokens.
    fn progress(tokens_done: u64, tokens_total: u64) -> ShardEvent {
        let (sentences_done, sentences_total) = (tokens_done as u32, tokens_total as u32);
        ShardEvent::Progress(Progress { tokens_done, tokens_total, sentences_done, sentences_total })
    }

    fn part(units: u32) -> ShardEvent {
        ShardEvent::Partial(PartialUnits { start: 0, units, responses: Vec::new() })
    }

    #[test]
    fn who_waits_for_the_coordinator_is_not_silent() {
        let start = Instant::now();
        let mut reading = Reading::new(Load { units: 100, values: 5 }, start);
        assert_eq!(reading.silence(start + 3 * SECOND), 3 * SECOND);
        reading.hear(&progress(50, 100), start + 4 * SECOND);
        assert_eq!(reading.silence(start + 60 * SECOND), Duration::ZERO);
        // Half took four seconds; that the coordinator then took a minute for itself says nothing about the rest.
        assert_eq!(reading.remaining(start + 64 * SECOND), 4 * SECOND);
        reading.listen(start + 64 * SECOND);
        assert_eq!(reading.remaining(start + 64 * SECOND), 4 * SECOND);
        assert_eq!(reading.silence(start + 66 * SECOND), 2 * SECOND);
        assert_eq!(reading.remaining(start + 84 * SECOND), 24 * SECOND);
    }

    #[test]
    fn who_trickles_is_slow() {
        let start = Instant::now();
        let mut reading = Reading::new(Load { units: 1_000, values: 5 }, start);
        reading.hear(&progress(100, 100), start + SECOND);
        reading.listen(start + SECOND);
        let mut now = start + SECOND;
        // Ten units a second, and never silent for longer than that.
        for _ in 0..20 {
            reading.hear(&part(10), now + SECOND);
            // As long again is the coordinator's own.
            reading.listen(now + 2 * SECOND);
            now += 2 * SECOND;
        }
        assert_eq!((reading.pace(now), reading.remaining(now)), (Some(50.0), 80 * SECOND));
        // What it has sent and the coordinator has yet to take costs it nothing.
        reading.stop_listening(now);
        assert_eq!(
            (reading.remaining(now + 9 * SECOND), reading.silence(now + 9 * SECOND)),
            (80 * SECOND, Duration::ZERO)
        );
    }

    #[test]
    fn speed_is_that_of_forward_passes() {
        let start = Instant::now();
        let mut reading = Reading::new(Load { units: 1, values: 5 }, start);
        reading.hear(&progress(1_000, 9_000), start + 5 * SECOND);
        assert_eq!(reading.speed(), None);
        reading.hear(&progress(9_000, 9_000), start + 9 * SECOND);
        assert_eq!(reading.speed(), Some(2_000.0));
    }
}
