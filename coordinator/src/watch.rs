//! Who watches a job: what was told before, then what comes, until the end.

use std::{collections::VecDeque, sync::Arc};

use futures::{Stream, stream};
use lode_domain::event::{JobEvent, Progress};
use lode_proto::Fault;
use tokio::sync::watch::Receiver;

use crate::job::{JobHandle, Next};

/// One of them.
struct Watcher {
    job: Arc<JobHandle>,
    moved: Receiver<()>,
    /// Events that were told, progress not counted.
    told: usize,
    progress: Progress,
    /// What is left of a job that has ended, read from its file.
    filed: VecDeque<JobEvent>,
}

/// The events of `job` from number `after` on; `moved` changes with each.
pub(crate) fn events(
    job: Arc<JobHandle>,
    moved: Receiver<()>,
    after: usize,
) -> impl Stream<Item = Result<JobEvent, Fault>> + Send + use<> {
    let watcher = Watcher { job, moved, told: after, progress: Progress::default(), filed: VecDeque::new() };
    stream::try_unfold(watcher, async |mut watcher| Ok(watcher.next().await?.map(|event| (event, watcher))))
}

impl Watcher {
    async fn next(&mut self) -> Result<Option<JobEvent>, Fault> {
        loop {
            if let Some(event) = self.next_filed() {
                return Ok(Some(event));
            }
            // Seen before looking, so that an event between looking and waiting is not missed.
            self.moved.borrow_and_update();
            match self.job.next(self.told, self.progress) {
                Next::Event(event) => {
                    self.told += 1;
                    return Ok(Some(event));
                }
                Next::Progress(progress) => {
                    self.progress = progress;
                    return Ok(Some(JobEvent::Progress(progress)));
                }
                Next::Filed => self.filed = self.read().await?,
                Next::Wait if self.moved.changed().await.is_err() => return Ok(None),
                Next::Wait => {}
                Next::End => return Ok(None),
            }
        }
    }

    /// The last progress belongs before the end.
    fn next_filed(&mut self) -> Option<JobEvent> {
        let last = self.job.status().progress;
        if matches!(self.filed.front()?, JobEvent::Ended { .. }) && last != self.progress {
            self.progress = last;
            return Some(JobEvent::Progress(last));
        }
        self.told += 1;
        self.filed.pop_front()
    }

    async fn read(&self) -> Result<VecDeque<JobEvent>, Fault> {
        let (job, told) = (self.job.clone(), self.told);
        let read = tokio::task::spawn_blocking(move || job.filed(told)).await;
        let events = read.map_err(|error| Fault::internal(format!("reading the job's events failed: {error}")))??;
        if events.is_empty() {
            return Err(Fault::data_loss(format!("the record of {} is shorter than it was", self.job.id)));
        }
        Ok(events.into())
    }
}
