//! Where a worker's time goes while it mines.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What a worker does for a shard. All but the forward passes should vanish beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Cutting sentences into tokens; beside the device.
    Tokenise,
    /// Taking responses from the cache; on the device thread.
    Recall,
    /// Forward passes, pooling included; on the device thread.
    Forward,
    /// Putting responses into the store and handing them to the cache; on the device thread.
    Keep,
    /// Bringing responses into order by unit and scoring them; beside the device and the stream.
    Score,
    /// Handing summaries to the stream, waiting for its reader included; beside the device and the scoring.
    Send,
}

impl Stage {
    /// All of them, in the order in which a shard comes to them.
    pub const ALL: [Self; 6] = [Self::Tokenise, Self::Recall, Self::Forward, Self::Keep, Self::Score, Self::Send];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tokenise => "tokenise",
            Self::Recall => "recall",
            Self::Forward => "forward",
            Self::Keep => "keep",
            Self::Score => "score",
            Self::Send => "send",
        }
    }
}

/// Clocks of the stages, shared by a worker's threads; whoever starts the worker can keep a handle and read them. Several
/// workers may share one: their times add up.
#[derive(Clone, Debug, Default)]
pub struct Stages(Arc<[AtomicU64; Stage::ALL.len()]>);

impl Stages {
    /// Does `work` and adds the time to `stage`.
    pub(crate) fn time<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = work();
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.0[stage as usize].fetch_add(nanos, Ordering::Relaxed);
        done
    }

    /// How long a stage took in all, by the clock on the wall.
    pub fn spent(&self, stage: Stage) -> Duration {
        Duration::from_nanos(self.0[stage as usize].load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_share_their_clocks_and_stages_have_their_own() {
        let stages = Stages::default();
        let other = stages.clone();
        other.time(Stage::Score, || std::thread::sleep(Duration::from_millis(2)));
        other.time(Stage::Score, || std::thread::sleep(Duration::from_millis(2)));
        assert!(stages.spent(Stage::Score) >= Duration::from_millis(4));
        assert!(Stage::ALL.iter().filter(|&&stage| stages.spent(stage) > Duration::ZERO).count() == 1);
    }
}
