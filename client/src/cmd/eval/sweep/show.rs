//! A sweep for people and programs.

use lode_domain::record::ModelRecord;
use lode_eval::{
    bootstrap::Interval,
    page::{Line, Lines, Marked, Page, Point, YScale},
};

use super::{
    Sweep, Written, beside,
    measure::{FLUENT, Row, at, best},
    plan::Control,
};
use crate::{
    cmd::eval::{
        experts::{Experts, add_to},
        outcome::provenance,
        strength::Strength,
    },
    output::{Cell, Format, Report, Table},
};

/// In the order of the drawings.
const CONTROLS: [Control; 5] = [Control::Do, Control::Random, Control::Next, Control::Zero, Control::Other];

/// The answer: for programs every line, for people the best k of each concept beside the controls, and a text of each.
pub(super) fn report(sweep: &Sweep<'_>, rows: &[Row], written: &[Written], format: Format) -> Report {
    let (all, best, texts) = (all(sweep, rows), best_table(sweep, rows), texts(sweep, written));
    let report = match format {
        Format::Table => Report::of(best).table(by_k(sweep, rows)).table(texts),
        _ => Report::of(all).table(best).table(by_k(sweep, rows)).table(texts),
    };
    let compares = sweep.plan.places.iter().any(|place| matches!(place.control, Control::Method(_)));
    let report = if compares {
        report.table(beside::best_table(sweep, rows)).table(beside::by_strength(sweep, rows))
    } else {
        report
    };
    let report = if format == Format::Table { report } else { report.table(beside::classifiers(sweep)) };
    let samples = sweep.args.samples;
    report.fact("model", sweep.args.shared.run.model.name().to_string()).fact("texts_a_condition", samples).remark(format!(
        "best k: the share that shows the concept is largest among those k whose texts are at most {FLUENT} times as perplexing \
         as unforced ones"
    ))
}

/// A value and its interval, three cells.
fn three(interval: Option<Interval>, cell: fn(f64) -> Cell) -> [Cell; 3] {
    match interval {
        Some(Interval { value, low, high }) => [cell(value), cell(low), cell(high)],
        None => [Cell::Nothing, Cell::Nothing, Cell::Nothing],
    }
}

fn all(sweep: &Sweep<'_>, rows: &[Row]) -> Table {
    let mut table = Table::new(
        "sweep",
        &[
            "concept",
            "forced",
            "k",
            "texts",
            "broke_off",
            "presence",
            "presence_low",
            "presence_high",
            "judged_presence",
            "judged_presence_low",
            "judged_presence_high",
            "perplexity",
            "perplexity_low",
            "perplexity_high",
            "judge_perplexity",
            "judge_perplexity_low",
            "judge_perplexity_high",
            "self_bleu_3",
            "self_bleu_3_low",
            "self_bleu_3_high",
            "self_bleu_4",
            "self_bleu_4_low",
            "self_bleu_4_high",
            "distinct_1",
            "distinct_1_low",
            "distinct_1_high",
            "distinct_2",
            "distinct_2_low",
            "distinct_2_high",
        ],
    );
    for row in rows {
        let mut cells: Vec<Cell> = vec![
            name(sweep, row.place.concept).into(),
            row.place.control.name().into(),
            row.place.k.into(),
            row.texts.into(),
            row.broke_off.into(),
        ];
        cells.extend(three(row.presence, Cell::Share));
        cells.extend(three(row.judged, Cell::Share));
        let others = [row.perplexity, row.judge].into_iter().chain(row.self_bleu).chain(row.distinct);
        cells.extend(others.flat_map(|interval| three(interval, Cell::Double)));
        table.push(cells);
    }
    table
}

pub(super) fn name(sweep: &Sweep<'_>, concept: usize) -> String {
    sweep.subjects[concept].concept.to_string()
}

/// The best k of each concept, and what the controls do at that k.
fn best_table(sweep: &Sweep<'_>, rows: &[Row]) -> Table {
    let columns = [
        "concept",
        "k",
        "presence",
        "perplexity",
        "unforced_presence",
        "unforced_perplexity",
        "random_presence",
        "next_presence",
        "zero_presence",
        "other_presence",
    ];
    let mut table = Table::new("best", &columns);
    for concept in 0..sweep.subjects.len() {
        let best = best(rows, concept);
        let k = best.map(|row| row.place.k);
        let control = |control| k.and_then(|k| at(rows, concept, control, k));
        let presence = |row: Option<&Row>| {
            row.and_then(|row| row.presence).map_or(Cell::Nothing, |presence| Cell::Share(presence.value))
        };
        let perplexity = |row: Option<&Row>| {
            row.and_then(|row| row.perplexity).map_or(Cell::Nothing, |perplexity| Cell::Rounded(perplexity.value))
        };
        let plain = at(rows, concept, Control::Nothing, Strength::NONE);
        table.push(vec![
            name(sweep, concept).into(),
            k.into(),
            presence(best),
            perplexity(best),
            presence(plain),
            perplexity(plain),
            presence(control(Control::Random)),
            presence(control(Control::Next)),
            presence(control(Control::Zero)),
            presence(control(Control::Other)),
        ]);
    }
    table
}

/// Means over concepts, by k and control.
fn by_k(sweep: &Sweep<'_>, rows: &[Row]) -> Table {
    let columns = ["forced", "k", "presence", "perplexity", "self_bleu_3", "self_bleu_4", "distinct_1", "distinct_2"];
    let mut table = Table::new("means", &columns);
    for control in [Control::Nothing].into_iter().chain(CONTROLS) {
        for &k in &sweep.plan.ks {
            let own: Vec<&Row> = rows.iter().filter(|row| row.place.control == control && row.place.k == k).collect();
            if own.is_empty() {
                continue;
            }
            let mean = |of: &dyn Fn(&Row) -> Option<Interval>| {
                let values: Vec<f64> = own.iter().filter_map(|row| of(row)).map(|interval| interval.value).collect();
                lode_eval::stats::mean(&values)
            };
            let rounded = |value: Option<f64>| value.map_or(Cell::Nothing, Cell::Double);
            table.push(vec![
                control.name().into(),
                k.into(),
                mean(&|row| row.presence).map_or(Cell::Nothing, Cell::Share),
                mean(&|row| row.perplexity).map_or(Cell::Nothing, Cell::Rounded),
                rounded(mean(&|row| row.self_bleu[0])),
                rounded(mean(&|row| row.self_bleu[1])),
                rounded(mean(&|row| row.distinct[0])),
                rounded(mean(&|row| row.distinct[1])),
            ]);
        }
    }
    table
}

/// The first texts of every concept and k: nothing is picked.
fn texts(sweep: &Sweep<'_>, written: &[Written]) -> Table {
    let mut table = Table::new("texts", &["concept", "k", "text"]);
    for place in sweep.plan.places.iter().filter(|place| matches!(place.control, Control::Nothing | Control::Do)) {
        for text in written[place.cell].texts.iter().take(1) {
            let whole = format!("{}{}", sweep.prompts[text.prompt], text.text);
            table.push(vec![name(sweep, place.concept).into(), place.k.into(), whole.into()]);
        }
    }
    table
}

/// The page.
pub(super) fn page(
    sweep: &Sweep<'_>,
    (model, judge): (&ModelRecord, Option<&ModelRecord>),
    (rows, written): (&[Row], &[Written]),
    experts: &Experts,
) -> Page {
    let (concepts, samples) = (sweep.subjects.len(), sweep.args.samples);
    let mut page = Page::new(
        &format!("do(c,k) in {}", model.name),
        &format!(
            "How often texts show a concept when its k best units are forced, and what that costs: {concepts} concepts, {samples} \
             texts a condition, controls beside them. Bands and brackets are 95 % bootstrap intervals."
        ),
    );
    summary(&mut page, sweep, rows);
    curves(&mut page, sweep, rows);
    beside::add_to(&mut page, sweep, rows);
    samples_of(&mut page, sweep, written);
    add_to(&mut page, experts);
    page.section("All numbers").table(&COLUMNS, &rows.iter().map(|row| cells(sweep, row)).collect::<Vec<_>>());
    let sampling = format!(
        "temperature {}, top-k {}, top-p {}, at most {} tokens, seed {}",
        shown(sweep.args.shared.sampling(1).map_or(f64::NAN, |sampling| sampling.temperature.into())),
        sweep.args.shared.sampling(1).map_or(0, |sampling| sampling.top_k),
        shown(sweep.args.shared.sampling(1).map_or(f64::NAN, |sampling| sampling.top_p.into())),
        sweep.args.max_new_tokens,
        sweep.args.shared.run.seed
    );
    let mut more = vec![("sampling", sampling), ("prompts", sweep.prompts.join(" · "))];
    if let Some(judge) = judge {
        more.push(("judge", format!("{} ({}), hash {}", judge.name, judge.family, judge.hash)));
    }
    page.section("How this came about").facts(&provenance(model, more));
    page.facts(&sweep.baselines.facts(&sweep.subjects));
    page.text(
        "Presence: a text counts if it has one of the concept's words or a regular inflection of one. Perplexity: per token of \
         what was written, given the prompt, under the model with nothing forced. Self-BLEU: each text against all others of its \
         condition, smoothed as nltk's method 1. Distinct-n: distinct n-grams over all. Intervals: 1,000 draws of texts, with the \
         texts that they are compared with left as they are.",
    );
    let lists: Vec<Vec<String>> = (sweep.subjects.iter().zip(&sweep.words))
        .map(|(subject, words)| vec![subject.concept.to_string(), words.entries.join(", ")])
        .collect();
    page.part("Words that show the concepts").table(&["concept", "words"], &lists);
    page
}

fn summary(page: &mut Page, sweep: &Sweep<'_>, rows: &[Row]) {
    let share = |interval: Option<Interval>| interval.map_or(String::new(), percent);
    let number = |interval: Option<Interval>| interval.map_or(String::new(), bracketed);
    let line = |concept: usize| {
        let best = best(rows, concept);
        let k = best.map(|row| row.place.k);
        let control = |control| share(k.and_then(|k| at(rows, concept, control, k)).and_then(|row| row.presence));
        let plain = at(rows, concept, Control::Nothing, Strength::NONE);
        vec![
            name(sweep, concept),
            k.map_or_else(|| "none".to_owned(), |k| k.to_string()),
            share(best.and_then(|row| row.presence)),
            share(plain.and_then(|row| row.presence)),
            control(Control::Random),
            control(Control::Next),
            control(Control::Zero),
            control(Control::Other),
            number(best.and_then(|row| row.perplexity)),
            number(plain.and_then(|row| row.perplexity)),
        ]
    };
    let lines: Vec<Vec<String>> = (0..sweep.subjects.len()).map(line).collect();
    page.section("At the best k").text(&format!(
        "The best k shows the concept most often among those whose texts are at most {FLUENT} times as perplexing as unforced \
         ones. The controls are at the same k: random units, the next k units in rank, the experts set to zero, and another \
         concept's experts."
    ));
    let columns = [
        "concept",
        "k",
        "presence",
        "unforced",
        "random",
        "next k",
        "zero",
        "other do",
        "perplexity",
        "unforced perplexity",
    ];
    page.table(&columns, &lines);
}

fn curves(page: &mut Page, sweep: &Sweep<'_>, rows: &[Row]) {
    let ks: Vec<String> = sweep.plan.ks.iter().map(Strength::to_string).collect();
    page.section("Over k");
    let mean = |of: fn(&Row) -> Option<Interval>, control: Control| -> Line {
        let point = |&k: &Strength| {
            let control = if k.is_none() { Control::Nothing } else { control };
            let own = rows.iter().filter(|row| row.place.control == control && row.place.k == k);
            let values: Vec<f64> = own.filter_map(of).map(|interval| interval.value).collect();
            lode_eval::stats::mean(&values).map(|value| Point { value, interval: None })
        };
        Line { name: control.title().to_owned(), points: sweep.plan.ks.iter().map(point).collect() }
    };
    let drawn = |title: String, y: YScale, lines: Vec<Line>| {
        Lines { title, x: "k units forced".to_owned(), grid: ks.clone(), lines, y }.figure()
    };
    let present = |control: &Control| rows.iter().any(|row| row.place.control == *control);
    let controls: Vec<Control> = CONTROLS.into_iter().filter(present).collect();
    let all = |of: fn(&Row) -> Option<Interval>| controls.iter().map(|&control| mean(of, control)).collect();
    page.part("Means over all concepts").figures(&[
        drawn("Share of texts that show the concept".into(), YScale::Even(0.0, 1.0), all(|row| row.presence)),
        drawn("Perplexity".into(), YScale::Logarithmic, all(|row| row.perplexity)),
        drawn("Self-BLEU-4".into(), YScale::Even(0.0, 1.0), all(|row| row.self_bleu[1])),
        drawn("Distinct 2-grams".into(), YScale::Even(0.0, 1.0), all(|row| row.distinct[1])),
    ]);
    page.part("Each concept");
    let line = |concept: usize, of: fn(&Row) -> Option<Interval>, control: Control| {
        let point = |&k: &Strength| {
            let control = if k.is_none() { Control::Nothing } else { control };
            let interval = at(rows, concept, control, k).and_then(of)?;
            // Only do(c,k) has its band: five would hide each other.
            let band = (control != Control::Nothing || k.is_none()).then_some((interval.low, interval.high));
            Some(Point { value: interval.value, interval: band })
        };
        let mut points: Vec<Option<Point>> = sweep.plan.ks.iter().map(point).collect();
        if control != Control::Do {
            points.iter_mut().flatten().for_each(|point| point.interval = None);
        }
        Line { name: control.title().to_owned(), points }
    };
    let mut figures = Vec::new();
    for concept in 0..sweep.subjects.len() {
        let id = name(sweep, concept);
        let lines = |of| controls.iter().map(|&control| line(concept, of, control)).collect();
        figures.push(drawn(format!("{id}: presence"), YScale::Even(0.0, 1.0), lines(|row| row.presence)));
        figures.push(drawn(format!("{id}: perplexity"), YScale::Logarithmic, lines(|row| row.perplexity)));
    }
    page.figures(&figures);
}

fn samples_of(page: &mut Page, sweep: &Sweep<'_>, written: &[Written]) {
    page.section("Texts").text("The first of each condition, none picked; the concept's words are marked.");
    for (concept, words) in sweep.words.iter().enumerate() {
        let own = sweep.plan.places.iter().filter(|place| place.concept == concept);
        let samples: Vec<Marked> = own
            .filter(|place| matches!(place.control, Control::Nothing | Control::Do | Control::Method(_)))
            .flat_map(|place| {
                written[place.cell].texts.iter().take(sweep.args.show).map(|text| Marked {
                    label: match place.control {
                        Control::Method(method) => format!("{} {}", method.title(), place.k),
                        _ => format!("k = {}", place.k),
                    },
                    prompt: sweep.prompts[text.prompt].clone(),
                    text: text.text.clone(),
                    places: words.list.places(&text.text),
                })
            })
            .collect();
        page.part(&name(sweep, concept)).samples(&samples);
    }
}

const COLUMNS: [&str; 12] = [
    "concept",
    "forced",
    "k",
    "presence",
    "judged",
    "perplexity",
    "judge's",
    "Self-BLEU-3",
    "Self-BLEU-4",
    "distinct-1",
    "distinct-2",
    "broke off",
];

fn cells(sweep: &Sweep<'_>, row: &Row) -> Vec<String> {
    let number = |interval: Option<Interval>| interval.map_or(String::new(), bracketed);
    let mut cells = vec![
        name(sweep, row.place.concept),
        row.place.control.title().to_owned(),
        row.place.k.to_string(),
        row.presence.map_or(String::new(), percent),
        row.judged.map_or(String::new(), percent),
        number(row.perplexity),
        number(row.judge),
    ];
    cells.extend(row.self_bleu.into_iter().chain(row.distinct).map(number));
    cells.push(row.broke_off.to_string());
    cells
}

pub(super) fn percent(interval: Interval) -> String {
    let Interval { value, low, high } = interval;
    format!("{:.0} % ({:.0}–{:.0})", value * 100.0, low * 100.0, high * 100.0)
}

pub(super) fn bracketed(interval: Interval) -> String {
    let Interval { value, low, high } = interval;
    format!("{} ({}–{})", shown(value), shown(low), shown(high))
}

/// Three digits that count.
fn shown(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
