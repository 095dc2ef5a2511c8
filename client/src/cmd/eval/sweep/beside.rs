//! do(c,k) beside other methods and controls: what presence costs in perplexity.

use lode_eval::{
    bootstrap::Interval,
    page::{Page, Path, Plane},
    stats::mean,
};

use super::{
    Sweep,
    measure::{FLUENT, Row, best_of},
    plan::Control,
    show::{bracketed, name, percent},
};
use crate::{
    cmd::eval::strength::Strength,
    output::{Cell, Table},
};

/// do(c,k), then the methods that were asked for.
fn controls(sweep: &Sweep<'_>) -> Vec<Control> {
    let mut found = vec![Control::Do];
    for place in &sweep.plan.places {
        if matches!(place.control, Control::Method(_)) && !found.contains(&place.control) {
            found.push(place.control);
        }
    }
    found
}

/// Strengths of a control, ascending.
fn strengths(sweep: &Sweep<'_>, control: Control) -> Vec<Strength> {
    let own = sweep.plan.places.iter().filter(|place| place.control == control && place.concept == 0);
    own.map(|place| place.k).collect()
}

/// Means over concepts of a control at a strength.
fn means(rows: &[Row], control: Control, strength: Strength) -> impl Fn(fn(&Row) -> Option<Interval>) -> Option<f64> {
    let own = rows.iter().filter(move |row| row.place.control == control && row.place.k == strength);
    let own: Vec<&Row> = own.collect();
    move |of| mean(&own.iter().filter_map(|row| of(row)).map(|interval| interval.value).collect::<Vec<_>>())
}

/// Each method at its best strength for each concept.
pub(super) fn best_table(sweep: &Sweep<'_>, rows: &[Row]) -> Table {
    let columns = ["concept", "method", "strength", "presence", "judged_presence", "perplexity"];
    let mut table = Table::new("methods", &columns);
    for concept in 0..sweep.subjects.len() {
        for control in controls(sweep) {
            let best = best_of(rows, concept, control);
            let share = |of: fn(&Row) -> Option<Interval>| {
                best.and_then(of).map_or(Cell::Nothing, |interval| Cell::Share(interval.value))
            };
            table.push(vec![
                name(sweep, concept).into(),
                control.name().into(),
                best.map(|row| row.place.k).into(),
                share(|row| row.presence),
                share(|row| row.judged),
                best.and_then(|row| row.perplexity).map_or(Cell::Nothing, |own| Cell::Rounded(own.value)),
            ]);
        }
    }
    table
}

/// Means over concepts, by method and strength.
pub(super) fn by_strength(sweep: &Sweep<'_>, rows: &[Row]) -> Table {
    let columns = ["method", "strength", "presence", "judged_presence", "perplexity", "self_bleu_4", "distinct_2"];
    let mut table = Table::new("methods_by_strength", &columns);
    for control in controls(sweep).into_iter().skip(1) {
        for strength in strengths(sweep, control) {
            let mean = means(rows, control, strength);
            table.push(vec![
                control.name().into(),
                strength.into(),
                mean(|row| row.presence).map_or(Cell::Nothing, Cell::Share),
                mean(|row| row.judged).map_or(Cell::Nothing, Cell::Share),
                mean(|row| row.perplexity).map_or(Cell::Nothing, Cell::Rounded),
                mean(|row| row.self_bleu[1]).into(),
                mean(|row| row.distinct[1]).into(),
            ]);
        }
    }
    table
}

/// How well the judges do that were trained on the concepts' sentences.
pub(super) fn classifiers(sweep: &Sweep<'_>) -> Table {
    let mut table = Table::new("classifiers", &["concept", "held_out", "accuracy"])
        .if_empty("no classifier judged: the concepts' sentences are unknown (--sentences)");
    for (concept, classifier) in sweep.classifiers.iter().enumerate() {
        if let Some(classifier) = classifier {
            let (held_out, accuracy) = (classifier.held_out.into(), Cell::Share(classifier.accuracy));
            table.push(vec![name(sweep, concept).into(), held_out, accuracy]);
        }
    }
    table
}

/// The sections about methods and judges.
pub(super) fn add_to(page: &mut Page, sweep: &Sweep<'_>, rows: &[Row]) {
    let controls = controls(sweep);
    if controls.len() > 1 {
        page.section("Beside other methods").text(&format!(
            "Each method at the strength that shows the concept most often in texts at most {FLUENT} times as perplexing as unforced \
             ones: k of do(c,k), lambda of FUDGE, percent of the difference of the means of steering; prompting has none."
        ));
        let row = |concept: usize, control: Control| {
            let best = best_of(rows, concept, control);
            let share = |interval: Option<Interval>| interval.map_or(String::new(), percent);
            vec![
                name(sweep, concept),
                control.title().to_owned(),
                best.map_or_else(|| "none".to_owned(), |row| row.place.k.to_string()),
                share(best.and_then(|row| row.presence)),
                share(best.and_then(|row| row.judged)),
                best.and_then(|row| row.perplexity).map_or(String::new(), bracketed),
            ]
        };
        let concepts = 0..sweep.subjects.len();
        let lines: Vec<Vec<String>> =
            concepts.flat_map(|concept| controls.iter().map(move |&control| row(concept, control))).collect();
        let paths = controls.iter().map(|&control| {
            let point = |strength| {
                let mean = means(rows, control, strength);
                mean(|row| row.perplexity).zip(mean(|row| row.presence))
            };
            let plain = means(rows, Control::Nothing, Strength::NONE);
            let plain = plain(|row| row.perplexity).zip(plain(|row| row.presence));
            let points = plain.into_iter().chain(strengths(sweep, control).into_iter().filter_map(point)).collect();
            Path { name: control.title().to_owned(), points }
        });
        let paths = paths.collect();
        let title = "Share of texts that show the concept, and perplexity: means over all concepts".to_owned();
        page.figures(&[Plane { title, x: "perplexity under the model as it is".to_owned(), paths }.figure()]);
        page.text("A curve begins with nothing forced and has a point for each strength: the more to the left and above, the better.");
        page.table(&["concept", "method", "strength", "presence", "judged", "perplexity"], &lines);
    }
    let judges: Vec<Vec<String>> = sweep
        .classifiers
        .iter()
        .enumerate()
        .filter_map(|(concept, classifier)| {
            let classifier = classifier.as_ref()?;
            let accuracy = format!("{:.1} %", classifier.accuracy * 100.0);
            Some(vec![name(sweep, concept), classifier.held_out.to_string(), accuracy])
        })
        .collect();
    if !judges.is_empty() {
        page.section("Judges").text(
            "The column judged has the share of texts that a classifier takes for texts with the concept: logistic regression over words \
             and pairs of words, trained on four fifths of the concept's own sentences. It tells so many of the others right:",
        );
        page.table(&["concept", "held-out sentences", "told right"], &judges);
    }
}
