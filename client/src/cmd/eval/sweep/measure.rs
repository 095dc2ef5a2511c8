//! What texts say about a condition.

use lode_eval::{
    bleu::self_bleu,
    bootstrap::{Interval, interval},
    distinct::distinct,
    perplexity::Surprise,
    stats::{Ratio, mean},
    text::tokens,
};

use super::{Sweep, Written, plan::Place};
use crate::cmd::eval::strength::Strength;

/// A line of the table.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) texts: usize,
    /// Texts in which the forced values drove the model out of its numbers.
    pub(super) broke_off: usize,
    /// Share of texts that show the concept by its words.
    pub(super) presence: Option<Interval>,
    /// The same by the classifier.
    pub(super) judged: Option<Interval>,
    /// Per token of what was written, under the model as it is.
    pub(super) perplexity: Option<Interval>,
    /// Under the judge.
    pub(super) judge: Option<Interval>,
    /// Self-BLEU-3 and -4.
    pub(super) self_bleu: [Option<Interval>; 2],
    /// Distinct 1- and 2-grams.
    pub(super) distinct: [Option<Interval>; 2],
}

/// Every line, in the plan's order.
pub(super) fn rows(sweep: &Sweep<'_>, written: &[Written]) -> Vec<Row> {
    let seed = sweep.args.shared.run.seed;
    let shared: Vec<_> = written.iter().map(|cell| (of_texts(cell, seed), cell)).collect();
    sweep
        .plan
        .places
        .iter()
        .map(|place| {
            let (of_texts, cell) = &shared[place.cell];
            let words = &sweep.words[place.concept].list;
            let shows = |text: &super::Text| f64::from(u8::from(words.shows_in(&text.text)));
            let shows: Vec<f64> = cell.texts.iter().map(shows).collect();
            let judged = sweep.classifiers[place.concept].as_ref().and_then(|classifier| {
                let shows = |text: &super::Text| f64::from(u8::from(classifier.shows_in(&text.text)));
                interval(&cell.texts.iter().map(shows).collect::<Vec<_>>(), seed, mean)
            });
            Row { place: *place, presence: interval(&shows, seed, mean), judged, ..of_texts.clone() }
        })
        .collect()
}

/// What does not depend on whose words are looked for.
fn of_texts(cell: &Written, seed: u64) -> Row {
    let words: Vec<Vec<String>> = cell.texts.iter().map(|text| tokens(&text.text)).collect();
    let repeats = |order| interval(&self_bleu(&words, order), seed, mean);
    let differs = |n| interval(&distinct(&words, n), seed, |some| some.iter().copied().collect::<Ratio>().value());
    let surprise = |one: &[Option<(f64, u64)>]| {
        let known: Vec<Surprise> = one.iter().flatten().map(|&(nats, tokens)| Surprise { nats, tokens }).collect();
        interval(&known, seed, |some| some.iter().copied().collect::<Surprise>().perplexity())
    };
    Row {
        place: Place { concept: 0, control: super::Control::Nothing, k: Strength::NONE, cell: 0 },
        texts: cell.texts.len(),
        broke_off: cell.texts.iter().filter(|text| text.broke_off).count(),
        presence: None,
        judged: None,
        perplexity: surprise(&cell.own),
        judge: cell.judge.as_deref().and_then(surprise),
        self_bleu: [repeats(3), repeats(4)],
        distinct: [differs(1), differs(2)],
    }
}

/// The k at which do(c,k) shows the concept most often in texts at most so many times as perplexing as unforced ones.
pub(super) const FLUENT: f64 = 2.0;

/// The best row of do(c,k) for a concept, the smaller k of two as good; nothing if no k keeps the texts fluent.
pub(super) fn best(rows: &[Row], concept: usize) -> Option<&Row> {
    best_of(rows, concept, super::Control::Do)
}

/// The same of another control or method.
pub(super) fn best_of(rows: &[Row], concept: usize, control: super::Control) -> Option<&Row> {
    let of = |control| rows.iter().filter(move |row| row.place.concept == concept && row.place.control == control);
    let plain = of(super::Control::Nothing).next()?.perplexity?.value;
    let is_fluent = |row: &&Row| row.perplexity.is_some_and(|own| own.value <= FLUENT * plain);
    let share = |row: &Row| row.presence.map_or(0.0, |presence| presence.value);
    // Of equal ones the last counts, so the largest k comes first.
    let mut fluent: Vec<&Row> = of(control).filter(is_fluent).collect();
    fluent.reverse();
    fluent.into_iter().max_by(|a, b| share(a).total_cmp(&share(b)))
}

/// The row of a concept under a control at k.
pub(super) fn at(rows: &[Row], concept: usize, control: super::Control, k: Strength) -> Option<&Row> {
    rows.iter().find(|row| (row.place.concept, row.place.control, row.place.k) == (concept, control, k))
}

#[cfg(test)]
mod tests {
    use super::{super::Control, *};

    fn row(control: Control, k: u32, presence: f64, perplexity: f64) -> Row {
        let exactly = |value| Some(Interval { value, low: value, high: value });
        Row {
            place: Place { concept: 0, control, k: k.into(), cell: 0 },
            presence: exactly(presence),
            perplexity: exactly(perplexity),
            ..of_texts(&Written { texts: Vec::new(), own: Vec::new(), judge: None }, 1)
        }
    }

    #[test]
    fn the_best_k_is_fluent_and_small() {
        let mut rows = vec![row(Control::Nothing, 0, 0.0, 3.0), row(Control::Do, 1, 0.4, 3.0)];
        rows.extend([row(Control::Do, 10, 0.8, 5.0), row(Control::Do, 30, 0.8, 5.5), row(Control::Do, 100, 1.0, 9.0)]);
        assert_eq!(best(&rows, 0).unwrap().place.k, 10.into());
        assert_eq!(at(&rows, 0, Control::Do, 30.into()).unwrap().place.k, 30.into());
        assert!(best(&rows, 1).is_none());
    }
}
