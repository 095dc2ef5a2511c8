//! Metrics as rows of a table: what is not in a table is not counted.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of every histogram, in seconds: a commit takes milliseconds, a generation up to minutes.
const SECONDS: [f64; 16] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0];

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations, by size.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// What it measures.
    pub kind: Kind,
    /// In what.
    pub unit: Unit,
    /// What it means.
    pub help: &'static str,
    /// The values of the label `outcome`; empty if the metric has none.
    pub outcomes: &'static [&'static str],
}

impl Metric {
    /// A row for a counter.
    pub const fn counter(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, unit, help, outcomes: &[] }
    }

    /// A row for a gauge.
    pub const fn gauge(name: &'static str, unit: Unit, help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, unit, help, outcomes: &[] }
    }

    /// A row for a histogram of durations.
    pub const fn seconds(name: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, unit: Unit::Seconds, help, outcomes: &[] }
    }

    /// The same, counted by outcome.
    pub const fn by_outcome(self, outcomes: &'static [&'static str]) -> Self {
        Self { outcomes, ..self }
    }

    /// Adds to a counter.
    pub fn add(&self, more: u64) {
        counter!(self.name).increment(more);
    }

    /// Counts one more with an outcome.
    pub fn count(&self, outcome: &'static str) {
        debug_assert!(self.outcomes.contains(&outcome), "{} has no outcome {outcome}", self.name);
        counter!(self.name, "outcome" => outcome).increment(1);
    }

    /// Sets a gauge.
    #[allow(clippy::cast_precision_loss, reason = "Prometheus has doubles only")]
    pub fn set(&self, value: u64) {
        gauge!(self.name).set(value as f64);
    }

    /// Moves a gauge.
    #[allow(clippy::cast_precision_loss, reason = "Prometheus has doubles only")]
    pub fn change(&self, by: i64) {
        gauge!(self.name).increment(by as f64);
    }

    /// Notes a duration.
    pub fn observe(&self, duration: std::time::Duration) {
        histogram!(self.name).record(duration);
    }

    /// Gives the metric its help text and a first value: a rate over a counter that is not there yet has no start.
    fn announce(&self) {
        match self.kind {
            Kind::Counter => {
                describe_counter!(self.name, self.unit, self.help);
                if self.outcomes.is_empty() {
                    counter!(self.name).increment(0);
                }
                for &outcome in self.outcomes {
                    counter!(self.name, "outcome" => outcome).increment(0);
                }
            }
            Kind::Gauge => {
                describe_gauge!(self.name, self.unit, self.help);
                gauge!(self.name).set(0.0);
            }
            Kind::Histogram => {
                describe_histogram!(self.name, self.unit, self.help);
                drop(histogram!(self.name));
            }
        }
    }
}

/// Makes this process count, which it does not otherwise, and announces the tables' metrics.
pub(crate) fn install(tables: &[&[Metric]]) -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().set_buckets(&SECONDS)?.install_recorder()?;
    tables.iter().copied().flatten().for_each(Metric::announce);
    Ok(handle)
}
