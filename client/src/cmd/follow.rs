//! Following a job: its progress, its end, and what came of it.

use std::time::Duration;

use futures::StreamExt as _;
use lode_client::{Client, FaultKind};
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
}

/// Follows `job` with a progress bar until it ends.
pub(super) async fn follow(client: &Client, job: JobId, interrupt: Interrupt) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome {
        job,
        state: JobState::Running,
        error: String::new(),
        planned: None,
        progress: Progress::default(),
        indexed: Vec::new(),
        failed: Vec::new(),
    };
    let mut bar = None;
    let mut interrupts = 0;
    let mut events = client.watch(job).await?;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Ok(event)) => outcome.take(event, &mut bar),
                // A coordinator that is gone ends the stream one way or the other.
                Some(Err(fault)) if fault.kind != FaultKind::Unavailable => return Err(fault.into()),
                Some(Err(_)) | None => break,
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
    if outcome.state == JobState::Running {
        anyhow::bail!("the coordinator stopped before {job} had ended: what was indexed stays; mine the rest again");
    }
    Ok(outcome)
}

impl Outcome {
    fn take(&mut self, event: JobEvent, bar: &mut Option<Mining>) {
        match event {
            JobEvent::Planned(planned) => {
                let mut mining = Mining::start(planned.concepts);
                // Concepts that `--strict` refused came before the plan.
                self.failed.iter().for_each(|_| mining.concept());
                *bar = Some(mining);
                self.planned = Some(planned);
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
            let (run, listed) = (planned.distinct_sentences, planned.listed_sentences);
            let saved = 1.0 - f64::from(run) / (listed.max(1) as f64);
            report = report
                .fact("sentences_listed", listed)
                .fact("sentences_run", run)
                .fact("forwards_saved", Cell::Share(saved.max(0.0)))
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
