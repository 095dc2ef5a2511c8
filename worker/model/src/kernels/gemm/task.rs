//! A thread's part of a product: some rows, some panels.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::{
    BLOCK,
    packed::{LINE, Packed},
    tile::{Tile, Vectors},
};

/// How a product is cut into tasks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Division {
    /// Rows of a task; fewer in the last ones.
    pub rows: usize,
    /// Panels of a task; fewer in the last ones.
    pub panels: usize,
}

impl Division {
    /// Of so many rows a block of inputs takes a third of a second-level cache.
    const ROWS: usize = 192;
    /// The outputs of so many panels for so many rows take another third.
    const PANELS: usize = 16;
    /// A task of fewer multiply-adds is not worth a thread.
    const WORTH: usize = 100_000;
    /// Tasks a thread, so that a late one is not waited for long.
    const TASKS: usize = 8;

    /// For `rows` rows on `threads` threads.
    pub fn new(rows: usize, weight: &Packed, threads: usize) -> Self {
        let panels = weight.output().div_ceil(LINE);
        let bands = rows.div_ceil(Self::ROWS).max(1);
        let tasks = (rows * weight.input() * weight.output() / Self::WORTH).clamp(1, Self::TASKS * threads);
        let panels = panels.div_ceil(tasks.div_ceil(bands)).min(Self::PANELS);
        // Whole tiles but for the last.
        let rows = rows.div_ceil(bands).max(1).next_multiple_of(HIGHEST);
        Self { rows, panels }
    }
}

/// Rows of the highest tile; those of other machines divide it.
const HIGHEST: usize = 12;

/// As many rows a tile as leave registers for a line and an input: there are 32 registers of 16 or 4 numbers, 16 of 8.
#[inline(always)]
fn height<S: Simd>() -> usize {
    match S::F32_LANES {
        16 => 12,
        8 | 4 => 6,
        _ => 2,
    }
}

/// Puts the rows of `x` `[row, in]` in the order in which tasks read them: block by block of inputs, within it tile by tile
/// of rows (the last may have fewer), within it `[input][row]`.
pub(super) struct Gather<'a> {
    pub x: &'a [f32],
    pub input: usize,
    /// As long as `x`.
    pub gathered: &'a mut [f32],
}

impl WithSimd for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        match height::<S>() {
            12 => self.run::<12>(),
            6 => self.run::<6>(),
            _ => self.run::<2>(),
        }
    }
}

impl Gather<'_> {
    /// For tiles of `HIGH` rows.
    #[inline(always)]
    fn run<const HIGH: usize>(self) {
        let rows = self.x.len() / self.input;
        let mut gathered = self.gathered;
        for block in blocks(self.input) {
            let (tiles, rest) = gathered.split_at_mut(rows * block.len());
            gathered = rest;
            for (tile, x) in tiles.chunks_mut(HIGH * block.len()).zip(self.x.chunks(HIGH * self.input)) {
                let height = x.len() / self.input;
                if height == HIGH {
                    let rows: [&[f32]; HIGH] = std::array::from_fn(|row| &x[row * self.input..][block.clone()]);
                    for (input, places) in tile.as_chunks_mut::<HIGH>().0.iter_mut().enumerate() {
                        *places = std::array::from_fn(|row| rows[row][input]);
                    }
                } else {
                    for (row, x) in x.chunks_exact(self.input).enumerate() {
                        let places = tile.iter_mut().skip(row).step_by(height);
                        places.zip(&x[block.clone()]).for_each(|(place, x)| *place = *x);
                    }
                }
            }
        }
    }
}

/// The blocks of `input` inputs.
fn blocks(input: usize) -> impl Iterator<Item = Range<usize>> {
    (0..input).step_by(BLOCK).map(move |first| first..(first + BLOCK).min(input))
}

/// The product of some rows with some panels.
pub(super) struct Task<'a, 'y> {
    /// The rows, gathered.
    pub x: &'a [f32],
    pub weight: &'a Packed,
    pub first_panel: usize,
    /// The part of each row of the result that belongs to the panels.
    pub y: Vec<&'y mut [f32]>,
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match S::F32_LANES {
            16 => self.run::<S, 1, 12>(simd),
            8 => self.run::<S, 2, 6>(simd),
            4 => self.run::<S, 4, 6>(simd),
            _ => self.run::<S, LINE, 2>(simd),
        }
    }
}

impl Task<'_, '_> {
    /// In tiles of `HIGH` rows, a line being `WIDE` vectors.
    #[inline(always)]
    fn run<S: Simd, const WIDE: usize, const HIGH: usize>(mut self, simd: S) {
        if WIDE * S::F32_LANES != LINE {
            return;
        }
        debug_assert_eq!(HIGH, height::<S>());
        let vectors = Vectors::<S, WIDE>(simd);
        let columns = self.y.first().map_or(0, |part| part.len());
        let mut gathered = self.x;
        for block in blocks(self.weight.input()) {
            let (tiles, rest) = gathered.split_at(self.y.len() * block.len());
            gathered = rest;
            for number in 0..columns.div_ceil(LINE) {
                let panel = self.first_panel + number;
                let tile = Tile {
                    lines: &self.weight.panel(panel)[block.clone()],
                    bias: (block.start == 0).then(|| self.weight.bias(panel)),
                    columns: number * LINE..columns.min((number + 1) * LINE),
                };
                let mut x = tiles.chunks_exact(HIGH * block.len());
                let mut y = self.y.chunks_exact_mut(HIGH);
                for (x, y) in x.by_ref().zip(y.by_ref()) {
                    vectors.tile::<HIGH>(&tile, x, y);
                }
                vectors.rest::<HIGH>(&tile, x.remainder(), y.into_remainder());
            }
        }
    }
}
