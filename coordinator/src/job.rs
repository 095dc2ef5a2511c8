//! Jobs as the coordinator remembers them: what was asked, what has happened, who watches.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use futures::Stream;
use lode_domain::{
    concept::ConceptId,
    event::{JobEvent, JobSpec, JobState, JobStatus, Progress},
    id::JobId,
    job::Job,
};
use lode_proto::Fault;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    fault,
    journal::{JobLog, Journal, JournalError, MOST_ENDED, Restored},
    metrics,
};

/// One job.
pub(crate) struct JobHandle {
    pub(crate) id: JobId,
    pub(crate) spec: JobSpec,
    pub(crate) cancel: CancellationToken,
    log: JobLog,
    /// Shards that wait for a worker.
    waiting: AtomicUsize,
    /// Concepts that need nothing more: indexed, failed, or about to be.
    settled: Mutex<BTreeSet<ConceptId>>,
    history: Mutex<History>,
    /// Moves with every event.
    moved: watch::Sender<()>,
}

struct History {
    status: JobStatus,
    /// Everything but progress, of which only the latest counts.
    events: Vec<JobEvent>,
}

impl History {
    fn take(&mut self, event: JobEvent) {
        match &event {
            JobEvent::Progress(progress) => self.status.progress = *progress,
            JobEvent::ConceptIndexed(_) => self.status.indexed += 1,
            JobEvent::ConceptFailed { .. } => self.status.failed += 1,
            JobEvent::Ended { state, error } => {
                self.status.state = *state;
                self.status.error.clone_from(error);
            }
            JobEvent::Planned(_) | JobEvent::ShardRetried { .. } => {}
        }
        if !matches!(event, JobEvent::Progress(_)) {
            self.events.push(event);
        }
    }
}

impl JobHandle {
    /// Notes an event, writes it down and wakes whoever watches.
    pub(crate) fn tell(&self, event: JobEvent) {
        metrics::count_event(&event);
        let has_ended = matches!(event, JobEvent::Ended { .. });
        let mut history = self.history();
        // Written first: what a watcher was told is told again after a restart.
        let written = matches!(event, JobEvent::Progress(_)) || self.log.append(&event);
        history.take(event);
        drop(history);
        if has_ended && written {
            self.log.close();
        }
        self.moved.send_replace(());
    }

    /// Claims a concept for whoever is about to settle it; false if somebody has: of two workers on one shard, the first
    /// counts.
    pub(crate) fn claim(&self, concept: &ConceptId) -> bool {
        locked(&self.settled).insert(concept.clone())
    }

    /// Gives a claim back: what came was not whole.
    pub(crate) fn unclaim(&self, concept: &ConceptId) {
        locked(&self.settled).remove(concept);
    }

    /// Whether a concept needs nothing more.
    pub(crate) fn is_settled(&self, concept: &ConceptId) -> bool {
        locked(&self.settled).contains(concept)
    }

    /// Notes how many shards wait for a worker.
    pub(crate) fn set_waiting(&self, shards: usize) {
        self.waiting.store(shards, Ordering::Relaxed);
    }

    /// What to mine, from its record.
    pub(crate) fn content(&self) -> Result<Job, JournalError> {
        self.log.content()
    }

    /// The job as it stands.
    pub(crate) fn status(&self) -> JobStatus {
        self.history().status.clone()
    }

    /// Everything from event number `after` on, progress not counted, then what comes, until the job has ended.
    ///
    /// # Errors
    /// If there are fewer events: whoever asks has heard of some that were lost with the machine.
    pub(crate) fn watch(self: Arc<Self>, after: usize) -> Result<impl Stream<Item = JobEvent> + Send + use<>, Fault> {
        let known = self.history().events.len();
        if after > known {
            return Err(Fault::precondition(format!("{} has {known} events, not {after}: watch it anew", self.id)));
        }
        Ok(self.watch_from(after))
    }

    fn watch_from(self: Arc<Self>, after: usize) -> impl Stream<Item = JobEvent> + Send + use<> {
        let moved = self.moved.subscribe();
        let state = (self, moved, after, Progress::default());
        futures::stream::unfold(state, async |(job, mut moved, mut told, mut progress)| {
            loop {
                // Seen before looking, so that an event between looking and waiting is not missed.
                moved.borrow_and_update();
                let next = {
                    let history = job.history();
                    match history.events.get(told) {
                        // The last progress belongs before the end.
                        Some(JobEvent::Ended { .. }) if history.status.progress != progress => {
                            progress = history.status.progress;
                            Some(JobEvent::Progress(progress))
                        }
                        Some(event) => {
                            told += 1;
                            Some(event.clone())
                        }
                        None if history.status.state != JobState::Running => return None,
                        None if history.status.progress != progress => {
                            progress = history.status.progress;
                            Some(JobEvent::Progress(progress))
                        }
                        None => None,
                    }
                };
                if let Some(event) = next {
                    return Some((event, (job, moved, told, progress)));
                }
                if moved.changed().await.is_err() {
                    return None;
                }
            }
        })
    }

    fn history(&self) -> MutexGuard<'_, History> {
        locked(&self.history)
    }

    fn new(id: JobId, spec: JobSpec, concepts: u32, log: JobLog) -> Self {
        let status = JobStatus {
            id,
            model: spec.model.clone(),
            state: JobState::Running,
            concepts,
            indexed: 0,
            failed: 0,
            progress: Progress::default(),
            error: String::new(),
        };
        Self {
            id,
            spec,
            cancel: CancellationToken::new(),
            log,
            waiting: AtomicUsize::new(0),
            settled: Mutex::default(),
            history: Mutex::new(History { status, events: Vec::new() }),
            moved: watch::Sender::new(()),
        }
    }

    /// As its files tell; nothing is counted or written again.
    fn restored(restored: Restored) -> Self {
        let Restored { id, spec, concepts, events, log, .. } = restored;
        let handle = Self::new(id, spec, concepts, log);
        for event in events {
            match &event {
                JobEvent::ConceptIndexed(indexed) => drop(handle.claim(&indexed.concept)),
                JobEvent::ConceptFailed { concept, .. } => drop(handle.claim(concept)),
                _ => {}
            }
            handle.history().take(event);
        }
        handle
    }
}

/// A panic while a lock was held leaves plain data behind it that is still whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All jobs that are remembered.
pub(crate) struct Jobs {
    jobs: Mutex<BTreeMap<JobId, Arc<JobHandle>>>,
    journal: Journal,
    next: AtomicU64,
}

impl Jobs {
    /// The jobs of a data folder. Those that must not go on end here.
    pub(crate) fn restore(journal: Journal) -> Result<Self, JournalError> {
        let next = AtomicU64::new(journal.next_id()?);
        let mut jobs = BTreeMap::new();
        for restored in journal.restore()? {
            let (id, verdict) = (restored.id, restored.verdict.filter(|_| !restored.has_ended()));
            let handle = Arc::new(JobHandle::restored(restored));
            if let Some((state, error)) = verdict {
                handle.tell(JobEvent::Ended { state, error: error.to_owned() });
            }
            jobs.insert(id, handle);
        }
        Ok(Self { jobs: Mutex::new(jobs), journal, next })
    }

    /// Those that run, or should: after a restart, what was interrupted.
    pub(crate) fn unfinished(&self) -> Vec<Arc<JobHandle>> {
        let is_running = |job: &&Arc<JobHandle>| job.status().state == JobState::Running;
        self.jobs().values().filter(is_running).cloned().collect()
    }

    /// Opens a job, which is on the disk when this returns.
    pub(crate) fn open(&self, spec: JobSpec, job: &Job) -> Result<Arc<JobHandle>, JournalError> {
        let id = JobId(self.next.fetch_add(1, Ordering::Relaxed));
        let log = self.journal.create(id, &spec, job)?;
        let handle = Arc::new(JobHandle::new(id, spec, job.concepts.len() as u32, log));
        let mut jobs = self.jobs();
        jobs.insert(id, handle.clone());
        let ended: Vec<JobId> =
            jobs.iter().filter(|(_, job)| job.status().state != JobState::Running).map(|(id, _)| *id).collect();
        for forgotten in &ended[..ended.len().saturating_sub(MOST_ENDED)] {
            jobs.remove(forgotten).into_iter().for_each(|job| job.log.remove());
        }
        Ok(handle)
    }

    /// A job by id.
    pub(crate) fn get(&self, id: JobId) -> Result<Arc<JobHandle>, Fault> {
        self.jobs().get(&id).cloned().ok_or_else(|| fault::unknown_job(id))
    }

    /// All jobs, by id.
    pub(crate) fn list(&self) -> Vec<JobStatus> {
        self.jobs().values().map(|job| job.status()).collect()
    }

    /// Shards of all jobs that wait for a worker.
    pub(crate) fn waiting(&self) -> usize {
        self.jobs().values().map(|job| job.waiting.load(Ordering::Relaxed)).sum()
    }

    /// Stops a running job.
    pub(crate) fn cancel(&self, id: JobId) -> Result<JobState, Fault> {
        let job = self.get(id)?;
        match job.status().state {
            JobState::Running => {
                job.log.cancel();
                job.cancel.cancel();
                Ok(JobState::Cancelled)
            }
            state => Err(fault::ended_job(id, state)),
        }
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, Arc<JobHandle>>> {
        locked(&self.jobs)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    fn spec() -> JobSpec {
        let recipe = lode_domain::expertise::Recipe::default();
        let split = lode_domain::plan::SplitMode::Auto;
        JobSpec {
            model: "demo".parse().unwrap(),
            recipe,
            limit_per_class: 1000,
            seed: 0,
            strict: false,
            split,
            measures: Default::default(),
        }
    }

    fn job() -> Job {
        let concept = lode_domain::concept::Concept {
            id: "a/b".parse().unwrap(),
            positive: vec!["yes".into()],
            negative: vec!["no".into()],
        };
        Job::new(&[concept]).unwrap()
    }

    fn jobs(folder: &std::path::Path) -> Jobs {
        Jobs::restore(Journal::open(folder, false).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_late_watcher_hears_everything_once() {
        let folder = tempfile::tempdir().unwrap();
        let jobs = jobs(folder.path());
        let job = jobs.open(spec(), &job()).unwrap();
        let failed = JobEvent::ConceptFailed { concept: "a/b".parse().unwrap(), error: "no".into() };
        let progress = Progress { tokens_done: 5, ..Progress::default() };
        let ended = JobEvent::Ended { state: JobState::Failed, error: "no".into() };
        let early = tokio::spawn(job.clone().watch(0).unwrap().collect::<Vec<_>>());
        job.tell(failed.clone());
        job.tell(JobEvent::Progress(progress));
        job.tell(ended.clone());
        let expected = vec![failed, JobEvent::Progress(progress), ended];
        assert_eq!(job.clone().watch(0).unwrap().collect::<Vec<_>>().await, expected);
        assert_eq!(job.clone().watch(1).unwrap().collect::<Vec<_>>().await, expected[1..]);
        assert!(job.clone().watch(9).err().unwrap().message.contains("watch it anew"));
        assert_eq!(early.await.unwrap().last(), expected.last());
        assert_eq!((job.status().failed, job.status().state), (1, JobState::Failed));
        assert!(jobs.cancel(job.id).unwrap_err().message.contains("failed already"));
        assert!(jobs.get(JobId(9)).is_err());
    }

    #[tokio::test]
    async fn a_restart_changes_nothing_that_was_told() {
        let folder = tempfile::tempdir().unwrap();
        let told = [JobEvent::ConceptFailed { concept: "a/b".parse().unwrap(), error: "no".into() }];
        let id = {
            let jobs = jobs(folder.path());
            let handle = jobs.open(spec(), &job()).unwrap();
            assert!(handle.claim(&"a/b".parse().unwrap()) && !handle.claim(&"a/b".parse().unwrap()));
            handle.tell(told[0].clone());
            handle.id
        };
        let jobs = jobs(folder.path());
        let [handle] = &jobs.unfinished()[..] else { panic!("one job is unfinished") };
        assert_eq!((handle.id, handle.status().failed, handle.content().unwrap()), (id, 1, job()));
        assert!(handle.is_settled(&"a/b".parse().unwrap()));
        handle.tell(JobEvent::Ended { state: JobState::Failed, error: "no".into() });
        assert!(self::jobs(folder.path()).unfinished().is_empty());
        // Ids go on where they were.
        assert_eq!(jobs.open(spec(), &job()).unwrap().id, JobId(id.0 + 1));
    }
}
