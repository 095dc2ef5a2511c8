//! TCAV for people and programs.

use lode_eval::{
    bootstrap::Interval,
    page::{Line, Lines, Page, Point, YScale},
};

use super::{
    Tcav,
    findings::{Finding, LEVEL, Side},
};
use crate::{
    cmd::eval::outcome::provenance,
    output::{Cell, Format, Report, Table},
};

/// The answer: for programs every run too.
pub(super) fn report(tcav: &Tcav<'_>, findings: &[Finding], format: Format) -> Report {
    let report = Report::of(all(tcav, findings));
    let report = if format == Format::Table { report } else { report.table(runs(tcav, findings)).table(words(tcav)) };
    report
        .fact("model", tcav.args.run.model.name().to_string())
        .fact("prompts", tcav.prompts.len())
        .fact("random_sets", tcav.args.random_sets)
        .fact("epsilon", Cell::Double(tcav.args.epsilon))
        .remark(
            "score: the share of prompts after which moving the residual stream along the vector makes the concept's words more \
             probable; p is of Welch's t-test against vectors of random sets, p_corrected times the number of layers tested",
        )
}

fn name(tcav: &Tcav<'_>, concept: usize) -> String {
    tcav.subjects[concept].id.to_string()
}

fn three(interval: Option<Interval>, cell: fn(f64) -> Cell) -> [Cell; 3] {
    match interval {
        Some(Interval { value, low, high }) => [cell(value), cell(low), cell(high)],
        None => [Cell::Nothing, Cell::Nothing, Cell::Nothing],
    }
}

fn all(tcav: &Tcav<'_>, findings: &[Finding]) -> Table {
    let columns = [
        "concept",
        "layer",
        "accuracy",
        "=accuracy_low",
        "=accuracy_high",
        "random_accuracy",
        "=random_accuracy_low",
        "=random_accuracy_high",
        "score",
        "=score_low",
        "=score_high",
        "random_score",
        "=random_score_low",
        "=random_score_high",
        "=t",
        "=degrees_of_freedom",
        "=p",
        "p_corrected",
        "significant",
        "sensitivity",
        "=sensitivity_low",
        "=sensitivity_high",
        "=random_sensitivity",
        "=random_sensitivity_low",
        "=random_sensitivity_high",
        "=typical_length",
        "=finer_step_same_sign",
        "=finer_step_change",
        "=lost",
    ];
    let mut table = Table::new("tcav", &columns);
    for one in findings {
        let mut cells: Vec<Cell> = vec![name(tcav, one.concept).into(), one.block.into()];
        for interval in [one.with.accuracy, one.random.accuracy, one.with.score, one.random.score] {
            cells.extend(three(interval, Cell::Share));
        }
        let test = one.test;
        cells.extend([
            test.map(|test| test.t).filter(|t| t.is_finite()).into(),
            test.map(|test| test.freedom).into(),
            test.map(|test| test.p).into(),
            one.corrected.into(),
            one.is_significant().map(|is| if is { "yes" } else { "no" }).into(),
        ]);
        for interval in [one.with.sensitivity, one.random.sensitivity] {
            cells.extend(three(interval, Cell::Double));
        }
        cells.push(Cell::Double(one.length));
        cells.push(one.check.map_or(Cell::Nothing, |check| Cell::Share(check.same_sign)));
        cells.push(one.check.map_or(Cell::Nothing, |check| Cell::Double(check.change)));
        cells.push(one.lost.into());
        table.push(cells);
    }
    table
}

/// Every vector by itself.
fn runs(tcav: &Tcav<'_>, findings: &[Finding]) -> Table {
    let mut table = Table::new("runs", &["concept", "layer", "set", "run", "accuracy", "score", "sensitivity"]);
    for one in findings {
        for (set, side) in [("concept", &one.with), ("random", &one.random)] {
            for (number, run) in side.runs.iter().enumerate() {
                table.push(vec![
                    name(tcav, one.concept).into(),
                    one.block.into(),
                    set.into(),
                    (number + 1).into(),
                    Cell::Share(run.accuracy),
                    run.score.map_or(Cell::Nothing, Cell::Share),
                    run.sensitivity.into(),
                ]);
            }
        }
    }
    table
}

/// The words whose probability is meant.
fn words(tcav: &Tcav<'_>) -> Table {
    let mut table = Table::new("words", &["concept", "words"]);
    for subject in &tcav.subjects {
        table.push(vec![subject.id.to_string().into(), subject.shown_words().into()]);
    }
    table
}

/// The page.
pub(super) fn page(tcav: &Tcav<'_>, findings: &[Finding]) -> Page {
    let (concepts, prompts, runs) = (tcav.subjects.len(), tcav.prompts.len(), tcav.args.random_sets);
    let mut page = Page::new(
        &format!("TCAV in {}", tcav.model.name),
        &format!(
            "After which layers the residual stream holds a concept, and whether the model uses it to foretell the concept's words: \
             {concepts} concepts, {prompts} prompts, {runs} vectors of the concept and {runs} of random sets after each layer. Bands and \
             brackets are 95 % bootstrap intervals over the vectors."
        ),
    );
    scores(&mut page, tcav, findings);
    table(&mut page, tcav, findings);
    let sizes = tcav.subjects.iter().map(|subject| {
        let vectors = &subject.vectors;
        format!("{}: {} and {}", subject.id, vectors.trained, vectors.held_out)
    });
    let layers: Vec<String> = tcav.layers.iter().map(u32::to_string).collect();
    let more = vec![
        ("layers", layers.join(", ")),
        ("sentences of a set, trained on and held out", sizes.collect::<Vec<_>>().join(" · ")),
        ("epsilon", format!("{} of the typical length", tcav.args.epsilon)),
        ("seed", tcav.args.run.seed.to_string()),
        ("prompts", tcav.prompts.join(" · ")),
    ];
    page.section("How this came about").facts(&provenance(tcav.model, more));
    page.text(
        "Activations: the mean of the residual stream after a block over a sentence's tokens but the last. A concept activation vector is \
         the unit normal of a logistic regression (squared penalty, C = 1, activations centred and divided by one number) that tells \
         sentences with the concept from as many without it; accuracy is on the fifth of them that was held out. A random set's vector \
         tells sentences without the concept from other such sentences. Every vector has a draw of its own of the sentences.",
    );
    page.text(
        "Sensitivity: the derivative of the logarithm of the probability that one of the concept's words comes next after a prompt, along \
         the vector, in nats per typical length of the activations: a central difference of exact probabilities with the stream moved \
         at every token of the prompt. The score is the share of prompts with a positive one. Scores of the concept's vectors are \
         compared with those of random sets by Welch's two-sided t-test, and p is multiplied by the number of layers tested (Bonferroni); \
         vectors share sentences, so runs are less independent than the test takes them to be.",
    );
    let lists: Vec<Vec<String>> =
        tcav.subjects.iter().map(|subject| vec![subject.id.to_string(), subject.shown_words()]).collect();
    page.part("Words that may come next").table(&["concept", "words"], &lists);
    page
}

fn scores(page: &mut Page, tcav: &Tcav<'_>, findings: &[Finding]) {
    page.section("Over the layers").text(
        "Scores beside those of random sets, which lie about one half with a spread of their own; accuracy beside that on random sets, \
         where there is nothing to tell apart.",
    );
    let grid: Vec<String> = tcav.layers.iter().map(u32::to_string).collect();
    let mut figures = Vec::new();
    for (concept, subject) in tcav.subjects.iter().enumerate() {
        let line = |name: &str, of: &dyn Fn(&Finding) -> Option<Interval>| {
            let own = findings.iter().filter(|one| one.concept == concept);
            let point = |one: &Finding| {
                of(one).map(|Interval { value, low, high }| Point { value, interval: Some((low, high)) })
            };
            Line { name: name.to_owned(), points: own.map(point).collect() }
        };
        let drawn = |what: &str, of: fn(&Side) -> Option<Interval>| {
            let lines = vec![line("concept", &|one| of(&one.with)), line("random", &|one| of(&one.random))];
            let (title, x) = (format!("{}: {what}", subject.id), "after block".to_owned());
            Lines { title, x, grid: grid.clone(), lines, y: YScale::Even(0.0, 1.0) }.figure()
        };
        figures.push(drawn("TCAV score", |side| side.score));
        figures.push(drawn("accuracy on held-out sentences", |side| side.accuracy));
    }
    page.figures(&figures);
}

fn table(page: &mut Page, tcav: &Tcav<'_>, findings: &[Finding]) {
    page.section("All layers").text(&format!(
        "p is corrected for the number of layers; below {LEVEL} the scores differ from those of random sets by more than chance. The last \
         columns compare the first vector's sensitivities with those of a step a quarter as long: the share of prompts whose sign \
         stays, and the median change."
    ));
    let percent = |interval: Option<Interval>| {
        interval.map_or(String::new(), |Interval { value, low, high }| {
            format!("{:.0} % ({:.0}–{:.0})", value * 100.0, low * 100.0, high * 100.0)
        })
    };
    let number = |interval: Option<Interval>| {
        interval.map_or(String::new(), |Interval { value, low, high }| {
            format!("{value:.2} ({low:.2} to {high:.2})").replace('-', "−")
        })
    };
    let row = |one: &Finding| {
        vec![
            name(tcav, one.concept),
            one.block.to_string(),
            percent(one.with.accuracy),
            percent(one.random.accuracy),
            percent(one.with.score),
            percent(one.random.score),
            one.corrected.map_or(String::new(), shown_p),
            one.is_significant().map_or(String::new(), |is| if is { "yes" } else { "no" }.to_owned()),
            number(one.with.sensitivity),
            number(one.random.sensitivity),
            one.check.map_or(String::new(), |check| format!("{:.0} %", check.same_sign * 100.0)),
            one.check.map_or(String::new(), |check| format!("{:.2} %", check.change * 100.0)),
        ]
    };
    let columns = [
        "concept",
        "block",
        "accuracy",
        "random's",
        "score",
        "random's",
        "p",
        "significant",
        "sensitivity",
        "random's",
        "same sign",
        "change",
    ];
    page.table(&columns, &findings.iter().map(row).collect::<Vec<_>>());
}

/// Two digits that count.
fn shown_p(p: f64) -> String {
    if p >= 0.001 { format!("{p:.3}") } else { format!("{p:.1e}").replace('-', "−") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_p_values_keep_their_digits() {
        assert_eq!([1.0, 0.0451, 0.000_123].map(shown_p), ["1.000", "0.045", "1.2e−4"]);
    }
}
