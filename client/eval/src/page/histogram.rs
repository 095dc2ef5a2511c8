//! How many values lie where.

use std::fmt::Write as _;

use super::{
    escaped,
    figure::Figure,
    scale::{shown, ticks},
};

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 52.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;
const BINS: usize = 50;

/// Values between 0 and 1, counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// What is counted.
    pub title: String,
    /// What the horizontal axis is.
    pub x: String,
    counts: [usize; BINS],
}

impl Histogram {
    /// Counts `values`; those outside of 0 to 1 count at the ends.
    pub fn new(title: &str, x: &str, values: impl IntoIterator<Item = f32>) -> Self {
        let mut counts = [0; BINS];
        for value in values {
            counts[((value * BINS as f32) as usize).min(BINS - 1)] += 1;
        }
        Self { title: title.to_owned(), x: x.to_owned(), counts }
    }

    /// Drawn, heights by the logarithm of the counts plus one: the few experts must be seen beside the many others.
    pub fn figure(&self) -> Figure {
        let most = self.counts.iter().copied().max().unwrap_or(0);
        let height = |count: f64| (HEIGHT - TOP - BOTTOM) * count.ln_1p() / (most as f64).ln_1p().max(1e-9);
        let x = |share: f64| LEFT + (WIDTH - LEFT - 12.0) * share;
        let base = HEIGHT - BOTTOM;
        let mut svg =
            format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escaped(&self.title));
        // Writing to a String cannot fail, here and below.
        let mut mark = 1.0;
        while mark <= most as f64 {
            let at = base - height(mark);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{mark}</text>",
                x(1.0),
                LEFT - 6.0,
                at + 3.5
            );
            mark *= 10.0;
        }
        for (bin, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (left, right) = (x(bin as f64 / BINS as f64), x((bin + 1) as f64 / BINS as f64));
            let tall = height(count as f64);
            let (low, high) = (bin as f64 / BINS as f64, (bin + 1) as f64 / BINS as f64);
            let _ = writeln!(
                svg,
                "<rect class=\"bar\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{tall:.1}\"><title>{low:.2} to \
                 {high:.2}: {count}</title></rect>",
                base - tall,
                (right - left - 1.0).max(0.5)
            );
        }
        for tick in ticks(0.0, 1.0, 5) {
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x(tick),
                base + 15.0,
                shown(tick)
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n</svg>",
            x(0.5),
            HEIGHT - 6.0,
            escaped(&self.x)
        );
        Figure { title: self.title.clone(), drawing: svg }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_counted_once() {
        let histogram = Histogram::new("t", "AP", [0.0, 0.5, 0.5, 1.0, 0.999]);
        assert_eq!(histogram.counts.iter().sum::<usize>(), 5);
        assert_eq!((histogram.counts[25], histogram.counts[BINS - 1]), (2, 2));
        assert!(histogram.figure().drawing.contains("0.50 to 0.52: 2"));
        assert!(!Histogram::new("t", "AP", []).figure().drawing.contains("NaN"));
    }
}
