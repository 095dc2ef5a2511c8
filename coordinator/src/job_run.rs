//! The job loop: shards wait in a queue, idle workers take them, broken ones go back into the queue.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use lode_domain::{
    cluster::ShardSpec,
    event::{JobEvent, JobState, Planned, Progress},
    id::{ModelHash, ShardId, WorkerId},
    job::Job,
    plan::plan,
};
use lode_proto::{Fault, trace::carried};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    Coordinator,
    intake::{Intake, Taken, strict_error, strict_findings},
    job::JobHandle,
    metrics::{self, ShardOutcome},
    registry::Member,
};

/// How often a shard is tried before its concepts fail.
const ATTEMPTS: u32 = 3;
/// How long a job without any worker waits for one.
const PATIENCE: Duration = Duration::from_secs(30);
/// Events between a worker's stream and the index; a full channel slows the worker down.
const IN_FLIGHT: usize = 16;

/// A shard that waits or runs.
struct Task {
    shard: ShardId,
    job: Arc<Job>,
    attempts: u32,
}

/// A shard's run that has ended.
struct Ended {
    worker: Arc<Member>,
    task: Task,
    taken: Taken,
    /// Why the stream broke off, if it did.
    broken: Option<Fault>,
}

/// Mines a job to its end; everything that happens is told to `handle`.
#[tracing::instrument(name = "job", skip_all, fields(job = %handle.id))]
pub(crate) async fn run(coordinator: Arc<Coordinator>, handle: Arc<JobHandle>, job: Job, model: ModelHash) {
    let stop = handle.cancel.child_token();
    let run = JobRun { coordinator, handle: handle.clone(), model, progress: Arc::default(), stop };
    let error = match run.mine(job).await {
        Ok(()) => String::new(),
        Err(fault) => fault.message,
    };
    let status = handle.status();
    let state = if handle.cancel.is_cancelled() {
        JobState::Cancelled
    } else if error.is_empty() && status.failed == 0 {
        JobState::Done
    } else {
        JobState::Failed
    };
    let error = match state {
        JobState::Failed if error.is_empty() => {
            format!("{} of {} concepts could not be mined", status.failed, status.concepts)
        }
        JobState::Failed => error,
        _ => String::new(),
    };
    tracing::info!(%state, indexed = status.indexed, failed = status.failed, error, "job ended");
    handle.tell(JobEvent::Ended { state, error });
}

struct JobRun {
    coordinator: Arc<Coordinator>,
    handle: Arc<JobHandle>,
    model: ModelHash,
    /// The latest of every shard.
    progress: Arc<Mutex<BTreeMap<ShardId, Progress>>>,
    /// Ends the shards' streams: when the job is cancelled, and when it cannot go on.
    stop: CancellationToken,
}

impl JobRun {
    async fn mine(&self, job: Job) -> Result<(), Fault> {
        let Some(job) = self.refuse_strict(job) else { return Ok(()) };
        let queue = self.divide(&job)?;
        let mut running: JoinSet<Ended> = JoinSet::new();
        let mined = self.work_off(queue, &mut running).await;
        // What still runs ends at once; a concept that is being committed is told before the job's end.
        self.stop.cancel();
        while running.join_next().await.is_some() {}
        mined
    }

    async fn work_off(&self, mut queue: VecDeque<Task>, running: &mut JoinSet<Ended>) -> Result<(), Fault> {
        let mut busy: Vec<WorkerId> = Vec::new();
        // Addresses on which a shard broke off: they get another one only if nobody else is there.
        let mut suspects: BTreeSet<String> = BTreeSet::new();
        let mut changes = self.coordinator.registry.changes();
        loop {
            changes.borrow_and_update();
            let mut workers = self.coordinator.registry.with_model(self.model);
            if workers.iter().any(|worker| !suspects.contains(&worker.card.url)) {
                workers.retain(|worker| !suspects.contains(&worker.card.url));
            }
            for worker in workers {
                if !busy.contains(&worker.id)
                    && let Some(task) = queue.pop_front()
                {
                    busy.push(worker.id);
                    running.spawn(self.start(worker, task));
                }
            }
            if running.is_empty() && queue.is_empty() {
                return Ok(());
            }
            tokio::select! {
                // A shard that ends because the job was cancelled has not failed.
                biased;
                () = self.handle.cancel.cancelled() => return Ok(()),
                Some(ended) = running.join_next() => {
                    let ended = ended.map_err(|error| Fault::internal(format!("a shard's task failed: {error}")))?;
                    busy.retain(|worker| *worker != ended.worker.id);
                    if ended.broken.is_some() {
                        suspects.insert(ended.worker.card.url.clone());
                    }
                    self.settle(ended, &mut queue)?;
                }
                _ = changes.changed() => {}
                () = tokio::time::sleep(PATIENCE), if running.is_empty() => {
                    let waited = PATIENCE.as_secs();
                    let model = &self.handle.spec.model;
                    return Err(Fault::unavailable(format!(
                        "no worker with model `{model}` for {waited} s: start one and mine again (what was indexed stays)"
                    )));
                }
            }
        }
    }

    /// Under `--strict` fails the concepts whose sentences are refused, before anything runs.
    fn refuse_strict(&self, job: Job) -> Option<Job> {
        if !self.handle.spec.strict {
            return Some(job);
        }
        let mut kept = Vec::new();
        for (number, concept) in (0..).zip(&job.concepts) {
            let findings = strict_findings(&job, concept);
            if findings.is_empty() {
                kept.push(number);
            } else {
                let error = strict_error(&findings);
                self.handle.tell(JobEvent::ConceptFailed { concept: concept.id.clone(), error });
            }
        }
        (!kept.is_empty()).then(|| job.part(&kept))
    }

    /// Plans shards over the workers that are there.
    fn divide(&self, job: &Job) -> Result<VecDeque<Task>, Fault> {
        let workers = self.coordinator.registry.with_model(self.model).len().max(1);
        // The tokenizer is on the workers; bytes are proportional enough to tokens to balance by.
        let weights: Vec<u32> = job.sentences.iter().map(|text| 1 + text.len() as u32 / 4).collect();
        let plan = plan(job, &weights, &vec![1.0; workers]).map_err(Fault::internal)?;
        let listed = job.concepts.iter().map(|c| (c.positive.len() + c.negative.len()) as u64).sum();
        self.handle.tell(JobEvent::Planned(Planned {
            shards: plan.shards.len() as u32,
            concepts: job.concepts.len() as u32,
            distinct_sentences: plan.cost.run_sentences as u32,
            listed_sentences: listed,
            workers: workers as u32,
        }));
        let task = |(number, concepts): (u64, Vec<u32>)| Task {
            shard: ShardId(number),
            job: Arc::new(job.part(&concepts)),
            attempts: 0,
        };
        Ok((0..).zip(plan.shards.into_iter().map(|shard| shard.concepts)).map(task).collect())
    }

    /// Runs one shard on one worker.
    fn start(&self, worker: Arc<Member>, task: Task) -> impl Future<Output = Ended> + Send + use<> {
        let intake = Intake {
            index: self.coordinator.index.clone(),
            job: self.handle.clone(),
            model: self.model,
            precision: worker.card.precision.clone(),
            shard: task.job.clone(),
        };
        let spec =
            ShardSpec { job: self.handle.id, shard: task.shard, model: self.model, recipe: self.handle.spec.recipe };
        let (handle, progress, shard) = (self.handle.clone(), self.progress.clone(), task.shard);
        let stop = self.stop.clone();
        // A worker's count starts again with every run of a shard.
        let counted = Cell::new(0);
        let tell_progress = move |now: Progress| {
            metrics::TOKENS_MINED.add(now.tokens_done.saturating_sub(counted.replace(now.tokens_done)));
            let mut shards = progress.lock().unwrap_or_else(PoisonError::into_inner);
            shards.insert(shard, now);
            let mut sum = Progress::default();
            shards.values().for_each(|one| sum += *one);
            drop(shards);
            handle.tell(JobEvent::Progress(sum));
        };
        // Made here, inside the job's span; a task that is spawned does not inherit it.
        let span = tracing::info_span!("shard", %shard, worker = %worker.id);
        let work = async move {
            let (sender, receiver) = mpsc::channel(IN_FLIGHT);
            let intake = tokio::task::spawn_blocking(move || intake.run(receiver, tell_progress));
            let streamed = async {
                let mut events = worker.client.mine(spec, (*task.job).clone()).await?;
                while let Some(event) = events.next().await {
                    // A closed channel means that the intake failed; its fault is the one that counts.
                    if sender.send(event?).await.is_err() {
                        break;
                    }
                }
                Ok::<_, Fault>(())
            };
            // A dropped stream tells the worker.
            let broken = match stop.run_until_cancelled(streamed).await {
                Some(streamed) => streamed.err(),
                None => Some(Fault::cancelled("the job ended")),
            };
            drop(sender);
            let taken = intake.await.unwrap_or_else(|error| Taken {
                fault: Some(Fault::internal(format!("the index thread failed: {error}"))),
                ..Taken::default()
            });
            let broken = broken.map(|fault| worker.fault(fault));
            Ended { worker, task, taken, broken }
        };
        carried(work.instrument(span))
    }

    /// Puts what a shard left undone back into the queue, or fails it.
    fn settle(&self, ended: Ended, queue: &mut VecDeque<Task>) -> Result<(), Fault> {
        if self.stop.is_cancelled() {
            return Ok(());
        }
        let Ended { worker, task, taken, broken } = ended;
        if let Some(fault) = taken.fault {
            // The index cannot take what workers send: trying elsewhere would not help.
            ShardOutcome::Failed.count();
            return Err(fault);
        }
        let left: Vec<u32> =
            (0..task.job.concepts.len() as u32).filter(|place| !taken.settled.contains(place)).collect();
        if left.is_empty() {
            ShardOutcome::Done.count();
            return Ok(());
        }
        let early = || worker.fault(Fault::internal("it ended the stream early"));
        let fault = broken.unwrap_or_else(early);
        let shard = task.shard;
        tracing::warn!(%shard, %fault, left = left.len(), "shard broke off");
        if fault.is_retryable() {
            self.coordinator.registry.remove(worker.id, "its shard's stream broke off");
        }
        let rest = task.job.part(&left);
        if fault.is_retryable() && task.attempts + 1 < ATTEMPTS {
            ShardOutcome::Retried.count();
            self.handle.tell(JobEvent::ShardRetried { shard, error: fault.message });
            queue.push_back(Task { shard, job: Arc::new(rest), attempts: task.attempts + 1 });
        } else {
            ShardOutcome::Failed.count();
            for concept in rest.concepts {
                let error = fault.message.clone();
                self.handle.tell(JobEvent::ConceptFailed { concept: concept.id, error });
            }
        }
        Ok(())
    }
}
