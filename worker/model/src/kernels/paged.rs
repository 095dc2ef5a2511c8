//! Attention over keys and values that lie in pages, and what brings them there.
//!
//! A page has [`PAGE`] positions of all heads of one block. Keys stand `[page, key head, dim, position]`, so that one query meets all
//! keys of a page in vector code; values `[page, key head, position, dim]`.

use candle_core::{CpuStorage, CustomOp3, D, InplaceOp1, InplaceOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{
    attention::Heads,
    buffers,
    math::{exp, sum, vectorised},
    rows::{Matrix, values, values_mut},
};
use crate::pages::{PAGE, Page};

/// A run of rows of one sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// First row.
    pub first_row: usize,
    /// Number of rows; the first stands at position `past`.
    pub rows: usize,
    /// Positions before the first row.
    pub past: usize,
    /// Pages of the sequence, enough for the last row's position.
    pub pages: Vec<Page>,
}

impl Run {
    /// Row, page and place within the page of every row.
    fn places(&self) -> impl Iterator<Item = (usize, Page, usize)> + '_ {
        (0..self.rows).map(|row| {
            let position = self.past + row;
            (self.first_row + row, self.pages[position / PAGE], position % PAGE)
        })
    }
}

/// Arenas of one block: keys `[page, key head, dim, position]` and values `[page, key head, position, dim]`.
#[derive(Clone, Debug)]
pub(crate) struct Arenas {
    keys: Tensor,
    values: Tensor,
    heads: Heads,
}

impl Arenas {
    /// Of `pages` pages like the new keys of `like`.
    pub fn new(pages: usize, heads: Heads, like: &Tensor) -> Result<Self> {
        let Heads { key, dim, .. } = heads;
        // The system gives memory for what is written, not for what is asked for.
        let keys = Tensor::zeros((pages, key, dim, PAGE), like.dtype(), like.device())?;
        let values = Tensor::zeros((pages, key, PAGE, dim), like.dtype(), like.device())?;
        Ok(Self { keys, values, heads })
    }

    /// Brings the rows `k` and `v` `[row, key head * dim]` of the runs to their pages.
    pub fn append(&self, k: &Tensor, v: &Tensor, runs: &[Run]) -> Result<()> {
        for (arena, new, which) in [(&self.keys, k, Which::Keys), (&self.values, v, Which::Values)] {
            let append = Append { heads: self.heads, which, runs };
            if arena.device().is_cpu() { arena.inplace_op2(new, &append)? } else { append.composed(arena, new)? }
        }
        Ok(())
    }

    /// Copies whole pages, `(from, to)`.
    pub fn copy(&self, pages: &[(Page, Page)]) -> Result<()> {
        for arena in [&self.keys, &self.values] {
            if arena.device().is_cpu() {
                arena.inplace_op1(&CopyPages(pages))?;
                continue;
            }
            for &(from, to) in pages {
                arena.slice_set(&arena.narrow(0, from as usize, 1)?.copy()?, 0, to as usize)?;
            }
        }
        Ok(())
    }

    /// softmax(q k^T / sqrt(dim)) v, causal, for `q` `[row, query head * dim]`, whose rows' own keys are in their pages; the result is
    /// like `q`.
    ///
    /// A row's result depends on its query, on the keys and values up to its position and on nothing else, bit for bit.
    pub fn attend(&self, q: &Tensor, runs: &[Run]) -> Result<Tensor> {
        if q.device().is_cpu() {
            return q.apply_op3_no_bwd(&self.keys, &self.values, &Attend { heads: self.heads, runs });
        }
        let parts = runs.iter().map(|run| self.composed(q, run)).collect::<Result<Vec<_>>>()?;
        Tensor::cat(&parts, 0)
    }

    /// One run's attention from the tensor library's operations, for other devices.
    fn composed(&self, q: &Tensor, run: &Run) -> Result<Tensor> {
        let Heads { query, key, dim } = self.heads;
        let keys = run.past + run.rows;
        let pages = &run.pages[..keys.div_ceil(PAGE)];
        let index = Tensor::new(pages, q.device())?;
        // [key head, position, dim], then repeated for the query heads that they serve.
        let gather = |arena: Tensor| {
            let x = arena.index_select(&index, 0)?.transpose(0, 1)?.contiguous()?;
            let x = x.reshape((key, pages.len() * PAGE, dim))?.narrow(1, 0, keys)?;
            let x = x.unsqueeze(1)?.broadcast_as((key, query / key, keys, dim))?;
            x.reshape((query, keys, dim))?.contiguous()
        };
        let k = gather(self.keys.transpose(2, 3)?.contiguous()?)?;
        let v = gather(self.values.clone())?;
        let q = q
            .narrow(0, run.first_row, run.rows)?
            .contiguous()?
            .reshape((run.rows, query, dim))?
            .transpose(0, 1)?
            .contiguous()?;
        let mask: Vec<f32> = (0..run.rows)
            .flat_map(|row| (0..keys).map(move |key| if key <= run.past + row { 0.0 } else { f32::NEG_INFINITY }))
            .collect();
        let mask = Tensor::from_vec(mask, (1, run.rows, keys), q.device())?;
        let scores = (q.matmul(&k.transpose(1, 2)?)? * (1.0 / (dim as f64).sqrt()))?.broadcast_add(&mask)?;
        let weights = candle_nn::ops::softmax(&scores, D::Minus1)?;
        weights.matmul(&v)?.transpose(0, 1)?.contiguous()?.reshape((run.rows, query * dim))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Keys,
    Values,
}

struct Append<'a> {
    heads: Heads,
    which: Which,
    runs: &'a [Run],
}

impl Append<'_> {
    /// The same from the tensor library's operations.
    fn composed(&self, arena: &Tensor, new: &Tensor) -> Result<()> {
        let Heads { key, dim, .. } = self.heads;
        let (mut places, mut rows) = (Vec::new(), Vec::new());
        for (row, page, place) in self.runs.iter().flat_map(Run::places) {
            for column in 0..key * dim {
                places.push(self.index(page, column, place) as u32);
                rows.push((row * key * dim + column) as u32);
            }
        }
        let new = new.contiguous()?.flatten_all()?.index_select(&Tensor::new(rows, new.device())?, 0)?;
        arena.flatten_all()?.scatter_set(&Tensor::new(places, new.device())?, &new, 0)
    }

    /// Where column `column` of a row goes that stands at `place` in its page.
    fn index(&self, page: Page, column: usize, place: usize) -> usize {
        let Heads { key, dim, .. } = self.heads;
        let head = (page as usize * key + column / dim) * dim * PAGE;
        match self.which {
            Which::Keys => head + column % dim * PAGE + place,
            Which::Values => head + place * dim + column % dim,
        }
    }
}

impl InplaceOp2 for Append<'_> {
    fn name(&self) -> &'static str {
        "append"
    }

    fn cpu_fwd(&self, arena: &mut CpuStorage, layout: &Layout, new: &CpuStorage, new_layout: &Layout) -> Result<()> {
        let dim = self.heads.dim;
        let (arena, new) = (values_mut(arena, layout)?, Matrix::new(new, new_layout)?);
        for (row, page, place) in self.runs.iter().flat_map(Run::places) {
            for (head, row) in new.row(row).chunks_exact(dim).enumerate() {
                let start = self.index(page, head * dim, place);
                match self.which {
                    Which::Keys => {
                        arena[start..].iter_mut().step_by(PAGE).zip(row).for_each(|(to, from)| *to = *from);
                    }
                    Which::Values => arena[start..start + dim].copy_from_slice(row),
                }
            }
        }
        Ok(())
    }
}

struct CopyPages<'a>(&'a [(Page, Page)]);

impl InplaceOp1 for CopyPages<'_> {
    fn name(&self) -> &'static str {
        "copy-pages"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let arena = values_mut(storage, layout)?;
        let page = layout.shape().elem_count() / layout.dims()[0];
        for &(from, to) in self.0 {
            let from = from as usize * page;
            arena.copy_within(from..from + page, to as usize * page);
        }
        Ok(())
    }
}

struct Attend<'a> {
    heads: Heads,
    runs: &'a [Run],
}

impl CustomOp3 for Attend<'_> {
    fn name(&self) -> &'static str {
        "attend-pages"
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
        let (q, k, v) = (Matrix::new(q, q_layout)?, values(k, k_layout)?, values(v, v_layout)?);
        let Heads { query, key, dim } = self.heads;
        let rows = q_layout.dims()[0];
        let mut place = vec![(0, &[][..]); rows];
        for run in self.runs {
            for row in 0..run.rows {
                let keys = run.past + row + 1;
                place[run.first_row + row] = (keys, &run.pages[..keys.div_ceil(PAGE)]);
            }
        }
        let scale = 1.0 / (dim as f32).sqrt();
        let mut out = buffers::take(rows * query * dim);
        // One head of one row is a task: of one sequence, too, there is something for every thread.
        out.par_chunks_exact_mut(dim).enumerate().for_each_init(Vec::new, |scores, (i, out)| {
            let (keys, pages) = place[i / query];
            let (q, head) = (&q.row(i / query)[i % query * dim..][..dim], i % query / (query / key));
            // Where each page's numbers of this head begin.
            let starts = pages.iter().map(|&page| (page as usize * key + head) * dim * PAGE);
            scores.clear();
            scores.resize(pages.len() * PAGE, 0.0);
            vectorised(
                #[inline(always)]
                || {
                    for (start, scores) in starts.clone().zip(scores.as_chunks_mut::<PAGE>().0) {
                        *scores = page_scores(q, &k[start..start + dim * PAGE], scale);
                    }
                    let scores = &mut scores[..keys];
                    let largest = scores.iter().fold(f32::NEG_INFINITY, |largest, &score| largest.max(score));
                    for score in scores.iter_mut() {
                        *score = exp(*score - largest);
                    }
                    let total = sum(keys, |i| scores[i]);
                    let mut first = 0;
                    while first < dim {
                        let width = COLUMNS.min(dim - first);
                        let pages = starts.clone().zip(scores.chunks(PAGE));
                        let columns = weigh(pages.map(|(start, weights)| (&v[start + first..], weights)), (dim, width));
                        for (out, column) in out[first..first + width].iter_mut().zip(columns) {
                            *out = column / total;
                        }
                        first += width;
                    }
                },
            );
        });
        Ok((CpuStorage::F32(out), Shape::from((rows, query * dim))))
    }
}

/// Columns of values that are summed side by side.
const COLUMNS: usize = 32;

/// Scores of all keys `[dim, position]` of a page.
#[inline(always)]
fn page_scores(q: &[f32], k: &[f32], scale: f32) -> [f32; PAGE] {
    let mut scores = [0.0; PAGE];
    for (q, k) in q.iter().zip(k.as_chunks::<PAGE>().0) {
        for (score, k) in scores.iter_mut().zip(k) {
            *score += q * k;
        }
    }
    scores.map(|score| score * scale)
}

/// The sums over positions of weight times value, in columns 0 to `width` of values `[position, dim]`, page by page.
#[inline(always)]
fn weigh<'a>(pages: impl Iterator<Item = (&'a [f32], &'a [f32])>, (dim, width): (usize, usize)) -> [f32; COLUMNS] {
    let mut sums = [0.0; COLUMNS];
    for (v, weights) in pages {
        for (position, weight) in weights.iter().enumerate() {
            let row = &v[position * dim..];
            if let (true, Some(row)) = (width == COLUMNS, row.first_chunk::<COLUMNS>()) {
                for (sum, v) in sums.iter_mut().zip(row) {
                    *sum += weight * v;
                }
            } else {
                for (sum, v) in sums.iter_mut().zip(&row[..width]) {
                    *sum += weight * v;
                }
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::kernels::attention::{Segment, attend};

    fn random(rows: usize, width: usize) -> Tensor {
        Tensor::randn(0f32, 1.0, (rows, width), &Device::Cpu).unwrap()
    }

    fn flat(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Two sequences, one of which came in three pieces and over several pages, against attention over rows.
    #[test]
    fn pages_in_any_order_are_the_same_keys() {
        for dim in [24, 32, 80] {
            let heads = Heads { query: 4, key: 2, dim };
            let arenas = Arenas::new(7, heads, &random(1, 1)).unwrap();
            let (first, second) = (vec![5, 0, 3], vec![6]);
            let (q, k, v) = (random(84, 4 * dim), random(84, 2 * dim), random(84, 2 * dim));
            // Rows 0 to 79 are the first sequence's, 80 to 83 the second's.
            let mut found = Vec::new();
            for (from, to) in [(0, 30), (30, 79), (79, 80)] {
                let run =
                    |first_row, rows, past, pages: &Vec<Page>| Run { first_row, rows, past, pages: pages.clone() };
                let mut runs = vec![run(0, to - from, from, &first)];
                if to == 80 {
                    runs.push(run(1, 4, 0, &second));
                }
                let take = |x: &Tensor| x.narrow(0, from, if to == 80 { 5 } else { to - from }).unwrap();
                let (q, k, v) = (take(&q), take(&k), take(&v));
                arenas.append(&k, &v, &runs).unwrap();
                let attended = arenas.attend(&q, &runs).unwrap();
                let composed: Vec<_> = runs.iter().map(|run| arenas.composed(&q, run).unwrap()).collect();
                let composed = flat(&Tensor::cat(&composed, 0).unwrap());
                assert!(flat(&attended).iter().zip(composed).all(|(a, b)| (a - b).abs() < 2e-6));
                found.extend(flat(&attended));
            }
            let segments = [
                Segment { first_row: 0, rows: 80, first_key: 0, past: 0, visible: usize::MAX },
                Segment { first_row: 80, rows: 4, first_key: 80, past: 0, visible: usize::MAX },
            ];
            let expected = flat(&attend(&q, &k, &v, heads, &segments).unwrap());
            assert_eq!(found.len(), expected.len());
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() < 2e-6, "{a} {b}");
            }
        }
    }

    #[test]
    fn kernels_and_composed_operations_append_alike() {
        let heads = Heads { query: 2, key: 2, dim: 8 };
        let (k, v) = (random(5, 16), random(5, 16));
        let runs = [
            Run { first_row: 0, rows: 3, past: 30, pages: vec![2, 1] },
            Run { first_row: 3, rows: 2, past: 0, pages: vec![0] },
        ];
        let arenas = Arenas::new(4, heads, &k).unwrap();
        arenas.append(&k, &v, &runs).unwrap();
        for (arena, new, which) in [(&arenas.keys, &k, Which::Keys), (&arenas.values, &v, Which::Values)] {
            let other = arena.zeros_like().unwrap();
            Append { heads, which, runs: &runs }.composed(&other, new).unwrap();
            assert_eq!(flat(arena), flat(&other));
        }
        arenas.copy(&[(1, 3)]).unwrap();
        let page = |number| flat(&arenas.keys.get(number).unwrap());
        assert_eq!(page(3), page(1));
    }
}
