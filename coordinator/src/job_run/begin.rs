//! How a job begins, or goes on after a restart: what is left of it, who is there, and what is laid out on the board.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use lode_domain::{concept::ConceptId, event::JobEvent, id::ShardId, job::Job};
use lode_proto::Fault;
use tokio::{sync::watch, task::JoinSet};

use super::{JobRun, State};
use crate::{
    board::{Board, Task, Work},
    commit::{strict_error, strict_findings},
    planning::{Outline, outline},
    split::SplitState,
};

impl JobRun {
    /// What is left to mine: after a restart, not what was settled before it; under `--strict`, not what is refused.
    pub(super) fn remaining(&self, job: &Job) -> Option<Job> {
        let mut kept = Vec::new();
        for (number, concept) in (0..).zip(&job.concepts) {
            if self.handle.is_done(&concept.id) {
                continue;
            }
            let findings = if self.handle.spec.strict { strict_findings(job, concept) } else { Vec::new() };
            if findings.is_empty() {
                kept.push(number);
            } else if self.handle.claim(&concept.id) {
                let error = strict_error(&findings);
                self.handle.tell(JobEvent::ConceptFailed { concept: concept.id.clone(), error });
            }
        }
        (!kept.is_empty()).then(|| job.part(&kept))
    }

    /// Waits for a worker, plans, and goes on with a split that was under way; `None` if the job was stopped meanwhile.
    pub(super) async fn divide(&self, whole: &Arc<Job>, job: Arc<Job>) -> Result<Option<State>, Fault> {
        let registry = &self.coordinator.registry;
        let mut changes = registry.changes();
        let begun = Instant::now();
        loop {
            changes.borrow_and_update();
            let Some(worker) = registry.with_model(self.model).into_iter().next() else {
                if !self.wait_for_workers(&mut changes, begun).await? {
                    return Ok(None);
                }
                continue;
            };
            match self.lay_out(whole, &job, &worker.card.precision).await {
                // The last worker left while the job was planned: the next one will do.
                Err(_) if registry.with_model(self.model).is_empty() => {}
                laid_out => return laid_out,
            }
        }
    }

    /// Everything that the loop begins with; `None` if the job was stopped meanwhile.
    async fn lay_out(&self, whole: &Arc<Job>, job: &Arc<Job>, precision: &str) -> Result<Option<State>, Fault> {
        let registry = &self.coordinator.registry;
        let split = self.resume_split(whole.clone(), job.clone(), precision.to_owned()).await?;
        let rest = match &split {
            None => Some(job.clone()),
            Some(split) => without(job, &split.table).map(Arc::new),
        };
        let (board, attempts, ends) = (Board::default(), BTreeMap::new(), JoinSet::new());
        let (job, precision) = (job.clone(), precision.to_owned());
        let mut state = State { job, precision, board, split, attempts, next_attempt: 0, ends, best_pace: 0.0 };
        if let Some(rest) = rest {
            let has_split = state.split.is_some();
            let planned =
                outline(registry, &self.coordinator.data_dir, &self.handle.spec, self.model, &rest, has_split);
            // Workers that are slow to answer must not hold up a coordinator that is asked to stop.
            let planned = self.coordinator.suspend.run_until_cancelled(planned);
            let Some(Some(outline)) = self.stop.run_until_cancelled(planned).await else { return Ok(None) };
            let outline = outline?;
            self.handle.tell(JobEvent::Planned(outline.planned(&rest)));
            self.put_on_board(&mut state, &rest, &outline)?;
        } else if let Some(split) = &state.split {
            let workers = registry.with_model(self.model).len() as u32;
            self.handle.tell(JobEvent::Planned(split.planned(workers)));
        }
        if let Some(split) = &state.split {
            split.tasks().for_each(|(shard, task)| state.board.add(shard, task));
        }
        self.merge_if_whole(&mut state);
        Ok(Some(state))
    }

    /// The split that was under way before a restart, if any. Reads its ranges, which may be large.
    async fn resume_split(
        &self,
        whole: Arc<Job>,
        job: Arc<Job>,
        precision: String,
    ) -> Result<Option<SplitState>, Fault> {
        let spool = self.spool.clone();
        let resumed = tokio::task::spawn_blocking(move || {
            spool.read().and_then(|record| SplitState::resume(record, &whole, &job, &spool, &precision))
        });
        resumed.await.map_err(|error| Fault::internal(format!("reading partial summaries failed: {error}")))
    }

    /// Puts a plan's shards onto the board and begins its split.
    fn put_on_board(&self, state: &mut State, rest: &Job, outline: &Outline) -> Result<(), Fault> {
        let url = |place: u32| outline.workers.get(place as usize).map(|worker| worker.card.url.clone());
        for (number, shard) in (0..).zip(&outline.division.shards) {
            let concepts = shard.concepts.iter().map(|&concept| rest.concepts[concept as usize].id.clone()).collect();
            let task = Task::new(Work::Concepts(concepts), shard.tokens, url(shard.worker));
            state.board.add(ShardId(number), task.of(shard.sentences.len() as u64));
        }
        let Some((record, split)) = outline.split_record(rest).zip(outline.division.split.as_ref()) else {
            return Ok(());
        };
        self.spool.begin(&record)?;
        let preferred = split.preferred.iter().map(|holder| holder.and_then(url)).collect();
        let tokens = split.ranges.iter().map(|range| range.tokens).collect();
        state.split = SplitState::begin(record, rest, tokens, preferred);
        Ok(())
    }

    /// Waits until workers come or go; false if the job was stopped.
    ///
    /// # Errors
    /// If none was there for too long.
    async fn wait_for_workers(&self, changes: &mut watch::Receiver<u64>, since: Instant) -> Result<bool, Fault> {
        let patience = self.coordinator.timing.patience;
        tokio::select! {
            () = self.handle.cancel.cancelled() => Ok(false),
            () = self.coordinator.suspend.cancelled() => Ok(false),
            _ = changes.changed() => Ok(true),
            () = tokio::time::sleep(patience.saturating_sub(since.elapsed())) => Err(self.out_of_patience()),
        }
    }
}

/// The place of a concept in a job.
pub(crate) fn number_of(job: &Job, concept: &ConceptId) -> Option<u32> {
    job.concepts.binary_search_by(|known| known.id.cmp(concept)).ok().map(|number| number as u32)
}

/// The job without the concepts of `table`; `None` if nothing is left.
fn without(job: &Job, table: &Job) -> Option<Job> {
    let is_other = |concept: &u32| number_of(table, &job.concepts[*concept as usize].id).is_none();
    let others: Vec<u32> = (0..job.concepts.len() as u32).filter(is_other).collect();
    (!others.is_empty()).then(|| job.part(&others))
}
