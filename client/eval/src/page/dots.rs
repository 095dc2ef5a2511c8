//! A value a row, with its interval: what several methods come to.

use std::fmt::Write as _;

use super::{
    escaped,
    figure::Figure,
    lines::Point,
    palette::SERIES,
    scale::{log_ticks, shown},
};

const WIDTH: f64 = 440.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 46.0;
const TOP: f64 = 6.0;
const BOTTOM: f64 = 36.0;
const ROW: f64 = 22.0;

/// Values beside each other on a logarithmic axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Dots {
    /// What is drawn.
    pub title: String,
    /// What the axis is.
    pub x: String,
    /// Names and values; nothing where there is no value.
    pub rows: Vec<(String, Option<Point>)>,
}

impl Dots {
    /// Drawn.
    pub fn figure(&self) -> Figure {
        Figure { title: self.title.clone(), drawing: self.drawing() }
    }

    fn drawing(&self) -> String {
        let ends = |point: &Point| {
            let (low, high) = point.interval.unwrap_or((point.value, point.value));
            [low, high, point.value]
        };
        let values = self.rows.iter().filter_map(|(_, point)| point.as_ref()).flat_map(ends);
        let values = values.filter(|value| value.is_finite() && *value > 0.0);
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (1.0, 10.0) } else { (low * 0.9, high * 1.1) };
        let x = |value: f64| LEFT + (WIDTH - LEFT - RIGHT) * (value.max(low) / low).ln() / (high / low).ln();
        let bottom = TOP + ROW * self.rows.len() as f64;
        let height = bottom + BOTTOM;
        let mut svg =
            format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n", escaped(&self.title));
        // Writing to a String cannot fail, here and below.
        for mark in log_ticks(low, high) {
            let at = x(mark);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{at:.1} {TOP}V{bottom}\"/><text class=\"tick\" x=\"{at:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>",
                bottom + 14.0,
                shown(mark)
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            height - 4.0,
            escaped(&self.x)
        );
        for (number, (name, point)) in self.rows.iter().enumerate() {
            let (y, colour) = (TOP + ROW * (number as f64 + 0.5), number % SERIES);
            let _ = writeln!(
                svg,
                "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 10.0,
                y + 4.0,
                escaped(name)
            );
            let Some(point) = point.filter(|point| point.value.is_finite()) else { continue };
            if let Some((from, to)) = point.interval {
                let _ = writeln!(
                    svg,
                    "<path class=\"line\" style=\"stroke:var(--c{colour})\" d=\"M{:.1} {y:.1}H{:.1}\"/>",
                    x(from),
                    x(to)
                );
            }
            let _ = writeln!(
                svg,
                "<circle style=\"fill:var(--c{colour})\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"4.5\"/><text class=\"tick\" \
                 x=\"{:.1}\" y=\"{:.1}\">{:.2}</text>",
                x(point.value),
                WIDTH - RIGHT + 8.0,
                y + 4.0,
                point.value
            );
        }
        svg.push_str("</svg>");
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_name_and_what_is_known_of_it() {
        let point = Some(Point { value: 3.0, interval: Some((2.0, 40.0)) });
        let rows = vec![("do(c,k)".to_owned(), point), ("a & b".to_owned(), None)];
        let svg = Dots { title: "t".into(), x: "perplexity".into(), rows }.figure().drawing;
        assert!(svg.contains(">a &amp; b</text>") && svg.contains(">3.00</text>"), "{svg}");
        assert_eq!((svg.matches("<circle").count(), svg.matches("class=\"line\"").count()), (1, 1));
        let nothing = Dots { title: "t".into(), x: "x".into(), rows: vec![("a".into(), None)] }.figure().drawing;
        assert!(!nothing.contains("NaN") && !nothing.contains("inf"), "{nothing}");
    }
}
