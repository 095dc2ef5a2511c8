//! TCAV for people and programs.

use lode_eval::{
    bootstrap::Interval,
    page::{Figure, Line, Lines, Page, Point, YScale},
};

use super::{
    Tcav,
    findings::{Finding, LEVEL, Side, Test},
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
             probable; sensitivity: by how many nats a typical length of it does; p_corrected is of Welch's t-test of the score against \
             vectors of random sets, times the number of layers tested",
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
        "=p_corrected",
        "~p_corrected",
        "significant",
        "sensitivity",
        "=sensitivity_low",
        "=sensitivity_high",
        "=random_sensitivity",
        "=random_sensitivity_low",
        "=random_sensitivity_high",
        "=sensitivity_t",
        "=sensitivity_p",
        "=sensitivity_p_corrected",
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
        let finite = |test: Option<Test>| test.map(|test| test.plain.t).filter(|t| t.is_finite());
        cells.extend([
            finite(one.score_test).into(),
            one.score_test.map(|test| test.plain.freedom).into(),
            one.score_test.map(|test| test.plain.p).into(),
            one.score_test.map(|test| test.corrected).into(),
            one.score_test.map(|test| shown_p(test.corrected)).into(),
            one.is_significant().map(|is| if is { "yes" } else { "no" }).into(),
        ]);
        for interval in [one.with.sensitivity, one.random.sensitivity] {
            cells.extend(three(interval, Cell::Double));
        }
        cells.extend([
            finite(one.sensitivity_test).into(),
            one.sensitivity_test.map(|test| test.plain.p).into(),
            one.sensitivity_test.map(|test| test.corrected).into(),
        ]);
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
         compared with those of random sets by Welch's two-sided t-test, and so are the means over the prompts of the sensitivities; p is \
         multiplied by the number of layers tested (Bonferroni). Vectors share sentences, so runs are less independent than the test takes \
         them to be.",
    );
    let lists: Vec<Vec<String>> =
        tcav.subjects.iter().map(|subject| vec![subject.id.to_string(), subject.shown_words()]).collect();
    page.part("Words that may come next").table(&["concept", "words"], &lists);
    page
}

fn scores(page: &mut Page, tcav: &Tcav<'_>, findings: &[Finding]) {
    let share = YScale::Even(0.0, 1.0);
    let mut figures = Vec::new();
    for concept in 0..tcav.subjects.len() {
        let curves = |of| Curves { tcav, findings, concept, of };
        figures.push(curves(|side| side.score).figure("TCAV score", share));
        let nats = YScale::Even(-0.1, 0.1);
        figures.push(curves(|side| side.sensitivity).figure("sensitivity, nats per typical length", nats));
    }
    page.section("Whether the concepts are used").text(
        "Scores beside those of random sets: a random direction often makes a concept's words more probable after nearly all prompts or \
         after nearly none, so these spread widely about one half. Sensitivities say by how much; those of random sets lie about 0.",
    );
    page.figures(&figures);
    let accuracy = |concept| Curves { tcav, findings, concept, of: |side| side.accuracy }.figure("told right", share);
    page.section("Whether the concepts are there")
        .text("Accuracy on held-out sentences, beside that on random sets, where there is nothing to tell apart.");
    page.figures(&(0..tcav.subjects.len()).map(accuracy).collect::<Vec<_>>());
}

/// What a concept's vectors and random ones come to, over the layers.
struct Curves<'t> {
    tcav: &'t Tcav<'t>,
    findings: &'t [Finding],
    concept: usize,
    of: fn(&Side) -> Option<Interval>,
}

impl Curves<'_> {
    fn figure(&self, what: &str, y: YScale) -> Figure {
        let line = |name: &str, side: fn(&Finding) -> &Side| {
            let own = self.findings.iter().filter(|one| one.concept == self.concept);
            let point = |one: &Finding| {
                let Interval { value, low, high } = (self.of)(side(one))?;
                Some(Point { value, interval: Some((low, high)) })
            };
            Line { name: name.to_owned(), points: own.map(point).collect() }
        };
        Lines {
            title: format!("{}: {what}", name(self.tcav, self.concept)),
            x: "after block".to_owned(),
            grid: self.tcav.layers.iter().map(u32::to_string).collect(),
            lines: vec![line("concept", |one| &one.with), line("random", |one| &one.random)],
            y,
        }
        .figure()
    }
}

fn table(page: &mut Page, tcav: &Tcav<'_>, findings: &[Finding]) {
    page.section("All layers").text(&format!(
        "p is corrected for the number of layers; below {LEVEL} the scores, or the sensitivities, differ from those of random sets by more \
         than chance."
    ));
    let percent = |interval: Option<Interval>| {
        interval.map_or(String::new(), |Interval { value, low, high }| {
            format!("{:.0} % ({:.0}–{:.0})", value * 100.0, low * 100.0, high * 100.0)
        })
    };
    let number = |interval: Option<Interval>| {
        interval.map_or(String::new(), |Interval { value, low, high }| {
            let shown = |value: f64| format!("{:.2}", (value * 100.0).round() / 100.0 + 0.0).replace('-', "−");
            format!("{} ({} to {})", shown(value), shown(low), shown(high))
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
            one.score_test.map_or(String::new(), |test| shown_p(test.corrected)),
            number(one.with.sensitivity),
            number(one.random.sensitivity),
            one.sensitivity_test.map_or(String::new(), |test| shown_p(test.corrected)),
        ]
    };
    let columns =
        ["concept", "block", "accuracy", "random's", "score", "random's", "p", "sensitivity", "random's", "p"];
    page.table(&columns, &findings.iter().map(row).collect::<Vec<_>>());
    let check = |one: &Finding| {
        let check = one.check?;
        Some(vec![
            name(tcav, one.concept),
            one.block.to_string(),
            format!("{:.2}", one.length),
            format!("{:.0} %", check.same_sign * 100.0),
            format!("{:.3} %", check.change * 100.0),
        ])
    };
    page.part("How far the step matters").text(
        "Sensitivities along the concept's first vector, compared with those by a step a quarter as long: the share of prompts whose sign \
         stays, and the median change.",
    );
    let columns = ["concept", "block", "typical length", "same sign", "change"];
    page.table(&columns, &findings.iter().filter_map(check).collect::<Vec<_>>());
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
