//! What each method costs at parity: the paper's Figure 1.

use lode_eval::{
    page::{Dots, Line, Lines, Page, Point, YScale},
    stats::{mean, quantile},
};

use super::{
    Parity,
    findings::{Finding, Findings},
    show::{difference, name, rounded, share},
};
use crate::{
    cmd::eval::{method::Method, strength::Strength},
    output::{Cell, Table},
};

/// A method and what was found of it.
pub(super) type Found<'a> = (Parity<'a>, Findings);

/// What a method comes to over the contexts that push against it.
struct Cost {
    contexts: usize,
    /// The 10th, 50th and 90th percentile.
    perplexity: [Option<f64>; 3],
    /// Contexts that both this method and do(c,k) bring to parity, and the median perplexities there, of this method and of do(c,k).
    both: (usize, Option<f64>, Option<f64>),
}

impl Cost {
    fn of((_, findings): &Found<'_>, (_, forced): &Found<'_>) -> Self {
        let opposed = |findings: &'_ Findings| -> Vec<Finding> {
            findings.each.iter().filter(|one| one.opposes).cloned().collect()
        };
        let (own, forced) = (opposed(findings), opposed(forced));
        let all: Vec<f64> = own.iter().filter_map(|one| one.perplexity_at_parity).collect();
        let pairs: Vec<(f64, f64)> = own
            .iter()
            .zip(&forced)
            .filter_map(|(own, forced)| Some((own.perplexity_at_parity?, forced.perplexity_at_parity?)))
            .collect();
        let median = |side: fn(&(f64, f64)) -> f64| quantile(&pairs.iter().map(side).collect::<Vec<_>>(), 0.5);
        Self {
            contexts: own.len(),
            perplexity: [0.1, 0.5, 0.9].map(|q| quantile(&all, q)),
            both: (pairs.len(), median(|pair| pair.0), median(|pair| pair.1)),
        }
    }
}

/// A line a method.
pub(super) fn methods(found: &[Found<'_>]) -> Table {
    let columns = [
        "method",
        "strength",
        "contexts",
        "reached",
        "=reached_low",
        "=reached_high",
        "sampled_reached",
        "strength_p10",
        "strength_p50",
        "strength_p90",
        "=perplexity_at_parity_p10",
        "perplexity_at_parity",
        "=perplexity_at_parity_p90",
        "in_both",
        "perplexity_in_both",
        "do_perplexity_in_both",
    ];
    let mut table = Table::new("methods", &columns);
    for one in found {
        let (cost, overall) = (Cost::of(one, &found[0]), one.1.overall(None));
        let method = one.0.method;
        let mut cells: Vec<Cell> = vec![method.name().into(), method.strength().into(), cost.contexts.into()];
        cells.extend(share(overall.reached));
        cells.push(overall.sampled_reached.map_or(Cell::Nothing, |reached| Cell::Share(reached.value)));
        cells.extend(overall.k.map(rounded));
        cells.extend(cost.perplexity.map(rounded));
        cells.extend([cost.both.0.into(), rounded(cost.both.1), rounded(cost.both.2)]);
        table.push(cells);
    }
    table
}

/// Every context under every method, under the concept that pushes against its bias.
pub(super) fn contexts(found: &[Found<'_>]) -> Table {
    let columns =
        ["method", "context", "concept", "strength_at_parity", "sampled_strength_at_parity", "perplexity_at_parity"];
    let mut table = Table::new("contexts_by_method", &columns);
    for (parity, findings) in found {
        for one in findings.each.iter().filter(|one| one.opposes) {
            table.push(vec![
                parity.method.name().into(),
                parity.contexts[one.context].text.clone().into(),
                name(parity, one.concept).into(),
                one.parity.into(),
                one.sampled_parity.into(),
                one.perplexity_at_parity.into(),
            ]);
        }
    }
    table
}

/// The section about the methods.
pub(super) fn add_to(page: &mut Page, found: &[Found<'_>]) {
    page.section("Beside other methods").text(
        "Each method reads the same contexts on the same server, its continuations are drawn and judged alike, and its parity is found \
         like that of do(c,k): exactly, over its own strengths. FUDGE weighs the next token by a discriminator that was trained on the \
         concept's sentences; steering adds the difference of the means of the residual stream; prompting has an instruction before \
         the context, which has no strengths, so a context counts as brought to parity where it turns the sign. The last columns \
         compare with do(c,k) in the contexts that both bring to parity.",
    );
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
    let row = |one: &Found<'_>| {
        let (cost, overall) = (Cost::of(one, &found[0]), one.1.overall(None));
        let [low, middle, high] = overall.k;
        let percent = |interval: Option<lode_eval::bootstrap::Interval>| {
            interval.map_or(String::new(), |one| {
                format!("{:.1} % ({:.1}–{:.1})", one.value * 100.0, one.low * 100.0, one.high * 100.0)
            })
        };
        let is_do = one.0.method == Method::Do;
        vec![
            one.0.method.title().to_owned(),
            percent(overall.reached),
            percent(overall.sampled_reached),
            one.0.method.strength().to_owned(),
            middle.map_or(String::new(), |_| format!("{} ({}–{})", number(middle), number(low), number(high))),
            number(cost.perplexity[1]),
            if is_do { String::new() } else { cost.both.0.to_string() },
            if is_do { String::new() } else { number(cost.both.1) },
            if is_do { String::new() } else { number(cost.both.2) },
        ]
    };
    let columns = [
        "method",
        "reach parity",
        "sampled",
        "strength",
        "at parity (p10–p90)",
        "perplexity there",
        "in both",
        "its perplexity",
        "do(c,k)'s",
    ];
    page.table(&columns, &found.iter().map(row).collect::<Vec<_>>());
    let mut figures = Vec::new();
    let costs = found.iter().map(|one| {
        let [low, middle, high] = Cost::of(one, &found[0]).perplexity;
        let point = middle.map(|value| Point { value, interval: low.zip(high) });
        (one.0.method.title().to_owned(), point)
    });
    let plain = found[0].1.each.iter().filter(|one| one.opposes).filter_map(|one| one.perplexity).collect::<Vec<_>>();
    let plain = quantile(&plain, 0.5).map(|value| {
        let ends = |q| quantile(&plain, q);
        Point { value, interval: ends(0.1).zip(ends(0.9)) }
    });
    let rows: Vec<(String, Option<Point>)> = [("nothing forced".to_owned(), plain)].into_iter().chain(costs).collect();
    if rows.iter().any(|(_, point)| point.is_some()) {
        let title = "Perplexity at parity: median, p10 to p90".to_owned();
        figures.push(Dots { title, x: "perplexity under the model as it is".to_owned(), rows }.figure());
    }
    let over_grid = |(parity, _): &&Found<'_>| parity.method.learns() && !parity.args.bisect;
    for (parity, findings) in found.iter().skip(1).filter(over_grid) {
        let line = |concept: usize| {
            let point = |&k: &Strength| {
                let (exact, _) = findings.deltas(concept, k);
                mean(&exact).map(|value| Point { value, interval: None })
            };
            let points = parity.ks.iter().map(point).collect();
            Line { name: parity.subjects[concept].concept.name().to_owned(), points }
        };
        let title = format!("{}: {}", parity.method.title(), difference(parity));
        let grid = parity.ks.iter().map(Strength::to_string).collect();
        let (x, lines) = (parity.method.strength().to_owned(), vec![line(0), line(1)]);
        figures.push(Lines { title, x, grid, lines, y: YScale::Even(-0.1, 0.1) }.figure());
    }
    page.figures(&figures);
}
