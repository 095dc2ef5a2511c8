//! The innermost product: a few rows with a block of one panel, all sums in registers.

use std::ops::Range;

use pulp::Simd;

use super::packed::{LINE, Line};

/// What a tile of rows is multiplied with, and where the result belongs.
pub(super) struct Tile<'a> {
    /// `[input]`.
    pub lines: &'a [Line],
    /// What the sums are added to: these, or what stands in the result.
    pub bias: Option<&'a Line>,
    /// Columns of the result: a line of them, fewer in the last panel.
    pub columns: Range<usize>,
}

/// Vectors of `S`, `WIDE` a line.
#[derive(Clone, Copy)]
pub(super) struct Vectors<S, const WIDE: usize>(pub S);

impl<S: Simd, const WIDE: usize> Vectors<S, WIDE> {
    /// Adds `x` `[input][ROWS]` times the tile's lines to `ROWS` rows of the result.
    #[inline(always)]
    pub fn tile<const ROWS: usize>(self, tile: &Tile<'_>, x: &[f32], y: &mut [&mut [f32]]) {
        let mut sums = [[self.0.splat_f32s(0.0); WIDE]; ROWS];
        // Four inputs a turn: a turn costs instructions of its own.
        let (x, x_rest) = x.as_chunks::<ROWS>().0.as_chunks::<4>();
        let (lines, lines_rest) = tile.lines.as_chunks::<4>();
        for (x, lines) in x.iter().zip(lines) {
            for input in 0..4 {
                self.add_products(&mut sums, &x[input], &lines[input]);
            }
        }
        for (x, line) in x_rest.iter().zip(lines_rest) {
            self.add_products(&mut sums, x, line);
        }
        for (sums, y) in sums.iter().zip(y) {
            let y = &mut y[tile.columns.clone()];
            // A whole line in place, a part of one by way of a copy.
            if let Ok(y) = <&mut [f32; LINE]>::try_from(&mut *y) {
                self.add(sums, tile.bias, y);
            } else {
                let mut line = [0.0; LINE];
                line[..y.len()].copy_from_slice(y);
                self.add(sums, tile.bias, &mut line);
                y.copy_from_slice(&line[..y.len()]);
            }
        }
    }

    /// The same with fewer than `HIGH` rows: as many as `y` has.
    #[inline(always)]
    pub fn rest<const HIGH: usize>(self, tile: &Tile<'_>, x: &[f32], y: &mut [&mut [f32]]) {
        macro_rules! rows {
            ($($rows:literal)*) => {
                match y.len() {
                    $($rows if $rows < HIGH => self.tile::<$rows>(tile, x, y),)*
                    _ => debug_assert!(y.is_empty(), "{} rows are no rest of {HIGH}", y.len()),
                }
            };
        }
        rows!(1 2 3 4 5 6 7 8 9 10 11);
    }

    /// Adds the products of one input of each row with its line.
    #[inline(always)]
    fn add_products<const ROWS: usize>(self, sums: &mut [[S::f32s; WIDE]; ROWS], x: &[f32; ROWS], line: &Line) {
        let line = self.vectors(line);
        for row in 0..ROWS {
            let x = self.0.splat_f32s(x[row]);
            for part in 0..WIDE {
                sums[row][part] = self.0.mul_add_e_f32s(x, line[part], sums[row][part]);
            }
        }
    }

    #[inline(always)]
    fn vectors(self, line: &Line) -> [S::f32s; WIDE] {
        let (vectors, _) = S::as_simd_f32s(&line.0);
        std::array::from_fn(|part| vectors[part])
    }

    #[inline(always)]
    fn add(self, sums: &[S::f32s; WIDE], bias: Option<&Line>, y: &mut [f32; LINE]) {
        let (y, _) = S::as_mut_simd_f32s(y);
        let bias = bias.map(|bias| self.vectors(bias));
        for part in 0..WIDE {
            y[part] = self.0.add_f32s(bias.map_or(y[part], |bias| bias[part]), sums[part]);
        }
    }
}
