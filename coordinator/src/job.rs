//! Jobs as the coordinator remembers them: what was asked, what has happened, who watches.

use std::{
    collections::BTreeMap,
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
    query::IndexedConcept,
};
use lode_proto::Fault;
use tokio::sync::watch::Sender;
use tokio_util::sync::CancellationToken;

use crate::{
    fault,
    journal::{JobLog, Journal, JournalError, MOST_ENDED, Restored},
    metrics, watch,
};

/// One job.
pub(crate) struct JobHandle {
    pub(crate) id: JobId,
    pub(crate) spec: JobSpec,
    pub(crate) cancel: CancellationToken,
    log: JobLog,
    /// Shards that wait for a worker.
    waiting: AtomicUsize,
    /// Concepts that somebody settles or has settled.
    settled: Mutex<BTreeMap<ConceptId, Settling>>,
    history: Mutex<History>,
    /// Moves with every event.
    moved: Sender<()>,
}

/// How far a concept's settling is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settling {
    /// Somebody is about to; it may still fail.
    Claimed,
    /// Indexed or failed, and told so.
    Done,
}

struct History {
    status: JobStatus,
    told: Told,
    /// Whether the file lacks one of them.
    lacks_some: bool,
}

/// Everything but progress, of which only the latest counts.
enum Told {
    Held(Vec<JobEvent>),
    /// So many, in the file of a job that has ended: many such are remembered, and their events are not small.
    Filed(usize),
}

impl Told {
    fn len(&self) -> usize {
        match self {
            Self::Held(events) => events.len(),
            Self::Filed(count) => *count,
        }
    }
}

/// See [`JobHandle::next`].
pub(crate) enum Next {
    Event(JobEvent),
    Progress(Progress),
    /// The rest stands in the job's file.
    Filed,
    /// Nothing yet.
    Wait,
    End,
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
        if let Told::Held(events) = &mut self.told
            && !matches!(event, JobEvent::Progress(_))
        {
            events.push(event);
        }
    }

    /// All that was told stands in the job's file.
    fn file(&mut self) {
        self.told = Told::Filed(self.told.len());
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
        self.note_settled(&event);
        history.take(event);
        history.lacks_some |= !written;
        if has_ended && !history.lacks_some {
            history.file();
        }
        drop(history);
        if has_ended && written {
            self.log.close();
        }
        self.moved.send_replace(());
    }

    /// Claims a concept for whoever is about to settle it; false if somebody has: of two workers on one shard, the first
    /// counts.
    pub(crate) fn claim(&self, concept: &ConceptId) -> bool {
        let mut settled = locked(&self.settled);
        let is_free = !settled.contains_key(concept);
        if is_free {
            settled.insert(concept.clone(), Settling::Claimed);
        }
        is_free
    }

    /// Gives a claim back: it could not be settled.
    pub(crate) fn unclaim(&self, concept: &ConceptId) {
        let mut settled = locked(&self.settled);
        if settled.get(concept) == Some(&Settling::Claimed) {
            settled.remove(concept);
        }
    }

    /// Whether somebody is about to settle a concept.
    pub(crate) fn is_claimed(&self, concept: &ConceptId) -> bool {
        locked(&self.settled).get(concept) == Some(&Settling::Claimed)
    }

    /// Whether a concept needs nothing more: it is indexed or has failed.
    pub(crate) fn is_done(&self, concept: &ConceptId) -> bool {
        locked(&self.settled).get(concept) == Some(&Settling::Done)
    }

    fn note_settled(&self, event: &JobEvent) {
        let (JobEvent::ConceptIndexed(IndexedConcept { concept, .. }) | JobEvent::ConceptFailed { concept, .. }) =
            event
        else {
            return;
        };
        locked(&self.settled).insert(concept.clone(), Settling::Done);
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
    pub(crate) fn watch(
        self: Arc<Self>,
        after: usize,
    ) -> Result<impl Stream<Item = Result<JobEvent, Fault>> + Send + use<>, Fault> {
        let known = self.history().told.len();
        if after > known {
            return Err(Fault::precondition(format!("{} has {known} events, not {after}: watch it anew", self.id)));
        }
        let moved = self.moved.subscribe();
        Ok(watch::events(self, moved, after))
    }

    /// What a watcher who was told `told` events, and `progress` last, hears next.
    pub(crate) fn next(&self, told: usize, progress: Progress) -> Next {
        let History { status, told: all, .. } = &*self.history();
        let is_running = status.state == JobState::Running;
        let events = match all {
            Told::Held(events) => events,
            Told::Filed(count) if told < *count => return Next::Filed,
            Told::Filed(_) => return Next::End,
        };
        match events.get(told) {
            // The last progress belongs before the end.
            Some(JobEvent::Ended { .. }) if status.progress != progress => Next::Progress(status.progress),
            Some(event) => Next::Event(event.clone()),
            None if !is_running => Next::End,
            None if status.progress != progress => Next::Progress(status.progress),
            None => Next::Wait,
        }
    }

    /// The events of a job that has ended, from number `after` on. Reads its file.
    pub(crate) fn filed(&self, after: usize) -> Result<Vec<JobEvent>, Fault> {
        let mut events = self.log.events().map_err(Fault::data_loss)?;
        Ok(events.split_off(after.min(events.len())))
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
            history: Mutex::new(History { status, told: Told::Held(Vec::new()), lacks_some: false }),
            moved: Sender::new(()),
        }
    }

    /// As its files tell; nothing is counted or written again.
    fn restored(restored: Restored) -> Self {
        let has_ended = restored.has_ended();
        let Restored { id, spec, concepts, events, log, .. } = restored;
        let handle = Self::new(id, spec, concepts, log);
        for event in events {
            handle.note_settled(&event);
            handle.history().take(event);
        }
        if has_ended {
            handle.history().file();
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
        for id in journal.numbers()? {
            let Some(restored) = journal.restored(id) else { continue };
            let (id, verdict) = (restored.id, restored.verdict.filter(|_| !restored.has_ended()));
            let handle = Arc::new(JobHandle::restored(restored));
            if let Some((state, error)) = verdict {
                handle.tell(JobEvent::Ended { state, error: error.to_owned() });
            }
            jobs.insert(id, handle);
        }
        forget_surplus(&mut jobs);
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
        forget_surplus(&mut jobs);
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

/// Forgets the oldest of the jobs that have ended.
fn forget_surplus(jobs: &mut BTreeMap<JobId, Arc<JobHandle>>) {
    let ended: Vec<JobId> =
        jobs.iter().filter(|(_, job)| job.status().state != JobState::Running).map(|(id, _)| *id).collect();
    for forgotten in &ended[..ended.len().saturating_sub(MOST_ENDED)] {
        jobs.remove(forgotten).into_iter().for_each(|job| job.log.remove());
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
        let heard = |after| job.clone().watch(after).unwrap().map(Result::unwrap).collect::<Vec<_>>();
        let early = tokio::spawn(heard(0));
        job.tell(failed.clone());
        job.tell(JobEvent::Progress(progress));
        job.tell(ended.clone());
        let expected = vec![failed, JobEvent::Progress(progress), ended];
        assert_eq!(heard(0).await, expected);
        assert_eq!(heard(1).await, expected[1..]);
        assert_eq!(heard(2).await, []);
        // They are read from its file: ended jobs are many.
        assert!(matches!(job.history().told, Told::Filed(2)));
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
        assert!(handle.is_done(&"a/b".parse().unwrap()));
        handle.tell(JobEvent::Ended { state: JobState::Failed, error: "no".into() });
        let later = self::jobs(folder.path());
        assert!(later.unfinished().is_empty());
        let ended = later.get(id).unwrap();
        assert!(matches!(ended.history().told, Told::Filed(2)));
        assert_eq!(ended.watch(0).unwrap().map(Result::unwrap).collect::<Vec<_>>().await[..1], told);
        // Ids go on where they were.
        assert_eq!(jobs.open(spec(), &job()).unwrap().id, JobId(id.0 + 1));
    }

    #[test]
    fn ended_jobs_are_small_and_not_kept_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path(), false).unwrap();
        for number in 0..MOST_ENDED as u64 + 3 {
            let log = journal.create(JobId(number), &spec(), &job()).unwrap();
            log.append(&JobEvent::Ended { state: JobState::Done, error: String::new() });
            log.close();
        }
        let jobs = Jobs::restore(journal).unwrap().list();
        assert_eq!((jobs.len(), jobs[0].id), (MOST_ENDED, JobId(3)));
        assert_eq!(std::fs::read_dir(folder.path().join("jobs")).unwrap().count(), MOST_ENDED);
    }
}
