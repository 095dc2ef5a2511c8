//! Operations with their gradients, each in one walk over memory: composed of candle's own they are a dozen, and most of
//! a training step. All take contiguous f32 tensors on the CPU.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

/// GPT-2's activation, `gelu_new`.
pub(crate) fn gelu(x: &Tensor) -> Result<Tensor> {
    x.apply_op1(Gelu)
}

/// Rows less their mean, divided by their standard deviation.
pub(crate) fn normalise(x: &Tensor, epsilon: f64) -> Result<Tensor> {
    x.apply_op1(Normalise { epsilon: epsilon as f32 })
}

/// Attention weights `[.., position, position]` of scores that are still to be scaled: no position sees a later one.
pub(crate) fn causal_softmax(scores: &Tensor, scale: f64) -> Result<Tensor> {
    scores.apply_op1(CausalSoftmax { scale: scale as f32 })
}

/// Mean negative log-probability, in nats, of `targets` `[row]` under logits `[row, vocab]`.
pub(crate) fn cross_entropy(logits: &Tensor, targets: Vec<u32>) -> Result<Tensor> {
    logits.apply_op1(CrossEntropy { targets })
}

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice()?[start..end]),
        None => candle_core::bail!("a fused operation needs a contiguous tensor"),
    }
}

fn answer(values: Vec<f32>, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(values), layout.shape().clone()))
}

/// Length of a row, the last dimension.
fn row_len(layout: &Layout) -> usize {
    layout.dims().last().copied().unwrap_or(1).max(1)
}

struct Gelu;
struct GeluGradient;

const GELU_SCALE: f32 = 1.595_769; // 2 * sqrt(2 / pi)
const GELU_CUBE: f32 = 0.044_715;

/// `(1 + tanh(u)) / 2` is the logistic function of `2u`, and takes one exponential.
fn gelu_gate(x: f32) -> f32 {
    1.0 / (1.0 + (-GELU_SCALE * x * (1.0 + GELU_CUBE * x * x)).exp())
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        answer(slice(storage, layout)?.iter().map(|&x| x * gelu_gate(x)).collect(), layout)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(x.apply_op2_no_bwd(&gradient.contiguous()?, &GeluGradient)?))
    }
}

impl CustomOp2 for GeluGradient {
    fn name(&self) -> &'static str {
        "gelu-gradient"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout, g: &CpuStorage, g_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let slope = |x: f32| {
            let gate = gelu_gate(x);
            gate + x * gate * (1.0 - gate) * GELU_SCALE * (1.0 + 3.0 * GELU_CUBE * x * x)
        };
        answer(slice(x, at)?.iter().zip(slice(g, g_at)?).map(|(&x, g)| g * slope(x)).collect(), at)
    }
}

struct Normalise {
    epsilon: f32,
}
struct NormaliseGradient {
    epsilon: f32,
}

fn mean(values: impl ExactSizeIterator<Item = f32>) -> f32 {
    let len = values.len() as f32;
    values.sum::<f32>() / len
}

/// Mean of a row and one over its standard deviation.
fn moments(row: &[f32], epsilon: f32) -> (f32, f32) {
    let centre = mean(row.iter().copied());
    let variance = mean(row.iter().map(|x| (x - centre) * (x - centre)));
    (centre, 1.0 / (variance + epsilon).sqrt())
}

impl CustomOp1 for Normalise {
    fn name(&self) -> &'static str {
        "normalise"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout)?;
        let mut normed = Vec::with_capacity(x.len());
        for row in x.chunks_exact(row_len(layout)) {
            let (centre, scale) = moments(row, self.epsilon);
            normed.extend(row.iter().map(|x| (x - centre) * scale));
        }
        answer(normed, layout)
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let backward = NormaliseGradient { epsilon: self.epsilon };
        Ok(Some(x.apply_op2_no_bwd(&gradient.contiguous()?, &backward)?))
    }
}

impl CustomOp2 for NormaliseGradient {
    fn name(&self) -> &'static str {
        "normalise-gradient"
    }

    fn cpu_fwd(&self, x: &CpuStorage, at: &Layout, g: &CpuStorage, g_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, g, len) = (slice(x, at)?, slice(g, g_at)?, row_len(at));
        let mut gradient = Vec::with_capacity(x.len());
        for (row, g) in x.chunks_exact(len).zip(g.chunks_exact(len)) {
            let (centre, scale) = moments(row, self.epsilon);
            let level = mean(g.iter().copied());
            let slope = mean(row.iter().zip(g).map(|(x, g)| g * (x - centre) * scale));
            gradient.extend(row.iter().zip(g).map(|(x, g)| scale * (g - level - (x - centre) * scale * slope)));
        }
        answer(gradient, at)
    }
}

struct CausalSoftmax {
    scale: f32,
}
struct CausalSoftmaxGradient {
    scale: f32,
}

impl CustomOp1 for CausalSoftmax {
    fn name(&self) -> &'static str {
        "causal-softmax"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (scores, len) = (slice(storage, layout)?, row_len(layout));
        let mut weights = vec![0.0; scores.len()];
        for (index, (row, weights)) in scores.chunks_exact(len).zip(weights.chunks_exact_mut(len)).enumerate() {
            let seen = index % len + 1;
            let largest = row[..seen].iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for (weight, score) in weights[..seen].iter_mut().zip(row) {
                *weight = ((score - largest) * self.scale).exp();
                sum += *weight;
            }
            weights[..seen].iter_mut().for_each(|weight| *weight /= sum);
        }
        answer(weights, layout)
    }

    fn bwd(&self, _: &Tensor, weights: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let backward = CausalSoftmaxGradient { scale: self.scale };
        Ok(Some(weights.apply_op2_no_bwd(&gradient.contiguous()?, &backward)?))
    }
}

impl CustomOp2 for CausalSoftmaxGradient {
    fn name(&self) -> &'static str {
        "causal-softmax-gradient"
    }

    fn cpu_fwd(&self, w: &CpuStorage, at: &Layout, g: &CpuStorage, g_at: &Layout) -> Result<(CpuStorage, Shape)> {
        let (weights, g, len) = (slice(w, at)?, slice(g, g_at)?, row_len(at));
        let mut gradient = vec![0.0; weights.len()];
        let rows = weights.chunks_exact(len).zip(g.chunks_exact(len)).zip(gradient.chunks_exact_mut(len));
        for (index, ((weights, g), gradient)) in rows.enumerate() {
            let seen = index % len + 1;
            let level: f32 = weights[..seen].iter().zip(g).map(|(weight, g)| weight * g).sum();
            for ((gradient, weight), g) in gradient[..seen].iter_mut().zip(weights).zip(g) {
                *gradient = self.scale * weight * (g - level);
            }
        }
        answer(gradient, at)
    }
}

struct CrossEntropy {
    targets: Vec<u32>,
}
struct CrossEntropyGradient<'a> {
    targets: &'a [u32],
    /// Gradient of the mean.
    scale: f32,
}

/// The row's exponentials less the largest logit, written to `weights`; their sum, and that logit.
fn exponentials(row: &[f32], weights: &mut [f32]) -> (f32, f32) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for (weight, logit) in weights.iter_mut().zip(row) {
        *weight = (logit - largest).exp();
        sum += *weight;
    }
    (sum, largest)
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (logits, len) = (slice(storage, layout)?, row_len(layout));
        let mut weights = vec![0.0; len];
        let mut nats = 0.0;
        for (row, &target) in logits.chunks_exact(len).zip(&self.targets) {
            let (sum, largest) = exponentials(row, &mut weights);
            nats += f64::from(sum.ln() + largest - row[target as usize]);
        }
        Ok((CpuStorage::F32(vec![(nats / self.targets.len() as f64) as f32]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let scale = gradient.to_scalar::<f32>()? / self.targets.len() as f32;
        Ok(Some(logits.apply_op1_no_bwd(&CrossEntropyGradient { targets: &self.targets, scale })?))
    }
}

impl CustomOp1 for CrossEntropyGradient<'_> {
    fn name(&self) -> &'static str {
        "cross-entropy-gradient"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (logits, len) = (slice(storage, layout)?, row_len(layout));
        let mut gradient = vec![0.0; logits.len()];
        for ((row, gradient), &target) in logits.chunks_exact(len).zip(gradient.chunks_exact_mut(len)).zip(self.targets)
        {
            let (sum, _) = exponentials(row, gradient);
            gradient.iter_mut().for_each(|weight| *weight *= self.scale / sum);
            gradient[target as usize] -= self.scale;
        }
        answer(gradient, layout)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{D, Device, Var};
    use candle_nn::{loss, ops::softmax};

    use super::*;

    /// Compares values and gradients, weighted so that no symmetry hides a mistake.
    fn check(shape: &[usize], fused: impl Fn(&Tensor) -> Tensor, composed: impl Fn(&Tensor) -> Tensor) {
        let len: usize = shape.iter().product();
        let values: Vec<f32> = (0..len).map(|index| ((index * 37 % 101) as f32 - 50.0) / 17.0).collect();
        let x = Var::from_vec(values, shape, &Device::Cpu).unwrap();
        let run = |operation: &dyn Fn(&Tensor) -> Tensor| -> (Vec<f32>, Vec<f32>) {
            let y = operation(x.as_tensor()).flatten_all().unwrap();
            let weights: Vec<f32> = (0..y.elem_count()).map(|index| (index % 7) as f32 - 2.5).collect();
            let weights = Tensor::new(weights, &Device::Cpu).unwrap();
            let gradients = (&y * weights).unwrap().sum_all().unwrap().backward().unwrap();
            let gradient = gradients.get(&x).unwrap().flatten_all().unwrap();
            (y.to_vec1().unwrap(), gradient.to_vec1().unwrap())
        };
        let (ours, theirs) = (run(&fused), run(&composed));
        for (a, b) in ours.0.iter().zip(&theirs.0).chain(ours.1.iter().zip(&theirs.1)) {
            assert!((a - b).abs() < 2e-5 * (1.0 + b.abs()), "{a} and {b}");
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_composed_operations() {
        check(&[6, 5], |x| gelu(x).unwrap(), |x| x.gelu().unwrap());
        check(
            &[6, 5],
            |x| normalise(x, 1e-5).unwrap(),
            |x| {
                let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1).unwrap()).unwrap();
                let variance = centred.sqr().unwrap().mean_keepdim(D::Minus1).unwrap();
                centred.broadcast_div(&(variance + 1e-5).unwrap().sqrt().unwrap()).unwrap()
            },
        );
        check(
            &[2, 4, 4],
            |x| causal_softmax(x, 0.3).unwrap(),
            |x| {
                let mask: Vec<f32> = (0..16).map(|c| if c % 4 > c / 4 { f32::NEG_INFINITY } else { 0.0 }).collect();
                let mask = Tensor::from_vec(mask, (4, 4), &Device::Cpu).unwrap();
                softmax(&(x * 0.3).unwrap().broadcast_add(&mask).unwrap(), D::Minus1).unwrap()
            },
        );
        let targets = vec![4, 0, 2, 2, 1, 3];
        check(
            &[6, 5],
            |x| cross_entropy(x, targets.clone()).unwrap(),
            |x| loss::cross_entropy(x, &Tensor::new(targets.as_slice(), &Device::Cpu).unwrap()).unwrap(),
        );
    }
}
