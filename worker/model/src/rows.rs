//! What a forward pass runs on: rows of tokens, and the keys that they attend to.

use candle_core::{Result, Tensor};

pub(crate) use crate::kernels::attention::Segment;
use crate::kernels::attention::{Heads, attend};

/// A packed batch: tokens of several texts back to back, one a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    /// Token ids `[row]`.
    pub tokens: Vec<u32>,
    /// Positions within the text `[row]`.
    pub positions: Vec<u32>,
    /// Which rows see which keys; rows in no segment are filler and see nothing.
    pub segments: Vec<Segment>,
}

impl Rows {
    /// Appends `tokens`, of which the first stands at position `past`, as a segment; its keys are the rows from
    /// `first_key` on, of which `visible` at most are seen.
    pub fn push(&mut self, tokens: &[u32], past: usize, first_key: usize, visible: usize) {
        let segment = Segment { first_row: self.len(), rows: tokens.len(), first_key, past, visible };
        self.segments.push(segment);
        self.push_tokens(tokens, past);
    }

    /// Appends `tokens`, of which the first stands at position `past`, without a segment: whoever knows the keys knows the rows.
    pub fn push_tokens(&mut self, tokens: &[u32], past: usize) {
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((past..past + tokens.len()).map(|position| position as u32));
    }

    /// Appends filler up to `rows` rows.
    pub fn fill(&mut self, rows: usize) {
        self.tokens.resize(rows.max(self.len()), 0);
        self.positions.resize(self.tokens.len(), 0);
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }
}

/// Where the keys and values of earlier rows are.
pub(crate) trait Keys {
    /// Takes the new rows' keys and values `[row, key head * dim]` of a block, and has the rows' queries `[row, query head * dim]`
    /// attend to those and to earlier ones; the result is like the queries.
    fn attend(&mut self, block: usize, qkv: [&Tensor; 3], heads: Heads, rows: &Rows) -> Result<Tensor>;
}

/// No earlier rows: segments refer to the batch itself.
pub(crate) struct OwnKeys;

impl Keys for OwnKeys {
    fn attend(&mut self, _block: usize, [q, k, v]: [&Tensor; 3], heads: Heads, rows: &Rows) -> Result<Tensor> {
        attend(q, k, v, heads, &rows.segments)
    }
}
