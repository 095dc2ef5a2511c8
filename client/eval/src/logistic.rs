//! Logistic regression with a squared penalty: the direction that tells two sets of vectors apart.
//!
//! minimise  ½ ‖w‖² + Σᵢ log(1 + exp(−yᵢ (w·xᵢ + b))),   yᵢ = ±1,
//!
//! over vectors that were centred and divided by one number, so that their coordinates have variance 1 in the mean: the weights then do
//! not depend on the vectors' unit, and directions stay what they were. That is scikit-learn's `LogisticRegression(C=1)` on such
//! vectors; the intercept b is not penalised. Newton's method solves it, each step by conjugate gradients, until no part of the
//! gradient is larger than 1e-8. The problem is strictly convex in w, so what the steps were does not matter beyond that.
//!
//! Exponentials and logarithms are `libm`'s: the bits are those of any machine.

/// The largest part of the gradient at the solution.
const TOLERANCE: f64 = 1e-8;
/// Newton steps at most: near the end each doubles the digits, and few lead there.
const STEPS: usize = 100;
/// Steps of conjugate gradients in one of them at most.
const ROUNDS: usize = 500;

/// A plane between two sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Boundary {
    /// Weights of the vectors as they were given, `[coordinate]`.
    pub weights: Vec<f64>,
    /// Added to the weighted sum: positive is the side of the first set.
    pub intercept: f64,
}

impl Boundary {
    /// Between `on` and `off`, both `[vector][coordinate]`; nothing if either is empty or no coordinate varies.
    pub fn between(on: &[&[f32]], off: &[&[f32]]) -> Option<Self> {
        let all: Vec<&[f32]> = on.iter().chain(off).copied().collect();
        let width = all.first()?.len();
        if on.is_empty() || off.is_empty() {
            return None;
        }
        let count = all.len() as f64;
        let mut centre = vec![0.0; width];
        all.iter().for_each(|x| centre.iter_mut().zip(*x).for_each(|(sum, &x)| *sum += f64::from(x)));
        centre.iter_mut().for_each(|sum| *sum /= count);
        let mut rows: Vec<Vec<f64>> =
            all.iter().map(|x| x.iter().zip(&centre).map(|(&x, mean)| f64::from(x) - mean).collect()).collect();
        let squares: f64 = rows.iter().map(|row| dot(row, row)).sum();
        let scale = (squares / (count * width as f64)).sqrt();
        if !(scale.is_finite() && scale > 0.0) {
            return None;
        }
        rows.iter_mut().for_each(|row| row.iter_mut().for_each(|x| *x /= scale));
        let mut problem = Problem { rows, positives: on.len(), at: vec![0.0; width + 1] };
        for _ in 0..STEPS {
            if !problem.step() {
                break;
            }
        }
        let weights: Vec<f64> = problem.at[..width].iter().map(|weight| weight / scale).collect();
        let intercept = problem.at[width] - dot(&weights, &centre);
        Some(Self { weights, intercept })
    }

    /// On which side a vector is, and how far: the log odds of the first set.
    pub fn odds(&self, x: &[f32]) -> f64 {
        self.weights.iter().zip(x).map(|(weight, &x)| weight * f64::from(x)).sum::<f64>() + self.intercept
    }

    /// The unit normal `[coordinate]`, towards the first set; nothing if no coordinate has a weight.
    pub fn normal(&self) -> Option<Vec<f64>> {
        let length = dot(&self.weights, &self.weights).sqrt();
        (length > 0.0).then(|| self.weights.iter().map(|weight| weight / length).collect())
    }
}

/// The problem, and where its solution stands.
struct Problem {
    /// `[vector][coordinate]`, the first `positives` of the first set.
    rows: Vec<Vec<f64>>,
    positives: usize,
    /// Weights, and last the intercept.
    at: Vec<f64>,
}

impl Problem {
    /// One Newton step; false if none is needed or helps.
    fn step(&mut self) -> bool {
        let probabilities: Vec<f64> = self.rows.iter().map(|row| sigmoid(margin(row, &self.at))).collect();
        let target = |number: usize| if number < self.positives { 1.0 } else { 0.0 };
        let errors: Vec<f64> = probabilities.iter().enumerate().map(|(number, p)| p - target(number)).collect();
        let gradient = self.gathered(&errors, &self.at);
        if gradient.iter().all(|part| part.abs() <= TOLERANCE) {
            return false;
        }
        let bends: Vec<f64> = probabilities.iter().map(|p| p * (1.0 - p)).collect();
        let step = self.newton(&gradient, &bends);
        let slope = dot(&gradient, &step);
        let before = self.objective(&self.at);
        let mut length = 1.0;
        for _ in 0..40 {
            let next: Vec<f64> = self.at.iter().zip(&step).map(|(at, step)| at + length * step).collect();
            // Near the solution the gain is below what the objective can show: a whole step is then right.
            if self.objective(&next) <= before + 1e-4 * length * slope + 1e-12 * before.abs() {
                self.at = next;
                return true;
            }
            length /= 2.0;
        }
        false
    }

    /// Solves H s = −gradient by conjugate gradients, to more digits the smaller the gradient is.
    fn newton(&self, gradient: &[f64], bends: &[f64]) -> Vec<f64> {
        let mut step = vec![0.0; gradient.len()];
        let mut left: Vec<f64> = gradient.iter().map(|part| -part).collect();
        let mut along = left.clone();
        let start = dot(&left, &left);
        let enough = start * start.sqrt().clamp(1e-12, 0.01);
        let mut rest = start;
        for _ in 0..ROUNDS {
            if rest <= enough {
                break;
            }
            let scaled: Vec<f64> = self.rows.iter().zip(bends).map(|(row, bend)| bend * margin(row, &along)).collect();
            let bent = self.gathered(&scaled, &along);
            let bend = dot(&along, &bent);
            if bend <= 0.0 {
                break;
            }
            let length = rest / bend;
            step.iter_mut().zip(&along).for_each(|(step, along)| *step += length * along);
            left.iter_mut().zip(&bent).for_each(|(left, bent)| *left -= length * bent);
            let next = dot(&left, &left);
            along.iter_mut().zip(&left).for_each(|(along, left)| *along = left + next / rest * *along);
            rest = next;
        }
        step
    }

    /// The rows, each times its factor, added to the penalised part of `ridge`; the factors' sum last.
    fn gathered(&self, factors: &[f64], ridge: &[f64]) -> Vec<f64> {
        let mut sums = ridge.to_vec();
        if let Some(last) = sums.last_mut() {
            *last = factors.iter().sum();
        }
        for (row, factor) in self.rows.iter().zip(factors) {
            sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += factor * x);
        }
        sums
    }

    fn objective(&self, at: &[f64]) -> f64 {
        let sign = |number: usize| if number < self.positives { -1.0 } else { 1.0 };
        let weights = &at[..at.len() - 1];
        let losses = self.rows.iter().enumerate().map(|(number, row)| softplus(sign(number) * margin(row, at)));
        losses.sum::<f64>() + 0.5 * dot(weights, weights)
    }
}

/// w·x + b, of weights and the intercept behind them.
fn margin(row: &[f64], at: &[f64]) -> f64 {
    dot(row, at) + at[row.len()]
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

/// Over the shorter of both.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundary(on: &[[f32; 2]], off: &[[f32; 2]]) -> Option<Boundary> {
        let rows = |all: &[[f32; 2]]| all.iter().map(|one| one.to_vec()).collect::<Vec<_>>();
        let (on, off) = (rows(on), rows(off));
        let (on, off): (Vec<&[f32]>, Vec<&[f32]>) =
            (on.iter().map(Vec::as_slice).collect(), off.iter().map(Vec::as_slice).collect());
        Boundary::between(&on, &off)
    }

    #[test]
    fn the_normal_points_to_the_first_set_whatever_the_unit() {
        let (on, off) = ([[3.0, 1.0], [4.0, -1.0], [3.5, 0.0]], [[1.0, -1.0], [0.0, 1.0], [0.5, 0.0]]);
        let found = boundary(&on, &off).unwrap();
        let normal = found.normal().unwrap();
        assert!(normal[0] > 0.95 && (dot(&normal, &normal) - 1.0).abs() < 1e-12, "{normal:?}");
        assert!(found.odds(&[4.0, 0.0]) > 0.0 && found.odds(&[0.0, 0.0]) < 0.0);
        let larger = |all: [[f32; 2]; 3]| all.map(|one| one.map(|x| x * 1024.0));
        let scaled = boundary(&larger(on), &larger(off)).unwrap();
        scaled.normal().unwrap().iter().zip(&normal).for_each(|(a, b)| assert!((a - b).abs() < 1e-9, "{a} {b}"));
        assert!((scaled.odds(&[4096.0, 0.0]) - found.odds(&[4.0, 0.0])).abs() < 1e-9);
    }

    #[test]
    fn at_the_solution_the_gradient_is_none() {
        let rows: Vec<Vec<f64>> = (0..60u32)
            .map(|n| (0..9u32).map(|j| f64::from((n * 37 + j * 101 + n * j * 13) % 97) / 48.0 - 1.0).collect())
            .collect();
        let mut problem = Problem { rows, positives: 25, at: vec![0.0; 10] };
        let steps = (0..STEPS).take_while(|_| problem.step()).count();
        assert!(steps < 20, "{steps} steps");
        let error =
            |(number, row): (usize, &Vec<f64>)| sigmoid(margin(row, &problem.at)) - f64::from(u8::from(number < 25));
        let errors: Vec<f64> = problem.rows.iter().enumerate().map(error).collect();
        for part in problem.gathered(&errors, &problem.at) {
            assert!(part.abs() <= 1e-7, "{part}");
        }
    }

    #[test]
    fn what_does_not_vary_has_no_plane() {
        assert_eq!(boundary(&[[1.0, 2.0]], &[[1.0, 2.0]]), None);
        assert_eq!(boundary(&[[1.0, 2.0]], &[]), None);
        assert_eq!(boundary(&[[f32::NAN, 2.0]], &[[1.0, 2.0]]), None);
    }
}
