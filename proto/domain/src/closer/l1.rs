//! Sparse logistic regression of a concept on its units (Radford, Józefowicz and Sutskever 2017 found the sentiment unit so).
//!
//! Over the units with the largest |Cohen's d|, each standardised to mean 0 and deviation 1 over the concept's sentences,
//!
//! minimise  Σᵢ log(1 + exp(−yᵢ (w·xᵢ + b))) + Σⱼ |wⱼ|,   yᵢ = ±1,
//!
//! which is scikit-learn's `LogisticRegression(penalty="l1", solver="saga", C=1)`: the intercept b is not penalised. It is solved by
//! Newton steps whose quadratic problem coordinate descent solves over the units that are in or want to be (Friedman, Hastie and
//! Tibshirani 2010), until no unit violates its optimality condition by more than [`TOLERANCE`]. The problem is convex, so what the
//! steps were does not matter beyond that.
//!
//! Exponentials and logarithms are `libm`'s, not the system's: the bits are those of any machine.

use serde::{Deserialize, Serialize};

use crate::unit::UnitId;

/// By how much a unit may violate its optimality condition, in units of the penalty.
const TOLERANCE: f64 = 1e-8;
/// Newton steps at most: each doubles the digits near the end, and a few lead there.
const STEPS: usize = 200;
/// Rounds of coordinate descent in one step at most.
const ROUNDS: usize = 1000;

/// A sparse logistic regression. Weights are per deviation of the unit's response.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct L1Fit {
    /// Units that could have been chosen.
    pub screened: u32,
    /// The intercept b.
    pub intercept: f32,
    /// The units with a weight other than 0, by rising unit.
    pub weights: Vec<(UnitId, f32)>,
}

impl L1Fit {
    /// The regression over `units`, which rise, whose responses are `columns`, `[unit][sentence]`, the first `positives`
    /// sentences with the concept.
    pub fn of(units: &[UnitId], columns: &[Vec<f32>], positives: usize) -> Self {
        let (weights, intercept) = fit(columns, positives);
        let chosen = units.iter().zip(weights).map(|(&unit, weight)| (unit, weight as f32));
        Self {
            screened: units.len() as u32,
            intercept: intercept as f32,
            weights: chosen.filter(|(_, weight)| *weight != 0.0).collect(),
        }
    }

    /// A unit's weight: 0 if it was not chosen.
    pub fn weight(&self, unit: UnitId) -> f32 {
        self.weights.binary_search_by_key(&unit, |(chosen, _)| *chosen).map_or(0.0, |place| self.weights[place].1)
    }
}

/// Weights, `[unit]`, and intercept; see the module. `columns` is `[unit][sentence]`, the first `positives` sentences with the
/// concept, at least one of each kind.
pub fn fit(columns: &[Vec<f32>], positives: usize) -> (Vec<f64>, f64) {
    let columns: Vec<Vec<f64>> = columns.iter().map(|column| standardised(column)).collect();
    let sentences = columns.first().map_or(0, Vec::len);
    let mut problem =
        Problem { columns, positives, weights: Vec::new(), intercept: 0.0, margins: vec![0.0; sentences] };
    problem.weights = vec![0.0; problem.columns.len()];
    for _ in 0..STEPS {
        if !problem.step() {
            break;
        }
    }
    (problem.weights, problem.intercept)
}

/// Mean 0 and deviation 1; all 0 for a unit that does not vary.
fn standardised(column: &[f32]) -> Vec<f64> {
    let count = column.len() as f64;
    let mean = column.iter().map(|&z| f64::from(z)).sum::<f64>() / count;
    let variance = column.iter().map(|&z| (f64::from(z) - mean).powi(2)).sum::<f64>() / count;
    let scale = if variance > 0.0 { 1.0 / variance.sqrt() } else { 0.0 };
    column.iter().map(|&z| (f64::from(z) - mean) * scale).collect()
}

/// The problem and where its solution stands.
struct Problem {
    /// `[unit][sentence]`
    columns: Vec<Vec<f64>>,
    positives: usize,
    /// `[unit]`
    weights: Vec<f64>,
    intercept: f64,
    /// w·x + b, `[sentence]`
    margins: Vec<f64>,
}

/// A step of the weights under way.
struct Step {
    /// The curvature of each sentence's loss, `[sentence]`.
    curvature: Vec<f64>,
    /// By how much the step changes each sentence's margin, `[sentence]`.
    change: Vec<f64>,
    /// The new weights, `[unit]`, and intercept.
    weights: Vec<f64>,
    intercept: f64,
}

impl Problem {
    /// One Newton step; false if none is needed or helps.
    fn step(&mut self) -> bool {
        let target = |sentence: usize| if sentence < self.positives { 1.0 } else { 0.0 };
        let probability: Vec<f64> = self.margins.iter().map(|&margin| sigmoid(margin)).collect();
        let residual: Vec<f64> = probability.iter().enumerate().map(|(i, p)| p - target(i)).collect();
        let gradient: Vec<f64> = self.columns.iter().map(|column| dot(column, &residual)).collect();
        let intercept_gradient: f64 = residual.iter().sum();
        let violation = |j: usize| violation(self.weights[j], gradient[j]);
        let worst = (0..self.weights.len()).map(violation).fold(intercept_gradient.abs(), f64::max);
        if worst <= TOLERANCE {
            return false;
        }
        let working: Vec<usize> =
            (0..self.weights.len()).filter(|&j| self.weights[j] != 0.0 || violation(j) > 0.0).collect();
        let mut step = Step {
            curvature: probability.iter().map(|p| (p * (1.0 - p)).max(1e-10)).collect(),
            change: vec![0.0; self.margins.len()],
            weights: self.weights.clone(),
            intercept: self.intercept,
        };
        self.descend(&mut step, &working, (&gradient, intercept_gradient));
        self.search(&step, (&gradient, intercept_gradient))
    }

    /// Minimises the quadratic problem about the present weights, over the units of `working` and the intercept.
    fn descend(&self, step: &mut Step, working: &[usize], (gradient, intercept_gradient): (&[f64], f64)) {
        let Step { curvature, change, weights, intercept } = step;
        let bend: Vec<f64> =
            working.iter().map(|&j| self.columns[j].iter().zip(&*curvature).map(|(x, h)| h * x * x).sum()).collect();
        let intercept_bend: f64 = curvature.iter().sum();
        for _ in 0..ROUNDS {
            let slope = intercept_gradient + dot(curvature, change);
            let delta = -slope / intercept_bend;
            *intercept += delta;
            change.iter_mut().for_each(|one| *one += delta);
            let mut moved = delta * delta * intercept_bend;
            for (&j, &bend) in working.iter().zip(&bend).filter(|(_, bend)| **bend > 0.0) {
                let column = &self.columns[j];
                let bent: f64 = column.iter().zip(&*curvature).zip(&*change).map(|((x, h), d)| x * h * d).sum();
                let new = shrunk(bend * weights[j] - gradient[j] - bent) / bend;
                let delta = new - weights[j];
                if delta != 0.0 {
                    weights[j] = new;
                    column.iter().zip(&mut *change).for_each(|(x, d)| *d += delta * x);
                    moved = moved.max(delta * delta * bend);
                }
            }
            if moved <= TOLERANCE * TOLERANCE {
                break;
            }
        }
    }

    /// Goes as far along the step as makes the objective smaller (Armijo's rule); false if nothing does.
    fn search(&mut self, step: &Step, (gradient, intercept_gradient): (&[f64], f64)) -> bool {
        let before = self.objective(&self.margins, &self.weights);
        let l1 = |weights: &[f64]| weights.iter().map(|w| w.abs()).sum::<f64>();
        let slope = intercept_gradient * (step.intercept - self.intercept)
            + gradient
                .iter()
                .zip(step.weights.iter().zip(&self.weights))
                .map(|(g, (new, old))| g * (new - old))
                .sum::<f64>()
            + l1(&step.weights)
            - l1(&self.weights);
        let mut length = 1.0;
        for _ in 0..40 {
            let along = |old: f64, new: f64| if length == 1.0 { new } else { old + length * (new - old) };
            let margins: Vec<f64> = self.margins.iter().zip(&step.change).map(|(m, d)| m + length * d).collect();
            let weights: Vec<f64> =
                self.weights.iter().zip(&step.weights).map(|(&old, &new)| along(old, new)).collect();
            // Near the solution the gain is below what the objective can show: a whole step is then right.
            if self.objective(&margins, &weights) <= before + 0.01 * length * slope + 1e-12 * before.abs() {
                self.intercept = along(self.intercept, step.intercept);
                (self.margins, self.weights) = (margins, weights);
                return true;
            }
            length /= 2.0;
        }
        false
    }

    fn objective(&self, margins: &[f64], weights: &[f64]) -> f64 {
        let sign = |sentence: usize| if sentence < self.positives { -1.0 } else { 1.0 };
        let loss: f64 = margins.iter().enumerate().map(|(i, &margin)| softplus(sign(i) * margin)).sum();
        loss + weights.iter().map(|w| w.abs()).sum::<f64>()
    }
}

/// How far a weight is from its optimality condition: the gradient is −sign(w), or within ±1 where w is 0.
fn violation(weight: f64, gradient: f64) -> f64 {
    if weight == 0.0 { (gradient.abs() - 1.0).max(0.0) } else { (gradient + weight.signum()).abs() }
}

/// Soft thresholding by the penalty, 1.
fn shrunk(value: f64) -> f64 {
    (value.abs() - 1.0).max(0.0).copysign(value)
}

fn sigmoid(margin: f64) -> f64 {
    if margin >= 0.0 {
        1.0 / (1.0 + libm::exp(-margin))
    } else {
        let grown = libm::exp(margin);
        grown / (1.0 + grown)
    }
}

/// log(1 + exp(x)).
fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made-up responses: the first three units follow the label, more or less, the others nothing.
    fn columns(units: usize, sentences: usize) -> Vec<Vec<f32>> {
        let mut state = 7u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (0..4).map(|n| ((state >> (8 * n + 24)) & 255) as f32 / 256.0).sum::<f32>() - 2.0
        };
        let response = |unit: usize, sentence: usize, noise: f32| {
            let strength = [0.8, 0.5, -0.4].get(unit).copied().unwrap_or(0.0);
            noise + if sentence < sentences / 2 { strength } else { 0.0 }
        };
        (0..units).map(|unit| (0..sentences).map(|s| response(unit, s, noise())).collect()).collect()
    }

    #[test]
    fn the_solution_meets_its_conditions_and_is_sparse() {
        for (units, sentences) in [(5, 40), (60, 200), (300, 100)] {
            let columns = columns(units, sentences);
            let (weights, intercept) = fit(&columns, sentences / 2);
            let inputs: Vec<Vec<f64>> = columns.iter().map(|column| standardised(column)).collect();
            let residual: Vec<f64> = (0..sentences)
                .map(|i| {
                    let margin = intercept + inputs.iter().zip(&weights).map(|(x, w)| x[i] * w).sum::<f64>();
                    sigmoid(margin) - if i < sentences / 2 { 1.0 } else { 0.0 }
                })
                .collect();
            assert!(residual.iter().sum::<f64>().abs() < 1e-6, "the intercept has no penalty");
            for (column, &weight) in inputs.iter().zip(&weights) {
                assert!(violation(weight, dot(column, &residual)) < 1e-6, "{units} units");
            }
            let chosen = weights.iter().filter(|w| **w != 0.0).count();
            assert!(chosen > 0 && chosen < units.min(sentences), "{chosen} of {units} units");
            assert!(weights[0] > 0.0, "{weights:?}");
        }
    }

    #[test]
    fn what_does_not_vary_and_what_tells_all_have_solutions_too() {
        let flat = vec![vec![1.0; 6], vec![3.0, 4.0, 5.0, 0.0, 1.0, 2.0]];
        let (weights, _) = fit(&flat, 3);
        assert_eq!(weights[0], 0.0);
        assert!(weights[1] > 0.0 && weights[1].is_finite(), "classes that are told apart have finite weights");
        let (none, intercept) = fit(&[vec![2.0; 6]], 2);
        assert_eq!(none, [0.0]);
        assert!((intercept - (2.0f64 / 4.0).ln()).abs() < 1e-6, "the log odds of the classes: {intercept}");
    }

    #[test]
    fn weights_are_looked_up_by_unit() {
        let units = [UnitId(3), UnitId(8)];
        let found = L1Fit::of(&units, &[vec![3.0, 4.0, 5.0, 0.0, 1.0, 2.0], vec![1.0; 6]], 3);
        assert_eq!((found.screened, found.weights.len()), (2, 1));
        assert!(found.weight(UnitId(3)) > 0.0);
        assert_eq!((found.weight(UnitId(8)), found.weight(UnitId(4))), (0.0, 0.0));
    }
}
