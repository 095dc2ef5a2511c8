//! What a run came to.

use std::time::Duration;

use super::{
    load::{Measured, Pace},
    work::Work,
};
use crate::output::{Cell, Report, Table};

/// The report of a run.
pub(super) fn report(work: &Work, pace: Pace, measured: &Measured) -> Report {
    let seconds = measured.time.as_secs_f64();
    let errors: u32 = measured.errors.iter().map(|(_, count, _)| count).sum();
    let (closed, open) = match pace {
        Pace::Closed(at_once) => (Some(at_once), None),
        Pace::Open(rate) => (None, Some(rate)),
    };
    let mut latencies = Table::new("latencies", &["measure", "count", "mean_ms", "p50_ms", "p95_ms", "p99_ms"]);
    for (name, times) in [
        ("first token", &measured.first_token),
        ("between tokens", &measured.between_tokens),
        ("whole request", &measured.whole),
    ] {
        latencies.push(row(name, times));
    }
    let mut table = Table::new("errors", &["kind", "count", "first"]).if_empty("no errors");
    for (kind, count, first) in &measured.errors {
        table.push(vec![format!("{kind:?}").to_lowercase().into(), (*count).into(), first.clone().into()]);
    }
    Report::default()
        .fact("model", work.shape.model.to_string())
        .fact("concurrency", closed)
        .fact("rate", open)
        .fact("conditions", work.conditions.len())
        .fact("k", (!work.conditions.is_empty()).then_some(work.shape.k))
        .fact("max_new_tokens", work.shape.max_new_tokens)
        .fact("samples", work.shape.samples)
        .fact("requests", measured.done)
        .fact("failed", errors)
        .fact("tokens", measured.tokens)
        .fact("seconds", Cell::Rounded(seconds))
        .fact("tokens_per_second", Cell::Rounded(measured.tokens as f64 / seconds.max(1e-9)))
        .fact("requests_per_second", Cell::Rounded(f64::from(measured.done) / seconds.max(1e-9)))
        .table(latencies)
        .table(table)
}

fn row(name: &str, times: &[Duration]) -> Vec<Cell> {
    let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
    times.sort_by(f64::total_cmp);
    let mean = (!times.is_empty()).then(|| times.iter().sum::<f64>() / times.len() as f64);
    let cell = |value: Option<f64>| value.map_or(Cell::Nothing, Cell::Rounded);
    let mut row: Vec<Cell> = vec![name.into(), times.len().into(), cell(mean)];
    row.extend([0.50, 0.95, 0.99].map(|share| cell(percentile(&times, share))));
    row
}

/// The smallest of the rising `times` that is not less than this share of them.
fn percentile(times: &[f64], share: f64) -> Option<f64> {
    let rank = (share * times.len() as f64).ceil() as usize;
    times.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!([0.5, 0.95, 0.99].map(|share| percentile(&times, share)), [Some(100.0), Some(190.0), Some(198.0)]);
        assert_eq!(percentile(&[7.0], 0.99), Some(7.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
