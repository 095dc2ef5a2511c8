//! Guides: a discriminator that foretells from a text's beginning whether it will show a concept, and so weighs its next tokens.
//!
//! That is FUDGE (Yang and Klein, "FUDGE: Controlled Text Generation With Future Discriminators", NAACL 2021), one of the methods
//! that do(c,k) is compared with.

use std::sync::Arc;

/// Numbers of a gate: reset, update, new.
const GATES: usize = 3;
/// Candidates that a guide may weigh at most.
pub const MOST_CANDIDATES: u32 = 4096;

/// A guide of one request: of the most probable next tokens each is weighed by how probable the concept is after it.
///
/// p'(x | before) is proportional to p(x | before) P(concept | before, x)^strength over the candidates, and 0 elsewhere. Then come
/// temperature and cuts, as without a guide.
#[derive(Clone, Debug, PartialEq)]
pub struct Guide {
    /// What foretells.
    pub discriminator: Arc<Discriminator>,
    /// The exponent, called lambda by the paper; 0 weighs all candidates alike.
    pub strength: f32,
    /// How many of the most probable tokens are weighed.
    pub candidates: u32,
}

/// P(concept | beginning), by a recurrent network over token ids: a GRU (Cho et al. 2014, in PyTorch's form) and a logistic output.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Discriminator {
    /// The tokens that it knows, ascending `[known]`; all others are one.
    pub tokens: Vec<u32>,
    /// Their vectors, that of the unknown token last, `[known + 1, width]`.
    pub vectors: Vec<f32>,
    /// From a token's vector to the gates reset, update and new, `[3 * state, width]`, and what is added, `[3 * state]`.
    pub input: Vec<f32>,
    /// See [`Self::input`].
    pub input_bias: Vec<f32>,
    /// From the state before to the gates, `[3 * state, state]`, and what is added, `[3 * state]`.
    pub recurrent: Vec<f32>,
    /// See [`Self::recurrent`].
    pub recurrent_bias: Vec<f32>,
    /// From the state to the log odds of the concept, `[state]`, and what is added.
    pub output: Vec<f32>,
    /// See [`Self::output`].
    pub output_bias: f32,
}

/// A guide whose parts do not fit together.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadGuide {
    /// A part of another size.
    #[error("the guide's {part} has {found} numbers, not {expected}")]
    Size {
        /// The part.
        part: &'static str,
        /// Numbers that it has.
        found: usize,
        /// Numbers that it must have.
        expected: usize,
    },
    /// A part with a number that is none.
    #[error("the guide's {part} has a number that is not finite")]
    NotFinite {
        /// The part.
        part: &'static str,
    },
    /// Tokens in disorder.
    #[error("the guide's tokens must ascend")]
    Disorder,
    /// A strength that means nothing.
    #[error("the guide's strength is {strength}: it must be 0 or more")]
    Strength {
        /// As given.
        strength: f32,
    },
    /// Too few candidates, or too many.
    #[error("the guide weighs {candidates} candidates: give 1 to {MOST_CANDIDATES}")]
    Candidates {
        /// As given.
        candidates: u32,
    },
}

impl Guide {
    /// Checks its form.
    ///
    /// # Errors
    /// Names the first part that does not fit.
    pub fn check(&self) -> Result<(), BadGuide> {
        if !(self.strength.is_finite() && self.strength >= 0.0) {
            return Err(BadGuide::Strength { strength: self.strength });
        }
        if !(1..=MOST_CANDIDATES).contains(&self.candidates) {
            return Err(BadGuide::Candidates { candidates: self.candidates });
        }
        self.discriminator.check()
    }
}

impl Discriminator {
    /// Numbers of the state.
    pub fn state(&self) -> usize {
        self.output.len()
    }

    fn check(&self) -> Result<(), BadGuide> {
        if self.tokens.windows(2).any(|pair| pair[0] >= pair[1]) {
            return Err(BadGuide::Disorder);
        }
        let (known, state) = (self.tokens.len() + 1, self.state());
        let width = self.vectors.len() / known;
        let parts = [
            ("vectors", &self.vectors, known * width.max(1)),
            ("output", &self.output, state.max(1)),
            ("input", &self.input, GATES * state * width),
            ("input bias", &self.input_bias, GATES * state),
            ("recurrent part", &self.recurrent, GATES * state * state),
            ("recurrent bias", &self.recurrent_bias, GATES * state),
        ];
        for (part, numbers, expected) in parts {
            if numbers.len() != expected {
                return Err(BadGuide::Size { part, found: numbers.len(), expected });
            }
            if !numbers.iter().all(|number| number.is_finite()) {
                return Err(BadGuide::NotFinite { part });
            }
        }
        if self.output_bias.is_finite() { Ok(()) } else { Err(BadGuide::NotFinite { part: "output bias" }) }
    }
}

/// A guide made ready to read texts; any number of them share it.
#[derive(Clone, Debug)]
pub struct Reader {
    guide: Guide,
    /// What each known token, and then the unknown one, gives to the gates, `[known + 1, 3 * state]`.
    gates: Vec<f32>,
}

impl Reader {
    /// Works out what each token gives to the gates.
    ///
    /// # Errors
    /// If the guide's parts do not fit together.
    pub fn new(guide: Guide) -> Result<Self, BadGuide> {
        guide.check()?;
        let of = &guide.discriminator;
        let width = of.vectors.len() / (of.tokens.len() + 1);
        let gates = of.vectors.chunks_exact(width).flat_map(|vector| affine(&of.input, &of.input_bias, vector));
        let gates = gates.collect();
        Ok(Self { guide, gates })
    }

    /// The guide.
    pub fn guide(&self) -> &Guide {
        &self.guide
    }

    /// The state `[state]` before anything was read.
    pub fn start(&self) -> Vec<f32> {
        vec![0.0; self.guide.discriminator.state()]
    }

    /// Reads a token.
    pub fn read(&self, state: &mut [f32], token: u32) {
        let of = &self.guide.discriminator;
        let recurrent = affine(&of.recurrent, &of.recurrent_bias, state);
        let gates = self.gates(token);
        let next: Vec<f32> = (0..state.len()).map(|at| next(gates, &recurrent, (at, state[at]))).collect();
        state.copy_from_slice(&next);
    }

    /// The natural logarithm of P(concept | what was read).
    pub fn log_probability(&self, state: &[f32]) -> f32 {
        let of = &self.guide.discriminator;
        let odds: f32 = of.output.iter().zip(state).map(|(weight, state)| weight * state).sum();
        log_sigmoid(odds + of.output_bias)
    }

    /// Weighs the next tokens: gives the logits `[token]` of p', from those of p and what was read. They stay finite: those of tokens
    /// that are no candidates are so low that their probability is 0.
    pub fn weigh(&self, state: &[f32], logits: &[f32]) -> Vec<f32> {
        let of = &self.guide.discriminator;
        let recurrent = affine(&of.recurrent, &of.recurrent_bias, state);
        let candidates = largest(logits, self.guide.candidates as usize);
        let mut weighed = vec![f32::MIN; logits.len()];
        for token in candidates {
            let gates = self.gates(token);
            let terms = of.output.iter().zip(state).enumerate();
            let odds: f32 = terms.map(|(at, (weight, state))| weight * next(gates, &recurrent, (at, *state))).sum();
            let place = token as usize;
            weighed[place] = logits[place] + self.guide.strength * log_sigmoid(odds + of.output_bias);
        }
        weighed
    }

    fn gates(&self, token: u32) -> &[f32] {
        let of = &self.guide.discriminator;
        let place = of.tokens.binary_search(&token).unwrap_or(of.tokens.len());
        let each = GATES * of.state();
        &self.gates[place * each..(place + 1) * each]
    }
}

/// Number `at` of the state after a token, given what the token and the state before give to the gates, and that number before.
fn next(gates: &[f32], recurrent: &[f32], (at, before): (usize, f32)) -> f32 {
    let state = gates.len() / GATES;
    let gate = |gate: usize| (gates[gate * state + at], recurrent[gate * state + at]);
    let ((reset, reset_before), (update, update_before), (new, new_before)) = (gate(0), gate(1), gate(2));
    let reset = sigmoid(reset + reset_before);
    let update = sigmoid(update + update_before);
    let new = (new + reset * new_before).tanh();
    (1.0 - update) * new + update * before
}

/// `weights` `[out, in]` times `x` `[in]`, plus `bias` `[out]`.
fn affine(weights: &[f32], bias: &[f32], x: &[f32]) -> Vec<f32> {
    let row = |(row, bias): (&[f32], &f32)| row.iter().zip(x).map(|(weight, x)| weight * x).sum::<f32>() + bias;
    weights.chunks_exact(x.len()).zip(bias).map(row).collect()
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn log_sigmoid(x: f32) -> f32 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// The `count` tokens with the largest logits, in any order; of equal ones those with lower ids.
fn largest(logits: &[f32], count: usize) -> Vec<u32> {
    let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
    if count < tokens.len() {
        let order = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        tokens.select_nth_unstable_by(count, order);
        tokens.truncate(count);
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Knows tokens 3 and 5: 3 pushes its one number up, 5 down, all others leave it.
    fn guide(strength: f32, candidates: u32) -> Guide {
        let discriminator = Discriminator {
            tokens: vec![3, 5],
            vectors: vec![4.0, -4.0, 0.0],
            input: vec![0.0, 0.0, 1.0],
            input_bias: vec![0.0; 3],
            recurrent: vec![0.0; 3],
            recurrent_bias: vec![0.0; 3],
            output: vec![2.0],
            output_bias: 0.0,
        };
        Guide { discriminator: Arc::new(discriminator), strength, candidates }
    }

    #[test]
    fn what_was_read_foretells() {
        let reader = Reader::new(guide(1.0, 8)).unwrap();
        let after = |tokens: &[u32]| {
            let mut state = reader.start();
            tokens.iter().for_each(|&token| reader.read(&mut state, token));
            reader.log_probability(&state).exp()
        };
        assert_eq!(after(&[]), 0.5);
        assert_eq!(after(&[9]), 0.5, "it knows nothing of this token");
        // Half of tanh 4, as the update gate is half open.
        assert!((after(&[3]) - sigmoid(4.0f32.tanh())).abs() < 1e-6 && after(&[3, 3]) > after(&[3]));
        assert!(after(&[5]) < 0.5 && after(&[3, 5]) < after(&[5, 3]));
    }

    #[test]
    fn candidates_are_weighed_and_others_fall_out() {
        let logits = [0.0, 0.5, -1.0, 1.0, -2.0, 2.0];
        let state = vec![0.0];
        let weigh = |strength, candidates| Reader::new(guide(strength, candidates)).unwrap().weigh(&state, &logits);
        let half = 0.5f32.ln();
        let all = weigh(1.0, 100);
        assert!((all[0] - half).abs() < 1e-6 && (all[1] - (0.5 + half)).abs() < 1e-6);
        assert!(all[3] > 1.0 + half && all[5] < 2.0 + half);
        let two = weigh(3.0, 2);
        assert_eq!(
            two.iter().map(|logit| *logit > f32::MIN).collect::<Vec<_>>(),
            [false, false, false, true, false, true]
        );
        assert!((two[3] - 1.0 - 3.0 * (all[3] - 1.0)).abs() < 1e-5);
        assert_eq!(weigh(0.0, 100), logits, "without strength nothing changes");
    }

    #[test]
    fn what_does_not_fit_together_is_named() {
        let with = |change: &dyn Fn(&mut Discriminator)| {
            let mut guide = guide(1.0, 8);
            change(Arc::make_mut(&mut guide.discriminator));
            guide.check().unwrap_err().to_string()
        };
        assert!(with(&|one| one.tokens.reverse()).contains("ascend"));
        assert!(with(&|one| one.vectors.truncate(2)).contains("vectors has 2 numbers, not 3"));
        assert!(with(&|one| one.input.push(0.0)).contains("input has 4 numbers, not 3"));
        assert!(with(&|one| one.output.clear()).contains("output has 0 numbers, not 1"));
        assert!(with(&|one| one.recurrent[0] = f32::NAN).contains("recurrent part has a number that is not finite"));
        assert!(guide(-1.0, 8).check().is_err() && guide(f32::NAN, 8).check().is_err());
        assert!(guide(1.0, 0).check().is_err() && guide(1.0, MOST_CANDIDATES + 1).check().is_err());
        assert_eq!(guide(0.0, 1).check(), Ok(()));
    }
}
