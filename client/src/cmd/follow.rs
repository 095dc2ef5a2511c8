//! Following a job: its progress, its end, and what came of it.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use lode_client::{Client, Events, FaultKind};
use lode_domain::{
    concept::ConceptId,
    event::{JobEvent, JobState, Planned, Progress},
    id::JobId,
    query::IndexedConcept,
};

use crate::{
    output::{Cell, Report, Table, note},
    progress::Mining,
};

/// What Ctrl-C means while a job is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interrupt {
    /// Stop the job; a second time, stop waiting for its end.
    CancelJob,
    /// Stop looking; the job goes on.
    StopLooking,
}

/// What came of a job.
pub(super) struct Outcome {
    pub(super) job: JobId,
    pub(super) state: JobState,
    /// Why it failed; empty otherwise.
    pub(super) error: String,
    pub(super) planned: Option<Planned>,
    pub(super) progress: Progress,
    pub(super) indexed: Vec<IndexedConcept>,
    pub(super) failed: Vec<(ConceptId, String)>,
    /// Events that were heard, progress not counted.
    heard: u64,
}

/// How long a coordinator may be away while a job is followed: jobs outlive its restarts.
const RECONNECT_PATIENCE: Duration = Duration::from_secs(120);
/// How often it is called meanwhile.
const RECONNECT_EVERY: Duration = Duration::from_millis(500);

/// Follows `job` with a progress bar until it ends, through restarts of the coordinator.
pub(super) async fn follow(client: &Client, job: JobId, interrupt: Interrupt) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome {
        job,
        state: JobState::Running,
        error: String::new(),
        planned: None,
        progress: Progress::default(),
        indexed: Vec::new(),
        failed: Vec::new(),
        heard: 0,
    };
    let mut bar = None;
    let mut interrupts = 0;
    let mut events = client.watch(job, 0).await?;
    let mut lost: Option<Instant> = None;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => {
                    if lost.take().is_some() {
                        note(format_args!("the coordinator is back; {job} goes on"));
                    }
                    outcome.take(event, &mut bar);
                }
                Some(Err(fault)) if fault.kind != FaultKind::Unavailable => return Err(fault.into()),
                // A coordinator that is gone ends the stream one way or the other, and so does the end of the job.
                Some(Err(_)) | None if outcome.state != JobState::Running => return Ok(outcome),
                Some(Err(_)) | None => {
                    if lost.is_none() {
                        note(format_args!("the coordinator is away; waiting for it"));
                    }
                    let since = *lost.get_or_insert_with(Instant::now);
                    let (watched, anew) = tokio::select! {
                        again = again(client, job, outcome.heard, since) => again?,
                        signal = tokio::signal::ctrl_c() => {
                            signal?;
                            anyhow::bail!("interrupted; {job} goes on when the coordinator does: `lode watch {job}`");
                        }
                    };
                    events = watched;
                    if anew {
                        outcome.forget();
                    }
                }
            },
            signal = tokio::signal::ctrl_c(), if interrupt == Interrupt::CancelJob => {
                signal?;
                interrupts += 1;
                if interrupts > 1 {
                    anyhow::bail!("interrupted while {job} was being cancelled");
                }
                note(format_args!("cancelling {job} (Ctrl-C again to leave at once)"));
                // It may have ended in the meantime, which the stream tells.
                let _ = client.cancel(job).await;
            }
        }
    }
}

/// Watches on once the coordinator is back.
///
/// From where it was, unless the coordinator has lost what was told last, as with its machine's power; then from the beginning,
/// and says so.
async fn again(client: &Client, job: JobId, heard: u64, since: Instant) -> anyhow::Result<(Events<JobEvent>, bool)> {
    loop {
        tokio::time::sleep(RECONNECT_EVERY).await;
        match client.watch(job, heard).await {
            Ok(events) => return Ok((events, false)),
            Err(fault) if fault.kind == FaultKind::Precondition && heard > 0 => {
                return Ok((client.watch(job, 0).await?, true));
            }
            Err(fault) if fault.kind == FaultKind::Unavailable && since.elapsed() < RECONNECT_PATIENCE => {}
            Err(fault) if fault.kind == FaultKind::Unavailable => anyhow::bail!(
                "the coordinator has been away for {} s ({fault}): {job} goes on when it is started again; follow it with \
                 `lode watch {job}`",
                since.elapsed().as_secs()
            ),
            Err(fault) => return Err(fault.into()),
        }
    }
}

impl Outcome {
    /// Begins again.
    fn forget(&mut self) {
        (self.heard, self.planned) = (0, None);
        self.indexed.clear();
        self.failed.clear();
    }

    fn take(&mut self, event: JobEvent, bar: &mut Option<Mining>) {
        if !matches!(event, JobEvent::Progress(_)) {
            self.heard += 1;
        }
        match event {
            JobEvent::Planned(planned) => {
                // Concepts that `--strict` refused came before the plan; after a restart, what is left is planned again.
                let settled = self.failed.len() + self.indexed.len();
                let mut mining = Mining::start(planned.concepts + settled as u32);
                (0..settled).for_each(|_| mining.concept());
                *bar = Some(mining);
                self.planned.get_or_insert(planned);
            }
            JobEvent::Progress(progress) => {
                self.progress = progress;
                if let Some(bar) = bar {
                    bar.tokens(&progress);
                }
            }
            JobEvent::ConceptIndexed(indexed) => {
                self.indexed.push(indexed);
                bar.iter_mut().for_each(Mining::concept);
            }
            JobEvent::ConceptFailed { concept, error } => {
                self.failed.push((concept, error));
                bar.iter_mut().for_each(Mining::concept);
            }
            JobEvent::ShardRetried { shard, error } => note(format_args!("{shard} broke off and runs again: {error}")),
            JobEvent::Ended { state, error } => {
                (self.state, self.error) = (state, error);
                *bar = None;
            }
        }
    }

    /// The job's summary; `elapsed` only where the job was followed from its beginning.
    pub(super) fn report(&self, elapsed: Option<Duration>) -> Report {
        let mut concepts = Table::new("concepts", &["concept", "positives", "negatives", "findings"])
            .if_empty("no concept was indexed");
        let mut indexed: Vec<&IndexedConcept> = self.indexed.iter().collect();
        indexed.sort_by(|a, b| a.concept.cmp(&b.concept));
        for one in indexed {
            let header = &one.header;
            let findings = header.findings.clone().into();
            concepts.push(vec![
                one.concept.to_string().into(),
                header.positives.into(),
                header.negatives.into(),
                findings,
            ]);
        }
        let mut report = Report::of(concepts)
            .fact("job", self.job.to_string())
            .fact("state", self.state.to_string())
            .fact("concepts_indexed", self.indexed.len())
            .fact("concepts_failed", self.failed.len());
        if let Some(planned) = self.planned {
            let (run, listed) = (planned.run_sentences, planned.listed_sentences);
            let saved = 1.0 - f64::from(run) / (listed.max(1) as f64);
            report = report
                .fact("sentences_listed", listed)
                .fact("sentences_run", run)
                .fact("forwards_saved", Cell::Share(saved.max(0.0)))
                .fact("concepts_split", planned.split_concepts)
                .fact("shards", planned.shards);
        }
        report = report.fact("tokens", self.progress.tokens_done);
        if let Some(elapsed) = elapsed {
            let seconds = elapsed.as_secs_f64();
            report = report
                .fact("seconds", Cell::Rounded(seconds))
                .fact("tokens_per_second", (self.progress.tokens_done as f64 / seconds.max(1e-9)) as u64);
        }
        report
    }

    /// Success only if every concept is in the index.
    pub(super) fn conclude(&self) -> anyhow::Result<()> {
        for (concept, error) in &self.failed {
            note(format_args!("error: concept `{concept}`: {error}"));
        }
        let (job, indexed) = (self.job, self.indexed.len());
        match self.state {
            JobState::Done => Ok(()),
            JobState::Cancelled => {
                anyhow::bail!("{job} was cancelled; {indexed} concepts were indexed before and stay")
            }
            _ if indexed > 0 => anyhow::bail!("{job} failed: {}; {indexed} concepts were indexed and stay", self.error),
            _ => anyhow::bail!("{job} failed: {}", self.error),
        }
    }
}
