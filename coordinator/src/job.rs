//! Jobs as the coordinator remembers them: what was asked, what has happened, who watches.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::Stream;
use lode_domain::{
    event::{JobEvent, JobSpec, JobState, JobStatus, Progress},
    id::JobId,
};
use lode_proto::Fault;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{fault, metrics};

/// One job.
pub(crate) struct JobHandle {
    pub(crate) id: JobId,
    pub(crate) spec: JobSpec,
    pub(crate) cancel: CancellationToken,
    history: Mutex<History>,
    /// Moves with every event.
    moved: watch::Sender<()>,
}

struct History {
    status: JobStatus,
    /// Everything but progress, of which only the latest counts.
    events: Vec<JobEvent>,
}

impl JobHandle {
    /// Notes an event and wakes whoever watches.
    pub(crate) fn tell(&self, event: JobEvent) {
        metrics::count_event(&event);
        let mut history = self.history();
        match &event {
            JobEvent::Progress(progress) => history.status.progress = *progress,
            JobEvent::ConceptIndexed(_) => history.status.indexed += 1,
            JobEvent::ConceptFailed { .. } => history.status.failed += 1,
            JobEvent::Ended { state, error } => {
                history.status.state = *state;
                history.status.error.clone_from(error);
            }
            JobEvent::Planned(_) | JobEvent::ShardRetried { .. } => {}
        }
        if !matches!(event, JobEvent::Progress(_)) {
            history.events.push(event);
        }
        drop(history);
        self.moved.send_replace(());
    }

    /// The job as it stands.
    pub(crate) fn status(&self) -> JobStatus {
        self.history().status.clone()
    }

    /// Everything from the beginning, then what comes, until the job has ended.
    pub(crate) fn watch(self: Arc<Self>) -> impl Stream<Item = JobEvent> + Send {
        let moved = self.moved.subscribe();
        let state = (self, moved, 0usize, Progress::default());
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
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All jobs since the coordinator started.
#[derive(Default)]
pub(crate) struct Jobs {
    jobs: Mutex<BTreeMap<JobId, Arc<JobHandle>>>,
}

impl Jobs {
    /// Opens a job over `concepts` concepts.
    pub(crate) fn open(&self, spec: JobSpec, concepts: u32) -> Arc<JobHandle> {
        let mut jobs = self.jobs();
        let id = JobId(jobs.last_key_value().map_or(1, |(last, _)| last.0 + 1));
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
        let handle = Arc::new(JobHandle {
            id,
            spec,
            cancel: CancellationToken::new(),
            history: Mutex::new(History { status, events: Vec::new() }),
            moved: watch::Sender::new(()),
        });
        jobs.insert(id, handle.clone());
        handle
    }

    /// A job by id.
    pub(crate) fn get(&self, id: JobId) -> Result<Arc<JobHandle>, Fault> {
        self.jobs().get(&id).cloned().ok_or_else(|| fault::unknown_job(id))
    }

    /// All jobs, by id.
    pub(crate) fn list(&self) -> Vec<JobStatus> {
        self.jobs().values().map(|job| job.status()).collect()
    }

    /// Stops a running job.
    pub(crate) fn cancel(&self, id: JobId) -> Result<JobState, Fault> {
        let job = self.get(id)?;
        match job.status().state {
            JobState::Running => {
                job.cancel.cancel();
                Ok(JobState::Cancelled)
            }
            state => Err(fault::ended_job(id, state)),
        }
    }

    /// Stops all running jobs.
    pub(crate) fn cancel_all(&self) {
        self.jobs().values().for_each(|job| job.cancel.cancel());
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<JobId, Arc<JobHandle>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt as _;

    use super::*;

    fn spec() -> JobSpec {
        let recipe = lode_domain::expertise::Recipe::default();
        JobSpec { model: "demo".parse().unwrap(), recipe, limit_per_class: 1000, seed: 0, strict: false }
    }

    #[tokio::test]
    async fn a_late_watcher_hears_everything_once() {
        let jobs = Jobs::default();
        let job = jobs.open(spec(), 1);
        let failed = JobEvent::ConceptFailed { concept: "a/b".parse().unwrap(), error: "no".into() };
        let progress = Progress { tokens_done: 5, ..Progress::default() };
        let ended = JobEvent::Ended { state: JobState::Failed, error: "no".into() };
        let early = tokio::spawn(job.clone().watch().collect::<Vec<_>>());
        job.tell(failed.clone());
        job.tell(JobEvent::Progress(progress));
        job.tell(ended.clone());
        let expected = vec![failed, JobEvent::Progress(progress), ended];
        assert_eq!(job.clone().watch().collect::<Vec<_>>().await, expected);
        assert_eq!(early.await.unwrap().last(), expected.last());
        assert_eq!((job.status().failed, job.status().state), (1, JobState::Failed));
        assert!(jobs.cancel(job.id).unwrap_err().message.contains("failed already"));
        assert!(jobs.get(JobId(9)).is_err());
    }
}
