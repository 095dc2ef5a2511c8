//! Curves over a grid of k, with their intervals.

use std::fmt::Write as _;

use super::{
    escaped,
    figure::Figure,
    palette::SERIES,
    scale::{log_ticks, shown, ticks},
};

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 92.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// Between two names beside their curves.
const NAME_HEIGHT: f64 = 13.0;

/// Lines are told apart by these too.
pub(super) const DASHES: [&str; SERIES] = ["", "7 3", "2 3", "9 3 2 3", "4 2", "1 4"];

/// A value on a curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The curve's value.
    pub value: f64,
    /// The interval's ends, if there is one.
    pub interval: Option<(f64, f64)>,
}

/// A curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Written beside its end.
    pub name: String,
    /// One a place of the grid; nothing where it has no value.
    pub points: Vec<Option<Point>>,
}

/// How the vertical axis is divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum YScale {
    /// Evenly between two values at least.
    Even(f64, f64),
    /// By factors.
    Logarithmic,
}

/// Curves over one grid. The places of the grid are evenly apart, whatever their k.
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// What is drawn.
    pub title: String,
    /// What the horizontal axis is.
    pub x: String,
    /// The grid, as written below it.
    pub grid: Vec<String>,
    /// The curves; at most [`SERIES`] can be told apart.
    pub lines: Vec<Line>,
    /// How the vertical axis is divided.
    pub y: YScale,
}

impl Lines {
    /// Drawn.
    pub fn figure(&self) -> Figure {
        Figure { title: self.title.clone(), drawing: self.drawing() }
    }

    fn range(&self) -> (f64, f64) {
        let ends = |point: &Point| {
            let (low, high) = point.interval.unwrap_or((point.value, point.value));
            [low, high, point.value]
        };
        let values = self.lines.iter().flat_map(|line| line.points.iter().flatten()).flat_map(ends);
        let values = values.filter(|value| value.is_finite());
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        match self.y {
            YScale::Even(least, most) => (low.min(least), high.max(most)),
            YScale::Logarithmic if low > high => (1.0, 10.0),
            YScale::Logarithmic => (low.max(1e-6) * 0.9, high * 1.1),
        }
    }

    fn drawing(&self) -> String {
        let (low, high) = self.range();
        let share = |value: f64| match self.y {
            YScale::Even(..) => (value - low) / (high - low),
            YScale::Logarithmic => (value.max(low) / low).ln() / (high / low).ln(),
        };
        let y = |value: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - share(value));
        let steps = self.grid.len().saturating_sub(1).max(1) as f64;
        let x = |place: usize| LEFT + 8.0 + (WIDTH - LEFT - RIGHT - 16.0) * place as f64 / steps;
        let mut svg =
            format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escaped(&self.title));
        let marks = match self.y {
            YScale::Even(..) => ticks(low, high, 5),
            YScale::Logarithmic => log_ticks(low, high),
        };
        // Writing to a String cannot fail, here and below.
        for mark in marks {
            let at = y(mark);
            let class = if mark == 0.0 { "zero" } else { "grid" };
            let end = WIDTH - RIGHT;
            let _ = writeln!(
                svg,
                "<path class=\"{class}\" d=\"M{LEFT} {at:.1}H{end}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 3.5,
                shown(mark)
            );
        }
        for (place, name) in self.grid.iter().enumerate() {
            let at = HEIGHT - BOTTOM + 15.0;
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{at:.1}\" text-anchor=\"middle\">{}</text>",
                x(place),
                escaped(name)
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"axis\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 6.0,
            escaped(&self.x)
        );
        for (number, line) in self.lines.iter().enumerate() {
            let colour = number % SERIES;
            for run in runs(&line.points) {
                let interval = |(place, point): &(usize, Point)| point.interval.map(|ends| (*place, ends));
                let band: Vec<(usize, (f64, f64))> = run.iter().filter_map(interval).collect();
                if band.len() > 1 {
                    let upper = band.iter().map(|(place, (_, high))| format!("{:.1},{:.1}", x(*place), y(*high)));
                    let lower = band.iter().rev().map(|(place, (low, _))| format!("{:.1},{:.1}", x(*place), y(*low)));
                    let points = upper.chain(lower).collect::<Vec<_>>().join(" ");
                    let _ =
                        writeln!(svg, "<polygon class=\"band\" style=\"fill:var(--c{colour})\" points=\"{points}\"/>");
                }
                let points: Vec<String> =
                    run.iter().map(|(place, point)| format!("{:.1},{:.1}", x(*place), y(point.value))).collect();
                let _ = writeln!(
                    svg,
                    "<polyline class=\"line\" style=\"stroke:var(--c{colour})\" stroke-dasharray=\"{}\" points=\"{}\"/>",
                    DASHES[colour],
                    points.join(" ")
                );
                for (place, point) in &run {
                    svg.push_str(&marker(colour, x(*place), y(point.value)));
                }
            }
        }
        for (number, at) in self.name_places(y) {
            let _ = writeln!(
                svg,
                "<text class=\"name\" style=\"fill:var(--c{})\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                number % SERIES,
                WIDTH - RIGHT + 6.0,
                at + 3.5,
                escaped(&self.lines[number].name)
            );
        }
        svg.push_str("</svg>");
        svg
    }

    /// Where each curve's name stands: at its end, moved apart from others.
    fn name_places(&self, y: impl Fn(f64) -> f64) -> Vec<(usize, f64)> {
        let ends = self.lines.iter().enumerate();
        let ends =
            ends.filter_map(|(number, line)| Some((number, y(line.points.iter().rev().flatten().next()?.value))));
        let mut places: Vec<(usize, f64)> = ends.collect();
        places.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut least = TOP + 4.0;
        for (_, at) in &mut places {
            *at = at.max(least);
            least = *at + NAME_HEIGHT;
        }
        // The last ones may have been pushed below the drawing: push back.
        let mut most = HEIGHT - BOTTOM + 4.0;
        for (_, at) in places.iter_mut().rev() {
            *at = at.min(most);
            most = *at - NAME_HEIGHT;
        }
        places
    }
}

/// Stretches of a curve without a gap, with their places.
fn runs(points: &[Option<Point>]) -> Vec<Vec<(usize, Point)>> {
    let mut runs = vec![Vec::new()];
    for (place, point) in points.iter().enumerate() {
        match (point, runs.last_mut()) {
            (Some(point), Some(run)) if point.value.is_finite() => run.push((place, *point)),
            _ => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// A mark of a form of its own for each curve.
pub(super) fn marker(number: usize, x: f64, y: f64) -> String {
    let d = match number {
        0 => format!("M{:.1} {y:.1}a3 3 0 1 0 6 0a3 3 0 1 0 -6 0", x - 3.0),
        1 => format!("M{:.1} {:.1}h5.4v5.4h-5.4z", x - 2.7, y - 2.7),
        2 => format!("M{x:.1} {:.1}l3.4 5.8h-6.8z", y - 3.8),
        3 => format!("M{x:.1} {:.1}l3.8 3.8l-3.8 3.8l-3.8 -3.8z", y - 3.8),
        4 => format!("M{x:.1} {:.1}l3.4 -5.8h-6.8z", y + 3.8),
        _ => format!("M{:.1} {:.1}h2v-2h2v2h2v2h-2v2h-2v-2h-2z", x - 3.0, y - 1.0),
    };
    format!("<path style=\"fill:var(--c{number})\" d=\"{d}\"/>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(value: f64) -> Option<Point> {
        Some(Point { value, interval: Some((value - 0.1, value + 0.1)) })
    }

    fn lines(points: Vec<Vec<Option<Point>>>, y: YScale) -> String {
        let line = |(number, points)| Line { name: format!("line {number}"), points };
        let lines = points.into_iter().enumerate().map(line).collect();
        let grid = ["0", "1", "10"].map(String::from).to_vec();
        Lines { title: "a & b".into(), x: "k".into(), grid, lines, y }.figure().drawing
    }

    #[test]
    fn a_gap_parts_a_curve() {
        let svg = lines(vec![vec![point(0.5), None, point(0.7)]], YScale::Even(0.0, 1.0));
        assert_eq!(svg.matches("<polyline").count(), 2, "{svg}");
        assert!(svg.contains("aria-label=\"a &amp; b\""));
    }

    #[test]
    fn every_curve_has_its_own_dash_and_name() {
        let same = vec![point(0.5); 3];
        let svg = lines(vec![same.clone(), same.clone(), same], YScale::Even(0.0, 1.0));
        for (number, dash) in DASHES.iter().enumerate().take(3) {
            assert!(svg.contains(&format!("stroke-dasharray=\"{dash}\"")));
            assert!(svg.contains(&format!(">line {number}</text>")));
        }
        let places: Vec<&str> = svg.lines().filter(|line| line.contains("class=\"name\"")).collect();
        assert_eq!(places.len(), 3);
        let y = |line: &str| line.split("y=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        assert!(y(places[0]) != y(places[1]) && y(places[1]) != y(places[2]), "{places:?}");
    }

    #[test]
    fn what_is_not_finite_is_not_drawn() {
        let svg = lines(vec![vec![point(f64::NAN), point(3.0), point(900.0)]], YScale::Logarithmic);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(!lines(vec![vec![None; 3]], YScale::Logarithmic).contains("NaN"));
    }
}
