//! The job loop: shards wait on a board, free workers take them, broken ones go back, slow ones run a second time, and the
//! first result counts.

mod begin;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use lode_domain::{
    cluster::{ShardSpec, Summaries},
    concept::ConceptId,
    event::{JobEvent, JobState},
    id::{ModelHash, ShardId},
    job::Job,
};
use lode_proto::{Fault, FaultKind, trace::carried};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

pub(crate) use self::begin::number_of;
use crate::{
    Coordinator,
    attempt::{self, Ended, Goal},
    board::{Board, Fate, Mishap, Task, Work},
    commit::Committer,
    intake::{ConceptIntake, IntakeError},
    job::JobHandle,
    member::Member,
    merge::merge,
    meter::{Load, Meter},
    metrics::{self, ShardOutcome},
    registry::Occupied,
    split::SplitState,
    spool::{RangeFile, Spool},
    tally::Tally,
};

/// How often the loop looks for shards whose time has come, that are overdue, or that a free worker would do sooner.
const TICK: Duration = Duration::from_millis(200);
/// A second attempt begins where the first should take this many times as long as a fresh one...
const SLOWNESS: u32 = 2;
/// ...and this much more.
const SLACK: Duration = Duration::from_secs(2);

/// Values that are sent of a unit and concept: its AP and what goes with it.
const UNIT_VALUES: u64 = 5;

/// Mines a job on a task of its own; even if that should panic, the job ends.
pub(crate) fn launch(coordinator: Arc<Coordinator>, handle: Arc<JobHandle>, model: ModelHash) {
    let tasks = coordinator.job_tasks.clone();
    let mining = tasks.spawn(carried(run(coordinator.clone(), handle.clone(), model)));
    tasks.spawn(async move {
        if let Err(error) = mining.await
            && error.is_panic()
        {
            coordinator.registry.turns.leave(handle.id);
            coordinator.registry.stir();
            let error = "the job's task broke down; see the coordinator's log".to_owned();
            handle.tell(JobEvent::Ended { state: JobState::Failed, error });
        }
    });
}

/// Mines a job to its end; everything that happens is told to `handle`. If the coordinator stops before, the job stays
/// unfinished, and a coordinator that starts again goes on with it.
#[tracing::instrument(name = "job", skip_all, fields(job = %handle.id))]
async fn run(coordinator: Arc<Coordinator>, handle: Arc<JobHandle>, model: ModelHash) {
    coordinator.registry.turns.join(handle.id, model);
    let spool = Spool::new(&coordinator.data_dir, handle.id);
    let suspended = coordinator.suspend.clone();
    let run = JobRun {
        tally: Arc::new(Tally::new(handle.clone())),
        stop: handle.cancel.child_token(),
        coordinator: coordinator.clone(),
        handle: handle.clone(),
        model,
        spool: spool.clone(),
    };
    let mined = run.mine().await;
    run.leave();
    if suspended.is_cancelled() && !handle.cancel.is_cancelled() {
        return tracing::info!("job interrupted; it goes on when the coordinator does");
    }
    let status = handle.status();
    let (state, error) = match mined {
        _ if handle.cancel.is_cancelled() => (JobState::Cancelled, String::new()),
        Err(fault) => (JobState::Failed, fault.message),
        Ok(()) if status.failed == 0 && status.indexed == status.concepts => (JobState::Done, String::new()),
        Ok(()) => {
            let missing = status.concepts.saturating_sub(status.indexed);
            let error = format!("{missing} of {} concepts could not be mined", status.concepts);
            (JobState::Failed, error)
        }
    };
    tracing::info!(%state, indexed = status.indexed, failed = status.failed, error, "job ended");
    spool.remove();
    handle.tell(JobEvent::Ended { state, error });
}

struct JobRun {
    coordinator: Arc<Coordinator>,
    handle: Arc<JobHandle>,
    model: ModelHash,
    tally: Arc<Tally>,
    spool: Spool,
    /// Ends the shards' streams: when the job is cancelled, and when it cannot go on.
    stop: CancellationToken,
}

/// What has ended.
enum End {
    Attempt(Box<Ended>),
    Merge(Result<(), Fault>),
}

/// The loop's state.
struct State {
    job: Arc<Job>,
    /// Float type that its workers compute in.
    precision: String,
    board: Board,
    split: Option<SplitState>,
    attempts: BTreeMap<u64, Running>,
    next_attempt: u64,
    ends: JoinSet<End>,
    /// Values per second that the fastest of the job's workers has sent, 0 until one has.
    best_pace: f64,
}

/// An attempt under way.
struct Running {
    shard: ShardId,
    worker: Arc<Member>,
    meter: Arc<Meter>,
    stop: CancellationToken,
    /// Why it was stopped, if it was for the worker's sake.
    verdict: Option<Fault>,
}

impl JobRun {
    async fn mine(&self) -> Result<(), Fault> {
        let handle = self.handle.clone();
        let job = tokio::task::spawn_blocking(move || handle.content()).await;
        let job = job.map_err(|error| Fault::internal(format!("reading the job failed: {error}")))?;
        let whole = Arc::new(job.map_err(Fault::data_loss)?);
        let Some(job) = self.remaining(&whole) else { return Ok(()) };
        let Some(mut state) = self.divide(&whole, Arc::new(job)).await? else { return Ok(()) };
        let mined = self.work_off(&mut state).await;
        // What still runs ends at once; a concept that is being committed is told before the job's end.
        self.stop.cancel();
        self.leave();
        while state.ends.join_next().await.is_some() {}
        self.handle.set_waiting(0);
        mined
    }

    /// Is in no other job's way any more.
    fn leave(&self) {
        self.coordinator.registry.turns.leave(self.handle.id);
        self.coordinator.registry.stir();
    }

    /// The workers that this job may use: its results must not come from two precisions.
    fn workers(&self, state: &State) -> Vec<Arc<Member>> {
        let mut workers = self.coordinator.registry.with_model(self.model);
        workers.retain(|worker| worker.card.precision == state.precision);
        workers
    }

    async fn work_off(&self, state: &mut State) -> Result<(), Fault> {
        let registry = &self.coordinator.registry;
        let mut changes = registry.changes();
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let patience = self.coordinator.timing.patience;
        let mut idle_since = Instant::now();
        loop {
            changes.borrow_and_update();
            self.hand_out(state)?;
            self.handle.set_waiting(state.board.waiting());
            if state.board.is_empty() && state.ends.is_empty() {
                return Ok(());
            }
            if !state.ends.is_empty() || !self.workers(state).is_empty() {
                idle_since = Instant::now();
            }
            tokio::select! {
                // A shard that ends because the job was stopped has not failed.
                biased;
                () = self.handle.cancel.cancelled() => return Ok(()),
                () = self.coordinator.suspend.cancelled() => return Ok(()),
                Some(end) = state.ends.join_next() => {
                    match end.map_err(|error| Fault::internal(format!("a shard's task failed: {error}")))? {
                        End::Attempt(ended) => self.settle(*ended, state)?,
                        End::Merge(merged) => merged?,
                    }
                }
                _ = changes.changed() => {}
                _ = ticks.tick() => self.look_after(state),
                () = tokio::time::sleep_until((idle_since + patience).into()) => return Err(self.out_of_patience()),
            }
        }
    }

    fn out_of_patience(&self) -> Fault {
        let (model, waited) = (&self.handle.spec.model, self.coordinator.timing.patience.as_secs());
        Fault::unavailable(format!(
            "no worker with model `{model}` for {waited} s: start one and mine again (what was indexed stays)"
        ))
    }

    /// Gives waiting shards to free workers whose turn is this job's.
    fn hand_out(&self, state: &mut State) -> Result<(), Fault> {
        let registry = &self.coordinator.registry;
        let mut workers = self.workers(state);
        // Who has nothing to do comes before who has yet to deliver.
        workers.sort_by_key(|worker| !worker.is_idle());
        let present: Vec<String> = workers.iter().map(|worker| worker.card.url.clone()).collect();
        let fitting = |state: &State, worker: &Arc<Member>| {
            let shard = state.board.pick(&worker.card.url, &present, Instant::now())?;
            let sentences = state.board.get(shard)?.sentences;
            worker.can_run(sentences).then_some((shard, sentences))
        };
        // Who could not use a free worker must not keep others off it.
        let could_use = |state: &State| workers.iter().any(|worker| fitting(state, worker).is_some());
        registry.turns.wait(self.handle.id, could_use(state));
        for worker in &workers {
            if !registry.turns.is_next(self.handle.id) {
                continue;
            }
            let Some((shard, sentences)) = fitting(state, worker) else { continue };
            if let Some(occupied) = registry.occupy(worker, self.handle.id, sentences) {
                self.start(state, shard, occupied)?;
            }
        }
        registry.turns.wait(self.handle.id, could_use(state));
        Ok(())
    }

    /// Starts an attempt.
    fn start(&self, state: &mut State, shard: ShardId, occupied: Occupied) -> Result<(), Fault> {
        let Some(task) = state.board.get(shard) else { return Ok(()) };
        let attempt = state.next_attempt;
        state.next_attempt += 1;
        let worker = occupied.worker.clone();
        let (table, goal) = match &task.work {
            Work::Concepts(concepts) => {
                let is_left = |concept: &&u32| !self.handle.is_done(&state.job.concepts[**concept as usize].id);
                let numbers: Vec<u32> = concepts.iter().filter_map(|id| number_of(&state.job, id)).collect();
                let mut left: Vec<u32> = numbers.iter().filter(is_left).copied().collect();
                // In the order that they have in the shard.
                left.sort_unstable();
                let shard = state.job.part(&left);
                let committer = self.committer(&worker.card.precision);
                (shard, Goal::Concepts(ConceptIntake { committer, job: state.job.clone(), numbers: left }))
            }
            Work::Range(number) => {
                let split = state.split.as_ref().ok_or_else(|| Fault::internal("a range without a split"))?;
                let range = split.range(*number);
                let sentences = split.table.sentences[range.start as usize..range.end as usize].to_vec();
                let writer = self.spool.writer(*number, range, worker.card.model.units(), attempt)?;
                (Job { sentences, concepts: Vec::new() }, Goal::Range(Box::new(writer)))
            }
        };
        let units = u64::from(worker.card.model.units());
        let (summaries, load) = match goal {
            Goal::Concepts(_) => {
                (Summaries::Finished, Load { units: units * table.concepts.len() as u64, values: UNIT_VALUES })
            }
            Goal::Range(_) => (Summaries::Partial, Load { units, values: table.sentences.len() as u64 }),
        };
        let (job, recipe, measures) = (self.handle.id, self.handle.spec.recipe, self.handle.spec.measures);
        let spec = ShardSpec { job, shard, model: self.model, recipe, summaries, measures };
        let (meter, stop) = (Arc::new(Meter::new(self.tally.clone(), shard, load)), self.stop.child_token());
        // Made here, inside the job's span; a task that is spawned does not inherit it.
        let span = tracing::info_span!("shard", %shard, worker = %worker.id);
        let run = attempt::run(attempt, spec, table, goal, occupied, meter.clone(), stop.clone());
        state.ends.spawn(carried(async { End::Attempt(Box::new(run.await)) }.instrument(span)));
        state.board.begin(shard);
        state.attempts.insert(attempt, Running { shard, worker, meter, stop, verdict: None });
        Ok(())
    }

    fn committer(&self, precision: &str) -> Committer {
        Committer {
            index: self.coordinator.index.clone(),
            job: self.handle.clone(),
            model: self.model,
            precision: precision.to_owned(),
        }
    }

    /// Notes what an attempt brought; puts what it left undone back, or sets it aside.
    fn settle(&self, ended: Ended, state: &mut State) -> Result<(), Fault> {
        let Ended { attempt, shard, occupied, taken, broken } = ended;
        drop(occupied);
        let Some(running) = state.attempts.remove(&attempt) else { return Ok(()) };
        let worker = running.worker.clone();
        if state.board.get(shard).is_none() {
            // Another attempt was first; what became of this one does not matter.
            return Ok(());
        }
        let own_fault = match taken {
            Ok(Some(range)) => {
                self.keep_range(state, shard, range);
                None
            }
            Ok(None) => None,
            // The other attempt may still bring it; if not, its end says why.
            Err(IntakeError::Own(fault)) if state.board.runs_twice(shard) => {
                tracing::warn!(%shard, %fault, "one of two attempts could not be taken; the other one goes on");
                state.board.break_off(shard, &worker.card.url, Mishap::HandedBack, Instant::now());
                return Ok(());
            }
            // The coordinator cannot take what workers send: trying elsewhere would not help.
            Err(IntakeError::Own(fault)) => {
                ShardOutcome::Failed.count();
                return Err(fault);
            }
            Err(IntakeError::Worker(fault)) => Some(worker.fault(fault)),
        };
        let Some(work) = state.board.get(shard).map(|task| task.work.clone()) else { return Ok(()) };
        if let Work::Concepts(concepts) = &work {
            // A claim is no commit yet: until it is, the shard stays.
            let left = concepts.iter().filter(|concept| !self.handle.is_done(concept)).count();
            if left == 0 {
                ShardOutcome::Done.count();
                self.finish(state, shard);
                return Ok(());
            }
            if left < concepts.len() {
                state.board.forgive(shard);
            }
            let is_claimed = |concept: &ConceptId| self.handle.is_done(concept) || self.handle.is_claimed(concept);
            let is_through = own_fault.is_none() && running.verdict.is_none() && broken.is_none();
            if is_through && state.board.runs_twice(shard) && concepts.iter().all(is_claimed) {
                // It has brought all, and the other one commits what it was first with.
                state.board.break_off(shard, &worker.card.url, Mishap::HandedBack, Instant::now());
                return Ok(());
            }
        }
        let early = || worker.fault(Fault::internal("it ended the stream early"));
        let fault = own_fault.or(running.verdict).or(broken).unwrap_or_else(early);
        self.break_off(state, shard, &worker, fault);
        Ok(())
    }

    fn keep_range(&self, state: &mut State, shard: ShardId, range: RangeFile) {
        let Some(Work::Range(number)) = state.board.get(shard).map(|task| task.work.clone()) else { return };
        ShardOutcome::Done.count();
        if let Some(split) = &mut state.split {
            split.keep(number, range);
        }
        self.finish(state, shard);
        self.merge_if_whole(state);
    }

    /// A shard is done: whoever else is at it stops.
    fn finish(&self, state: &mut State, shard: ShardId) {
        state.board.finish(shard);
        state.attempts.values().filter(|other| other.shard == shard).for_each(|other| other.stop.cancel());
    }

    fn break_off(&self, state: &mut State, shard: ShardId, worker: &Arc<Member>, fault: Fault) {
        // One that said goodbye hands its shard back; one that is only lost may be back in a moment.
        let mishap = match (fault.kind, worker.said_goodbye()) {
            (_, true) => Mishap::HandedBack,
            (FaultKind::Unavailable, false) => Mishap::Loss,
            _ => Mishap::Failure,
        };
        if mishap == Mishap::Loss {
            self.coordinator.registry.remove(worker.id, "its shard's stream broke off");
        }
        tracing::warn!(%shard, %fault, ?mishap, "shard broke off");
        let work = state.board.get(shard).map(|task| task.work.clone());
        match state.board.break_off(shard, &worker.card.url, mishap, Instant::now()) {
            Fate::RunsOn => return,
            Fate::Waits => {
                ShardOutcome::Retried.count();
                return self.handle.tell(JobEvent::ShardRetried { shard, error: fault.message });
            }
            Fate::SetAside => {}
        }
        ShardOutcome::Failed.count();
        let concepts = match work {
            Some(Work::Concepts(concepts)) => concepts,
            // Without one range, none of the split's concepts can be had.
            Some(Work::Range(_)) => {
                let concepts = state.split.take().map(|split| split.concepts().to_vec()).unwrap_or_default();
                let ranges: Vec<ShardId> = state
                    .board
                    .shards()
                    .filter(|(_, task)| matches!(task.work, Work::Range(_)))
                    .map(|(id, _)| id)
                    .collect();
                ranges.into_iter().for_each(|shard| self.finish(state, shard));
                concepts
            }
            None => Vec::new(),
        };
        for concept in concepts {
            if self.handle.claim(&concept) {
                self.handle.tell(JobEvent::ConceptFailed { concept, error: fault.message.clone() });
            }
        }
    }

    /// Merges the split once all its ranges are there.
    fn merge_if_whole(&self, state: &mut State) {
        let Some(split) = state.split.take_if(|split| split.is_whole()) else { return };
        let (committer, spool, stop) = (self.committer(split.precision()), self.spool.clone(), self.stop.clone());
        let (span, merging) = (tracing::Span::current(), self.coordinator.merging.clone());
        state.ends.spawn(async move {
            let stopped = || Fault::cancelled("the job was stopped before its partial summaries were merged");
            // It closes with the coordinator only.
            let Some(Ok(turn)) = stop.run_until_cancelled(merging.acquire_owned()).await else {
                return End::Merge(Err(stopped()));
            };
            let merged = tokio::task::spawn_blocking(move || {
                let (_in_span, _turn) = (span.entered(), turn);
                let (table, units) = (split.table.clone(), split.units());
                merge(&committer, &table, &split.into_ranges(), units, &stop)?;
                spool.remove();
                Ok(())
            });
            let failed = |error| Err(Fault::internal(format!("the merging thread failed: {error}")));
            End::Merge(merged.await.unwrap_or_else(failed))
        });
    }

    /// Stops attempts that are overdue, and starts a second one where a free worker would be done sooner.
    fn look_after(&self, state: &mut State) {
        let deadline = self.coordinator.timing.shard_deadline;
        let paces = state.attempts.values().filter_map(|running| running.meter.pace());
        state.best_pace = paces.fold(state.best_pace, f64::max);
        for running in state.attempts.values_mut() {
            // One that has said nothing yet may wait for the worker's other shard.
            let other = if running.meter.has_heard() { Duration::MAX } else { running.worker.quiet() };
            if running.meter.silence().min(other) > deadline && running.verdict.is_none() {
                let silent = format!("it sent nothing for {} s", deadline.as_secs());
                running.verdict = Some(running.worker.fault(Fault::unavailable(silent)));
                running.stop.cancel();
            }
        }
        let registry = &self.coordinator.registry;
        let workers = self.workers(state);
        let present: Vec<String> = workers.iter().map(|worker| worker.card.url.clone()).collect();
        for worker in workers {
            let has_other_work = state.board.pick(&worker.card.url, &present, Instant::now()).is_some();
            if !worker.is_idle() || has_other_work || !registry.turns.is_next(self.handle.id) {
                continue;
            }
            let Some(shard) = self.straggler(state, &worker) else { continue };
            let sentences = state.board.get(shard).map_or(0, |task| task.sentences);
            if let Some(occupied) = registry.occupy(&worker, self.handle.id, sentences) {
                tracing::info!(%shard, worker = %worker.id, "a slow shard runs a second time");
                metrics::STRAGGLERS.add(1);
                if let Err(fault) = self.start(state, shard, occupied) {
                    tracing::warn!(%shard, %fault, "the second attempt could not begin");
                }
            }
        }
    }

    /// The shard that would gain most from a second attempt on `worker`.
    fn straggler(&self, state: &State, worker: &Member) -> Option<ShardId> {
        let gain = |(shard, task): (ShardId, &Task)| {
            let running = state.attempts.values().find(|running| running.shard == shard)?;
            if running.worker.id == worker.id {
                return None;
            }
            // What it sends will take as long as it took the fastest.
            let delivery = if state.best_pace > 0.0 { running.meter.delivery_at(state.best_pace) } else { 0.0 };
            let fresh = Duration::from_secs_f64((task.tokens as f64 / worker.speed() + delivery).min(1e6));
            let gain = running.meter.remaining().checked_sub(SLOWNESS * fresh + SLACK)?;
            Some((gain, shard))
        };
        state.board.running_once(&worker.card.url, Instant::now()).filter_map(gain).max().map(|(_, shard)| shard)
    }
}
