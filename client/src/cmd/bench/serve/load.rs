//! Requests on their way, and when their tokens came.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use indicatif::{ProgressBar, ProgressStyle};
use lode_client::{Client, Fault, FaultKind};
use lode_domain::generation::{GenerateEvent, GenerateRequest};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::task::JoinSet;

use super::work::Work;
use crate::progress::bars;

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pace {
    /// So many are always under way.
    Closed(u32),
    /// So many come a second, at random times.
    Open(f64),
}

/// When no more are sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) requests: u32,
    pub(super) time: Option<Duration>,
}

/// A run.
pub(super) struct Load<'r> {
    pub(super) client: &'r Client,
    pub(super) work: &'r Work,
    pub(super) pace: Pace,
    pub(super) limit: Limit,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// From the first request to the last token.
    pub(super) time: Duration,
    /// Requests that were done.
    pub(super) done: u32,
    pub(super) tokens: u64,
    /// From when a request was due to its first token.
    pub(super) first_token: Vec<Duration>,
    /// Between two tokens of a continuation.
    pub(super) between_tokens: Vec<Duration>,
    /// From when a request was due to its last token.
    pub(super) whole: Vec<Duration>,
    /// Kinds of errors: how many, and what the first one said.
    pub(super) errors: Vec<(FaultKind, u32, String)>,
}

/// What came of a request.
#[derive(Debug, Default)]
struct Timed {
    tokens: u64,
    first_token: Option<Duration>,
    between_tokens: Vec<Duration>,
    whole: Duration,
}

impl Load<'_> {
    /// Sends requests until the limit and waits for all of them.
    pub(super) async fn run(&self, what: &'static str) -> anyhow::Result<Measured> {
        let bar = self.bar(what);
        let (started, mut sent) = (Instant::now(), 0);
        let mut running: JoinSet<Result<Timed, Fault>> = JoinSet::new();
        let mut measured = Measured::default();
        let mut arrivals = Arrivals::new(self.pace, self.work.shape.seed);
        loop {
            let is_late = |due: Duration| self.limit.time.is_some_and(|time| due.max(started.elapsed()) >= time);
            let may_send = sent < self.limit.requests && !is_late(arrivals.next);
            if !may_send && running.is_empty() {
                break;
            }
            let due = arrivals.next(may_send, running.len());
            tokio::select! {
                () = sleep_until(due.map(|due| started + due)), if due.is_some() => {
                    // Who waits is not who asks less: time counts from when the request was due.
                    let due = arrivals.take().map_or_else(Instant::now, |due| started + due);
                    running.spawn(time(self.client.clone(), self.work.request(sent), due));
                    sent += 1;
                }
                Some(ended) = running.join_next() => {
                    measured.take(ended?);
                    bar.inc(1);
                }
                signal = tokio::signal::ctrl_c() => {
                    signal?;
                    anyhow::bail!("interrupted");
                }
            }
            bar.set_message(format!("{} under way, {} tokens", running.len(), measured.tokens));
        }
        bar.finish_and_clear();
        bars().remove(&bar);
        measured.time = started.elapsed();
        Ok(measured)
    }

    fn bar(&self, what: &'static str) -> ProgressBar {
        let bar = match self.limit {
            Limit { time: None, requests } => ProgressBar::new(requests.into()),
            Limit { time: Some(_), .. } => ProgressBar::no_length(),
        };
        let template = "{prefix} {wide_bar:.cyan/dim} {human_pos} requests done, {msg}, {elapsed}";
        // The template is fixed, and right.
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = bars().add(bar.with_prefix(what).with_style(style.progress_chars("━╸─")));
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}

async fn sleep_until(due: Option<Instant>) {
    if let Some(due) = due {
        tokio::time::sleep_until(due.into()).await;
    }
}

/// When the next request is due, since the run began.
struct Arrivals {
    pace: Pace,
    random: StdRng,
    /// Of an open loop.
    next: Duration,
}

impl Arrivals {
    fn new(pace: Pace, seed: u64) -> Self {
        let mut arrivals = Self { pace, random: StdRng::seed_from_u64(seed), next: Duration::ZERO };
        arrivals.next = arrivals.gap();
        arrivals
    }

    /// When to send, if anything is to be sent; at once, if so few are running in a closed loop.
    fn next(&self, may_send: bool, running: usize) -> Option<Duration> {
        match self.pace {
            Pace::Closed(at_once) => (may_send && running < at_once as usize).then_some(Duration::ZERO),
            Pace::Open(_) => may_send.then_some(self.next),
        }
    }

    /// One is sent: when it was due, if that is not now.
    fn take(&mut self) -> Option<Duration> {
        match self.pace {
            Pace::Closed(_) => None,
            Pace::Open(_) => {
                let due = self.next;
                let gap = self.gap();
                self.next += gap;
                Some(due)
            }
        }
    }

    /// Times between requests that come independently of each other are distributed exponentially.
    fn gap(&mut self) -> Duration {
        match self.pace {
            Pace::Closed(_) => Duration::ZERO,
            Pace::Open(rate) => Duration::from_secs_f64(-(1.0 - self.random.random::<f64>()).ln() / rate),
        }
    }
}

/// Does one request that was due at `due`.
async fn time(client: Client, request: GenerateRequest, due: Instant) -> Result<Timed, Fault> {
    let mut timed = Timed::default();
    let mut open = request.samples;
    let mut last: HashMap<u32, Instant> = HashMap::new();
    let mut events = client.generate(request).await?;
    while let Some(event) = events.next().await {
        match event? {
            GenerateEvent::Token { sample, .. } => {
                let now = Instant::now();
                timed.tokens += 1;
                timed.first_token.get_or_insert(now - due);
                if let Some(before) = last.insert(sample, now) {
                    timed.between_tokens.push(now - before);
                }
            }
            GenerateEvent::Finished { .. } => open = open.saturating_sub(1),
        }
    }
    timed.whole = due.elapsed();
    if open > 0 {
        return Err(Fault::unavailable("the stream ended before the text was complete"));
    }
    Ok(timed)
}

impl Measured {
    fn take(&mut self, ended: Result<Timed, Fault>) {
        match ended {
            Ok(timed) => {
                self.done += 1;
                self.tokens += timed.tokens;
                self.first_token.extend(timed.first_token);
                self.between_tokens.extend(timed.between_tokens);
                self.whole.push(timed.whole);
            }
            Err(fault) => match self.errors.iter_mut().find(|(kind, ..)| *kind == fault.kind) {
                Some((_, count, _)) => *count += 1,
                None => self.errors.push((fault.kind, 1, fault.message)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_loop_sends_when_somebody_is_done() {
        let arrivals = Arrivals::new(Pace::Closed(2), 0);
        assert_eq!(arrivals.next(true, 1), Some(Duration::ZERO));
        assert_eq!(arrivals.next(true, 2), None);
        assert_eq!(arrivals.next(false, 0), None);
    }

    #[test]
    fn an_open_loop_sends_at_its_rate() {
        let mut arrivals = Arrivals::new(Pace::Open(50.0), 7);
        let dues: Vec<Duration> = (0..5000).filter_map(|_| arrivals.take()).collect();
        assert!(dues.is_sorted());
        let rate = dues.len() as f64 / dues[dues.len() - 1].as_secs_f64();
        // The standard deviation of the mean of 5,000 gaps is 1.4 %.
        assert!((rate - 50.0).abs() < 3.0, "{rate}");
        assert_eq!(arrivals.next(true, 10_000), Some(arrivals.next));
    }
}
