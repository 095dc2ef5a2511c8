//! Where values lie on an axis, and which are written beside it.

/// Round numbers that span `low` to `high`, at most about `count`.
pub(super) fn ticks(low: f64, high: f64, count: usize) -> Vec<f64> {
    let span = (high - low).max(1e-12);
    let rough = span / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|&step| step >= rough).unwrap_or(rough);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

/// Numbers for a logarithmic axis from `low` to `high`: powers of ten, and their double and quintuple if there are few.
pub(super) fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let few = high / low < 100.0;
    let steps: &[f64] = if few { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let all = powers.flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)));
    all.filter(|&tick| tick >= low * 0.999 && tick <= high * 1.001).collect()
}

/// A number as an axis shows it: no more digits than it needs.
pub(super) fn shown(value: f64) -> String {
    let rounded = format!("{value:.3}");
    let short = rounded.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".to_owned() } else { short.replace('-', "−") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let text = |ticks: Vec<f64>| ticks.into_iter().map(shown).collect::<Vec<_>>().join(" ");
        assert_eq!(text(ticks(0.0, 1.0, 5)), "0 0.2 0.4 0.6 0.8 1");
        assert_eq!(text(ticks(-0.42, 0.31, 4)), "−0.4 −0.2 0 0.2");
        assert_eq!(text(log_ticks(2.0, 30.0)), "2 5 10 20");
        assert_eq!(text(log_ticks(2.0, 3000.0)), "10 100 1000");
    }
}
