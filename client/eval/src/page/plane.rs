//! Curves in a plane: what a method gains against what it costs, a point for each of its strengths.

use std::fmt::Write as _;

use super::{
    escaped,
    figure::Figure,
    lines::{DASHES, marker},
    palette::SERIES,
    scale::{log_ticks, shown, ticks},
};

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 42.0;
/// Between two names of the legend.
const NAME_HEIGHT: f64 = 20.0;

/// A curve, and its points in the order of its strengths.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// In the legend.
    pub name: String,
    /// Cost and gain, cost above 0.
    pub points: Vec<(f64, f64)>,
}

/// Curves of gain, 0 to 1, over cost on a logarithmic axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// What is drawn.
    pub title: String,
    /// What it costs.
    pub x: String,
    /// The curves; at most [`SERIES`] can be told apart.
    pub paths: Vec<Path>,
}

impl Plane {
    /// Drawn.
    pub fn figure(&self) -> Figure {
        Figure { title: self.title.clone(), drawing: self.drawing() }
    }

    fn drawing(&self) -> String {
        let usable = |point: &&(f64, f64)| point.0.is_finite() && point.0 > 0.0 && point.1.is_finite();
        let costs = self.paths.iter().flat_map(|path| path.points.iter().filter(usable)).map(|point| point.0);
        let (low, high) = costs.fold((f64::MAX, f64::MIN), |(low, high), cost| (low.min(cost), high.max(cost)));
        let (low, high) = if low > high { (1.0, 10.0) } else { (low * 0.95, high * 1.05) };
        let x = |cost: f64| LEFT + 8.0 + (WIDTH - LEFT - RIGHT - 16.0) * (cost / low).ln() / (high / low).ln();
        let y = |gain: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - gain.clamp(0.0, 1.0));
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\" class=\"plane\">\n",
            escaped(&self.title)
        );
        // Writing to a String cannot fail, here and below.
        for mark in ticks(0.0, 1.0, 5) {
            let (at, end) = (y(mark), WIDTH - RIGHT);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{end}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 3.5,
                shown(mark)
            );
        }
        for mark in log_ticks(low, high) {
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x(mark),
                HEIGHT - BOTTOM + 15.0,
                shown(mark)
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0,
            escaped(&self.x)
        );
        for (number, path) in self.paths.iter().enumerate() {
            let colour = number % SERIES;
            let style = format!("style=\"stroke:var(--c{colour})\" stroke-dasharray=\"{}\"", DASHES[colour]);
            let points: Vec<(f64, f64)> =
                path.points.iter().filter(usable).map(|(cost, gain)| (x(*cost), y(*gain))).collect();
            let line: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let _ = writeln!(svg, "<polyline class=\"line\" {style} points=\"{}\"/>", line.join(" "));
            points.iter().for_each(|(x, y)| svg.push_str(&marker(colour, *x, *y)));
            let (left, at) = (WIDTH - RIGHT + 10.0, TOP + 10.0 + NAME_HEIGHT * number as f64);
            let _ = writeln!(svg, "<path class=\"line\" {style} d=\"M{left} {at:.1}h26\"/>");
            svg.push_str(&marker(colour, left + 13.0, at));
            let _ = writeln!(
                svg,
                "<text class=\"name\" style=\"fill:var(--c{colour})\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                left + 32.0,
                at + 3.5,
                escaped(&path.name)
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
    fn every_curve_is_drawn_and_named() {
        let path = |name: &str, points: &[(f64, f64)]| Path { name: name.into(), points: points.to_vec() };
        let paths = vec![
            path("do & more", &[(3.0, 0.1), (4.0, 0.8)]),
            path("x", &[(5.0, 0.5), (f64::NAN, 0.5), (f64::INFINITY, 0.7)]),
        ];
        let svg = Plane { title: "t".into(), x: "perplexity".into(), paths }.figure().drawing;
        assert!(svg.contains(">do &amp; more</text>") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg.matches("<polyline").count(), 2);
        let nothing = Plane { title: "t".into(), x: "x".into(), paths: vec![path("x", &[])] }.figure().drawing;
        assert!(!nothing.contains("NaN"), "{nothing}");
    }
}
