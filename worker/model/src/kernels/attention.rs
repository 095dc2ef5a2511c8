//! Attention inside segments of a packed batch: causal, grouped heads, keys from the batch itself or from a cache.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{
    buffers,
    math::{dot, exp, vectorised},
    rows::Matrix,
};

/// A run of rows that attend to the same run of keys: a sentence, or the new tokens of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First query row.
    pub first_row: usize,
    /// Number of query rows; the first stands at position `past`.
    pub rows: usize,
    /// Row of the key at position 0.
    pub first_key: usize,
    /// Positions before the first query row.
    pub past: usize,
    /// Keys at this position and after are never seen: what follows is padding.
    pub visible: usize,
}

impl Segment {
    /// How many keys query row `row` of the segment sees.
    fn keys(&self, row: usize) -> usize {
        (self.past + row + 1).min(self.visible)
    }
}

/// How many heads there are, and how wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub query: usize,
    /// Key and value heads; each serves `query / key` query heads.
    pub key: usize,
    /// Width of a head.
    pub dim: usize,
}

/// softmax(q k^T / sqrt(dim)) v within each segment.
///
/// `q` `[row, query head * dim]`, `k` and `v` `[key row, key head * dim]`, result like `q`; rows in no segment are zero.
/// A row's result depends on its query, on the keys it sees and on nothing else, bit for bit.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads, segments: &[Segment]) -> Result<Tensor> {
    if q.device().is_cpu() {
        q.apply_op3_no_bwd(k, v, &Attend { heads, segments })
    } else {
        composed(q, k, v, heads, segments)
    }
}

struct Attend<'a> {
    heads: Heads,
    segments: &'a [Segment],
}

impl CustomOp3 for Attend<'_> {
    fn name(&self) -> &'static str {
        "attend"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        q_layout: &Layout,
        k: &CpuStorage,
        k_layout: &Layout,
        v: &CpuStorage,
        v_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (q, k, v) = (Matrix::new(q, q_layout)?, Matrix::new(k, k_layout)?, Matrix::new(v, v_layout)?);
        let Heads { query, key, dim } = self.heads;
        let mut place = vec![None; q_layout.dims()[0]];
        for segment in self.segments {
            for row in 0..segment.rows {
                place[segment.first_row + row] = Some((segment.first_key, segment.keys(row)));
            }
        }
        let scale = 1.0 / (dim as f32).sqrt();
        let mut out = buffers::take(place.len() * query * dim);
        // A row of all heads is little enough for one task, and enough.
        out.par_chunks_exact_mut(query * dim).enumerate().for_each_init(Vec::new, |scores, (row, out)| {
            let Some((first_key, keys)) = place[row] else { return out.fill(0.0) };
            vectorised(
                #[inline(always)]
                || {
                    let heads = out.chunks_exact_mut(dim).zip(q.row(row).chunks_exact(dim));
                    for (head, (out, q)) in heads.enumerate() {
                        let first = head / (query / key) * dim;
                        let seen = Seen { k, v, rows: first_key..first_key + keys, columns: first..first + dim };
                        attend_one(q, &seen, scale, scores, out);
                    }
                },
            );
        });
        Ok((CpuStorage::F32(out), Shape::from((place.len(), query * dim))))
    }
}

/// What one query of one head sees.
struct Seen<'a> {
    k: Matrix<'a>,
    v: Matrix<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<'a> Seen<'a> {
    /// Keys, or values, one after the other, `[dim]` each.
    #[inline(always)]
    fn of(&self, matrix: Matrix<'a>, columns: Range<usize>) -> impl Iterator<Item = &'a [f32]> {
        matrix.part(self.rows.clone(), self.columns.start + columns.start..self.columns.start + columns.end)
    }
}

/// One query of one head over all keys it sees. Plain loops: what is not inlined here has narrow vectors.
#[inline(always)]
fn attend_one(q: &[f32], seen: &Seen<'_>, scale: f32, scores: &mut Vec<f32>, out: &mut [f32]) {
    scores.clear();
    scores.resize(seen.rows.len(), 0.0);
    for (score, k) in scores.iter_mut().zip(seen.of(seen.k, 0..q.len())) {
        *score = dot(q, k) * scale;
    }
    let mut largest = f32::NEG_INFINITY;
    for &score in scores.iter() {
        largest = largest.max(score);
    }
    for score in scores.iter_mut() {
        *score = exp(*score - largest);
    }
    let mut total = 0.0;
    for weight in scores.iter() {
        total += weight;
    }
    // So many columns at a time as stay in registers.
    let wide = out.len() - out.len() % WIDE;
    for first in (0..wide).step_by(WIDE) {
        let mut sums = [0.0f32; WIDE];
        for (weight, v) in scores.iter().zip(seen.of(seen.v, first..first + WIDE)) {
            for (sum, v) in sums.iter_mut().zip(v) {
                *sum += weight * v;
            }
        }
        for (out, sum) in out[first..].iter_mut().zip(sums) {
            *out = sum / total;
        }
    }
    for (column, out) in out.iter_mut().enumerate().skip(wide) {
        let mut sum = 0.0;
        for (weight, v) in scores.iter().zip(seen.of(seen.v, column..column + 1)) {
            sum += weight * v[0];
        }
        *out = sum / total;
    }
}

/// Columns of the values that are summed side by side.
const WIDE: usize = 32;

/// The same from the tensor library's operations, for devices without an own kernel.
fn composed(q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads, segments: &[Segment]) -> Result<Tensor> {
    let Heads { query, key, dim } = heads;
    let device = q.device();
    let scale = 1.0 / (dim as f64).sqrt();
    let mut parts = Vec::with_capacity(segments.len() + 1);
    let mut done = 0;
    for segment in segments {
        let (rows, keys) = (segment.rows, segment.keys(segment.rows - 1));
        // [head, row, dim], keys and values repeated for the query heads they serve.
        let q = q.narrow(0, segment.first_row, rows)?.reshape((rows, query, dim))?.transpose(0, 1)?.contiguous()?;
        let repeated = |x: &Tensor| {
            let x = x.narrow(0, segment.first_key, keys)?.reshape((keys, key, 1, dim))?;
            let x = x.broadcast_as((keys, key, query / key, dim))?.reshape((keys, query, dim))?;
            x.transpose(0, 1)?.contiguous()
        };
        let mask: Vec<f32> = (0..rows)
            .flat_map(|row| (0..keys).map(move |key| if key < segment.keys(row) { 0.0 } else { f32::NEG_INFINITY }))
            .collect();
        let mask = Tensor::from_vec(mask, (1, rows, keys), device)?;
        let scores = (q.matmul(&repeated(k)?.transpose(1, 2)?)? * scale)?.broadcast_add(&mask)?;
        let weights = candle_nn::ops::softmax(&scores, D::Minus1)?;
        let out = weights.matmul(&repeated(v)?)?.transpose(0, 1)?.reshape((rows, query * dim))?;
        done = segment.first_row + rows;
        parts.push(out);
    }
    let filler = q.dim(0)? - done;
    if filler > 0 {
        parts.push(Tensor::zeros((filler, query * dim), q.dtype(), device)?);
    }
    Tensor::cat(&parts, 0)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn kernel_and_composed_operations_agree() {
        let heads = Heads { query: 4, key: 2, dim: 24 };
        let random = |rows: usize, width: usize| Tensor::randn(0f32, 1.0, (rows, width), &Device::Cpu).unwrap();
        let (q, k, v) = (random(12, 96), random(20, 48), random(20, 48));
        let segments = [
            Segment { first_row: 0, rows: 5, first_key: 2, past: 0, visible: usize::MAX },
            Segment { first_row: 5, rows: 4, first_key: 9, past: 0, visible: 2 },
            Segment { first_row: 9, rows: 1, first_key: 12, past: 7, visible: usize::MAX },
        ];
        let kernel = attend(&q, &k, &v, heads, &segments).unwrap().to_vec2::<f32>().unwrap();
        let library = composed(&q, &k, &v, heads, &segments).unwrap().to_vec2::<f32>().unwrap();
        for (a, b) in kernel.iter().flatten().zip(library.iter().flatten()) {
            assert!((a - b).abs() < 2e-6, "{a} {b}");
        }
        assert!(kernel[10].iter().chain(&kernel[11]).all(|&x| x == 0.0), "filler rows are zero");
    }
}
