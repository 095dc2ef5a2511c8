//! What sensitivities come to: TCAV scores, tested against random sets.

use lode_eval::{
    bootstrap::{Interval, interval},
    stats::{mean, quantile},
    tcav::score,
    ttest::{TTest, bonferroni, welch},
};

use super::{
    Tcav,
    sensitivity::{Cell, Kind, Sensitivities},
};

/// A p value below this, after the correction, is called significant.
pub(super) const LEVEL: f64 = 0.05;

/// A vector's run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub(super) accuracy: f64,
    /// Share of the prompts whose sensitivity is positive.
    pub(super) score: Option<f64>,
    /// In nats per typical length.
    pub(super) sensitivity: Option<f64>,
}

/// The runs of one kind, and their means.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub(super) runs: Vec<Run>,
    pub(super) accuracy: Option<Interval>,
    pub(super) score: Option<Interval>,
    pub(super) sensitivity: Option<Interval>,
}

/// How far the first run's sensitivities change with a finer step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct StepCheck {
    /// Share of the prompts whose sign stays.
    pub(super) same_sign: f64,
    /// Median over the prompts of the change over the size.
    pub(super) change: f64,
}

/// A test, and its p value after the correction for the number of blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Test {
    pub(super) plain: TTest,
    pub(super) corrected: f64,
}

/// One concept after one block.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    pub(super) concept: usize,
    pub(super) block: u32,
    /// Median length of the activations.
    pub(super) length: f64,
    pub(super) with: Side,
    pub(super) random: Side,
    /// Scores of the concept's vectors against those of random ones.
    pub(super) score_test: Option<Test>,
    /// Their mean sensitivities likewise.
    pub(super) sensitivity_test: Option<Test>,
    pub(super) check: Option<StepCheck>,
    /// Sensitivities that there are none of: the model was out of its numbers.
    pub(super) lost: usize,
}

impl Finding {
    /// Whether the scores differ by more than chance among all blocks.
    pub(super) fn is_significant(&self) -> Option<bool> {
        self.score_test.map(|test| test.corrected < LEVEL)
    }
}

/// Every concept after every block, in the cells' order.
pub(super) fn findings(tcav: &Tcav<'_>, cells: &[Cell], measured: &[Sensitivities]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (concept, subject) in tcav.subjects.iter().enumerate() {
        for (number, layer) in subject.vectors.layers.iter().enumerate() {
            let own: Vec<(&Cell, &Sensitivities)> = cells
                .iter()
                .zip(measured)
                .filter(|(cell, _)| (cell.concept, cell.layer) == (concept, number))
                .collect();
            let side = |kind| {
                let own = own.iter().filter(|(cell, _)| cell.kind == kind);
                let run = |(cell, values): &(&Cell, &Sensitivities)| {
                    let pair = &layer.runs[cell.run];
                    let vector = if kind == Kind::Random { &pair.random } else { &pair.concept };
                    let known: Vec<f64> = values.iter().copied().flatten().collect();
                    Run { accuracy: vector.accuracy, score: score(&known), sensitivity: mean(&known) }
                };
                Side::of(own.map(run).collect(), tcav.args.run.seed)
            };
            let first =
                |kind| own.iter().find(|(cell, _)| (cell.run, cell.kind) == (0, kind)).map(|(_, values)| *values);
            let (with, random) = (side(Kind::Concept), side(Kind::Random));
            let test = |of: fn(&Run) -> Option<f64>| {
                let plain = welch(&with.values(of), &random.values(of))?;
                Some(Test { plain, corrected: bonferroni(plain.p, subject.vectors.layers.len()) })
            };
            findings.push(Finding {
                concept,
                block: layer.block,
                length: layer.length,
                score_test: test(|run| run.score),
                sensitivity_test: test(|run| run.sensitivity),
                check: first(Kind::Concept).zip(first(Kind::Check)).and_then(|(coarse, fine)| check(coarse, fine)),
                lost: own.iter().flat_map(|(_, values)| *values).filter(|value| value.is_none()).count(),
                with,
                random,
            });
        }
    }
    findings
}

impl Side {
    fn of(runs: Vec<Run>, seed: u64) -> Self {
        let over = |of: fn(&Run) -> Option<f64>| interval(&runs.iter().filter_map(of).collect::<Vec<_>>(), seed, mean);
        let accuracy = over(|run| Some(run.accuracy));
        let (score, sensitivity) = (over(|run| run.score), over(|run| run.sensitivity));
        Self { runs, accuracy, score, sensitivity }
    }

    fn values(&self, of: fn(&Run) -> Option<f64>) -> Vec<f64> {
        self.runs.iter().filter_map(of).collect()
    }
}

/// Compares sensitivities with those of a finer step.
fn check(coarse: &Sensitivities, fine: &Sensitivities) -> Option<StepCheck> {
    let pairs: Vec<(f64, f64)> = coarse.iter().zip(fine).filter_map(|(a, b)| (*a).zip(*b)).collect();
    let same: Vec<f64> = pairs.iter().map(|(a, b)| f64::from(u8::from((*a > 0.0) == (*b > 0.0)))).collect();
    let changes: Vec<f64> = pairs.iter().filter(|(a, _)| *a != 0.0).map(|(a, b)| ((a - b) / a).abs()).collect();
    Some(StepCheck { same_sign: mean(&same)?, change: quantile(&changes, 0.5)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finer_step_is_compared_prompt_by_prompt() {
        let found =
            check(&vec![Some(1.0), Some(-2.0), None, Some(0.5)], &vec![Some(1.1), Some(-2.0), Some(1.0), Some(-0.5)]);
        let found = found.unwrap();
        assert!((found.same_sign - 2.0 / 3.0).abs() < 1e-12 && (found.change - 0.1).abs() < 1e-9, "{found:?}");
        assert_eq!(check(&vec![None], &vec![Some(1.0)]), None);
    }

    #[test]
    fn runs_without_a_number_are_left_out() {
        let run = |score| Run { accuracy: 0.5, score, sensitivity: None };
        let side = Side::of(vec![run(Some(0.25)), run(None), run(Some(0.75))], 1);
        assert_eq!(
            (side.values(|run| run.score), side.score.unwrap().value, side.sensitivity),
            (vec![0.25, 0.75], 0.5, None)
        );
    }
}
