//! Parity for people and programs.

use std::collections::BTreeMap;

use lode_eval::{
    bootstrap::{Interval, interval},
    page::{Line, Lines, Marked, Page, Point, YScale},
    stats::{mean, quantile},
    words::WordList,
};

use super::{
    Parity,
    beside::{self, Found},
    findings::{Finding, Findings, Overall},
};
use crate::{
    cmd::eval::{
        experts::{Experts, add_to},
        outcome::provenance,
        strength::Strength,
    },
    output::{Cell, Format, Report, Table},
};

/// The answer: for programs every context, for people what they say together.
pub(super) fn report(found: &[Found<'_>], format: Format) -> Report {
    let (parity, findings) = &found[0];
    let (overall, over_k, examples) = (overall(parity, findings), over_k(parity, findings), examples(parity, findings));
    let report = match format {
        Format::Table => Report::of(overall).table(over_k).table(examples),
        _ => Report::of(contexts(parity, findings)).table(overall).table(over_k).table(examples),
    };
    let report = match (found.len(), format) {
        (1, _) => report,
        (_, Format::Table) => report.table(beside::methods(found)),
        _ => report.table(beside::methods(found)).table(beside::contexts(found)),
    };
    let shared = &parity.args.shared;
    report
        .fact("model", shared.run.model.name().to_string())
        .fact("contexts", parity.contexts.len())
        .fact("samples", parity.args.samples)
        .remark("each context counts under the concept that pushes against its own bias; k at parity is interpolated")
}

/// What is brought to zero: `p(she, her) − p(he, his)`.
pub(super) fn difference(parity: &Parity<'_>) -> String {
    let args = parity.args;
    format!("p({}) − p({})", args.first_words.join(", "), args.second_words.join(", "))
}

pub(super) fn name(parity: &Parity<'_>, concept: usize) -> String {
    parity.subjects[concept].concept.to_string()
}

pub(super) fn share(interval: Option<Interval>) -> [Cell; 3] {
    match interval {
        Some(Interval { value, low, high }) => [Cell::Share(value), Cell::Share(low), Cell::Share(high)],
        None => [Cell::Nothing, Cell::Nothing, Cell::Nothing],
    }
}

pub(super) fn rounded(value: Option<f64>) -> Cell {
    value.map_or(Cell::Nothing, Cell::Rounded)
}

fn all_overall(findings: &Findings) -> [Overall; 3] {
    [findings.overall(Some(0)), findings.overall(Some(1)), findings.overall(None)]
}

fn overall(parity: &Parity<'_>, findings: &Findings) -> Table {
    let columns = [
        "concept",
        "contexts",
        "reached",
        "=reached_low",
        "=reached_high",
        "sampled_reached",
        "k_p10",
        "k_p50",
        "k_p90",
        "perplexity",
        "perplexity_at_parity",
        "pearson",
        "spearman",
    ];
    let mut table = Table::new("overall", &columns);
    for one in all_overall(findings) {
        let mut cells: Vec<Cell> = vec![
            one.concept.map_or_else(|| "both".to_owned(), |concept| name(parity, concept)).into(),
            one.contexts.into(),
        ];
        cells.extend(share(one.reached));
        cells.push(one.sampled_reached.map_or(Cell::Nothing, |reached| Cell::Share(reached.value)));
        cells.extend(one.k.map(rounded));
        cells.extend([rounded(one.perplexity), rounded(one.perplexity_at_parity)]);
        cells.extend([rounded(one.pearson), rounded(one.spearman)]);
        table.push(cells);
    }
    table
}

/// The k at which all contexts have a number: those of the grid, unless they were searched.
fn ks<'p>(parity: &'p Parity<'_>) -> &'p [Strength] {
    if parity.args.bisect { &parity.ks[..1] } else { &parity.ks }
}

fn over_k(parity: &Parity<'_>, findings: &Findings) -> Table {
    let columns = [
        "concept",
        "k",
        "delta",
        "=delta_low",
        "=delta_high",
        "delta_p10",
        "delta_p50",
        "delta_p90",
        "first_more_probable",
        "sampled_delta",
        "perplexity",
    ];
    let mut table = Table::new("over_k", &columns);
    for concept in 0..2 {
        for &k in ks(parity) {
            let (exact, sampled) = findings.deltas(concept, k);
            let positive: Vec<f64> = exact.iter().map(|&delta| f64::from(u8::from(delta > 0.0))).collect();
            let drawn = interval(&exact, findings.seed(), mean);
            let mut cells: Vec<Cell> = vec![name(parity, concept).into(), k.into()];
            cells.extend(match drawn {
                Some(Interval { value, low, high }) => [value, low, high].map(Cell::Double),
                None => [Cell::Nothing, Cell::Nothing, Cell::Nothing],
            });
            cells.extend([0.1, 0.5, 0.9].map(|q| quantile(&exact, q).map_or(Cell::Nothing, Cell::Double)));
            cells.push(mean(&positive).map_or(Cell::Nothing, Cell::Share));
            cells.push(mean(&sampled).map_or(Cell::Nothing, Cell::Double));
            cells.push(rounded(perplexity(findings, concept, k)));
            table.push(cells);
        }
    }
    table
}

/// Median over contexts.
fn perplexity(findings: &Findings, concept: usize, k: Strength) -> Option<f64> {
    let contexts = 0..findings.exact[concept].len();
    let all: Vec<f64> = contexts.filter_map(|context| findings.sample(concept, context, k)?.perplexity()).collect();
    quantile(&all, 0.5)
}

fn contexts(parity: &Parity<'_>, findings: &Findings) -> Table {
    let columns = [
        "context",
        "occupation",
        "concept",
        "opposes",
        "bias",
        "k_at_parity",
        "sampled_k_at_parity",
        "perplexity",
        "perplexity_at_parity",
    ];
    let mut table = Table::new("contexts", &columns);
    for one in &findings.each {
        let context = &parity.contexts[one.context];
        table.push(vec![
            context.text.clone().into(),
            context.occupation.clone().into(),
            name(parity, one.concept).into(),
            if one.opposes { "yes" } else { "no" }.into(),
            one.bias.into(),
            one.parity.into(),
            one.sampled_parity.into(),
            one.perplexity.into(),
            one.perplexity_at_parity.into(),
        ]);
    }
    table
}

/// A context whose continuations are shown: the first of an occupation, under the concept that pushes against its bias.
struct Example<'f> {
    finding: &'f Finding,
    /// k and its first continuation.
    texts: Vec<(Strength, String)>,
}

fn shown<'f>(parity: &Parity<'_>, findings: &'f Findings) -> Vec<Example<'f>> {
    let wanted = parity.args.show.iter().filter_map(|occupation| {
        findings.each.iter().find(|one| one.opposes && parity.contexts[one.context].occupation == *occupation)
    });
    let example = |finding: &'f Finding| {
        let by_k = findings.exact[finding.concept][finding.context].keys();
        let text = |&k: &Strength| {
            let texts = &findings.sample(finding.concept, finding.context, k)?.texts;
            texts.first().map(|text| (k, text.clone()))
        };
        Example { finding, texts: by_k.filter_map(text).collect() }
    };
    wanted.map(example).collect()
}

fn examples(parity: &Parity<'_>, findings: &Findings) -> Table {
    let mut table = Table::new("examples", &["concept", "k", "k_at_parity", "text"])
        .if_empty("no continuations to show: nothing was sampled for the occupations of --show");
    for Example { finding, texts } in shown(parity, findings) {
        for (k, text) in texts {
            let whole = format!("{}{text}", parity.contexts[finding.context].text);
            table.push(vec![name(parity, finding.concept).into(), k.into(), rounded(finding.parity), whole.into()]);
        }
    }
    table
}

/// The page.
pub(super) fn page(found: &[Found<'_>], experts: &Experts) -> Page {
    let (parity, findings) = &found[0];
    let args = parity.args;
    let groups = (args.first_words.join(", "), args.second_words.join(", "));
    let mut page = Page::new(
        &format!("Parity in {}", parity.model.name),
        &format!(
            "How many units must be forced until p({}) and p({}) are equal: {} contexts, by the distribution of the next word{}.",
            groups.0,
            groups.1,
            parity.contexts.len(),
            if args.samples > 0 { format!(" and by {} samples each", args.samples) } else { String::new() }
        ),
    );
    summary(&mut page, parity, findings);
    if found.len() > 1 {
        beside::add_to(&mut page, found);
    }
    if !args.bisect {
        curves(&mut page, parity, findings);
    }
    occupations(&mut page, parity, findings);
    texts(&mut page, parity, findings);
    add_to(&mut page, experts);
    let shared = &args.shared;
    let sampling = shared.sampling(args.max_new_tokens).unwrap_or_default();
    let ks: Vec<String> = parity.ks.iter().map(Strength::to_string).collect();
    let more = vec![
        ("concepts", format!("{}, {}", name(parity, 0), name(parity, 1))),
        ("k", if args.bisect { format!("bisection up to {}", ks[ks.len() - 1]) } else { ks.join(", ") }),
        (
            "sampling",
            format!(
                "{} samples, temperature {}, top-k {}, top-p {}, at most {} tokens, seed {}",
                args.samples,
                sampling.temperature,
                sampling.top_k,
                sampling.top_p,
                sampling.max_new_tokens,
                sampling.seed
            ),
        ),
    ];
    page.section("How this came about").facts(&provenance(parity.model, more));
    page.facts(&parity.baselines.facts(parity.subjects));
    page.text(
        "Exactly: the sums of the probabilities of the words of a group after the context, each with a space before it, from the \
         model's full softmax. Sampled: the share of continuations in which a word of the group stands within the first five \
         characters. The parity point is where the difference first changes its sign, interpolated between two k. Perplexity: per \
         token of the continuations, under the model with nothing forced.",
    );
    page
}

fn summary(page: &mut Page, parity: &Parity<'_>, findings: &Findings) {
    page.section("Parity").text(
        "Each context counts under the concept that pushes against its bias. Perplexities are medians over the contexts that reach \
         parity, with nothing forced and at parity; the correlation is between k at parity and the size of the bias.",
    );
    let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}").replace('-', "−"));
    let percent = |interval: Option<Interval>| {
        interval.map_or(String::new(), |Interval { value, low, high }| {
            format!("{:.1} % ({:.1}–{:.1})", value * 100.0, low * 100.0, high * 100.0)
        })
    };
    let row = |one: Overall| {
        let mut row = vec![
            one.concept.map_or_else(|| "both".to_owned(), |concept| name(parity, concept)),
            one.contexts.to_string(),
            percent(one.reached),
            percent(one.sampled_reached),
        ];
        row.extend(one.k.map(number));
        row.extend([one.perplexity, one.perplexity_at_parity, one.pearson, one.spearman].map(number));
        row
    };
    let columns = [
        "concept",
        "contexts",
        "reach parity",
        "sampled",
        "k p10",
        "k p50",
        "k p90",
        "perplexity",
        "at parity",
        "Pearson",
        "Spearman",
    ];
    page.table(&columns, &all_overall(findings).map(row));
}

fn curves(page: &mut Page, parity: &Parity<'_>, findings: &Findings) {
    let grid: Vec<String> = parity.ks.iter().map(Strength::to_string).collect();
    let x = || "k units forced".to_owned();
    let line = |name: &str, of: &dyn Fn(Strength) -> Option<Point>| Line {
        name: name.to_owned(),
        points: parity.ks.iter().map(|&k| of(k)).collect(),
    };
    let mut figures = Vec::new();
    for concept in 0..2 {
        let exact = |k: Strength| {
            let (exact, _) = findings.deltas(concept, k);
            let interval = quantile(&exact, 0.1).zip(quantile(&exact, 0.9));
            mean(&exact).map(|value| Point { value, interval })
        };
        let sampled = |k: Strength| mean(&findings.deltas(concept, k).1).map(|value| Point { value, interval: None });
        let mut lines = vec![line("exact", &exact)];
        if !findings.sampled.is_empty() {
            lines.push(line("sampled", &sampled));
        }
        let title = format!("do({}): {}", name(parity, concept), difference(parity));
        figures.push(Lines { title, x: x(), grid: grid.clone(), lines, y: YScale::Even(-0.1, 0.1) }.figure());
    }
    if !findings.sampled.is_empty() {
        let of = |concept: usize| {
            let point =
                move |k: Strength| perplexity(findings, concept, k).map(|value| Point { value, interval: None });
            line(parity.subjects[concept].concept.name(), &point)
        };
        let lines = vec![of(0), of(1)];
        let title = "Perplexity of the continuations, median over contexts".to_owned();
        figures.push(Lines { title, x: x(), grid: grid.clone(), lines, y: YScale::Logarithmic }.figure());
    }
    page.section("Over k")
        .text("Means over all contexts; bands reach from the 10th to the 90th percentile of the contexts.");
    page.figures(&figures);
}

/// Means over templates, the most biased first.
fn occupations(page: &mut Page, parity: &Parity<'_>, findings: &Findings) {
    let mut by_occupation: BTreeMap<&str, Vec<&Finding>> = BTreeMap::new();
    for one in findings.each.iter().filter(|one| one.opposes) {
        let occupation = parity.contexts[one.context].occupation.as_str();
        if !occupation.is_empty() {
            by_occupation.entry(occupation).or_default().push(one);
        }
    }
    if by_occupation.is_empty() {
        return;
    }
    let mut rows: Vec<(f64, Vec<String>)> = Vec::new();
    for (occupation, all) in by_occupation {
        let numbers = |of: fn(&Finding) -> Option<f64>| -> Vec<f64> { all.iter().filter_map(|one| of(one)).collect() };
        let ks = numbers(|one| one.parity);
        let bias = mean(&numbers(|one| one.bias)).unwrap_or(0.0);
        let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.1}"));
        rows.push((
            bias,
            vec![
                occupation.to_owned(),
                format!("{bias:.3}").replace('-', "−"),
                format!("{} of {}", ks.len(), all.len()),
                number(quantile(&ks, 0.5)),
                number(quantile(&numbers(|one| one.parity.and(one.perplexity)), 0.5)),
                number(quantile(&numbers(|one| one.perplexity_at_parity), 0.5)),
            ],
        ));
    }
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
    page.section("Occupations")
        .text(&format!(
            "Bias is the mean of {} over the templates; k and perplexities are medians over them.",
            difference(parity)
        ))
        .table(&["occupation", "bias", "reach parity", "k", "perplexity", "at parity"], &rows);
}

fn texts(page: &mut Page, parity: &Parity<'_>, findings: &Findings) {
    let examples = shown(parity, findings);
    let words = WordList::new(parity.args.first_words.iter().chain(&parity.args.second_words));
    let Ok(words) = words else { return };
    if examples.iter().all(|example| example.texts.is_empty()) {
        return;
    }
    page.section("Continuations").text("The first of each k, none picked; the words of both groups are marked.");
    for Example { finding, texts } in examples {
        let context = &parity.contexts[finding.context].text;
        let at = finding.parity.map_or_else(|| "no parity".to_owned(), |k| format!("parity at k = {k:.1}"));
        let samples: Vec<Marked> = texts
            .into_iter()
            .map(|(k, text)| Marked {
                label: format!("k = {k}"),
                prompt: context.clone(),
                places: words.places(&text),
                text,
            })
            .collect();
        page.part(&format!("{context}, do({}): {at}", name(parity, finding.concept))).samples(&samples);
    }
}
