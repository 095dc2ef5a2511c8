//! Keys and values of earlier tokens: two arenas per block, in pages that sequences hold.

use candle_core::{Result, Tensor};

use crate::{
    kernels::{
        attention::Heads,
        paged::{Arenas, Run},
    },
    pages::{Page, Pages},
    rows::{Keys, Rows},
};

/// Keys and values of all sequences of an engine.
pub(crate) struct Cache {
    /// Who holds which page.
    pub pages: Pages,
    /// Per block; made when the block first runs.
    blocks: Vec<Option<Arenas>>,
}

impl Cache {
    /// Of `pages` pages, for a decoder of `blocks` blocks.
    pub fn new(pages: usize, blocks: usize) -> Self {
        Self { pages: Pages::new(pages), blocks: vec![None; blocks] }
    }

    /// Copies whole pages of all blocks, `(from, to)`.
    pub fn copy(&self, pages: &[(Page, Page)]) -> Result<()> {
        if pages.is_empty() {
            return Ok(());
        }
        self.blocks.iter().flatten().try_for_each(|arenas| arenas.copy(pages))
    }
}

/// Bytes of a position's keys and values in a block of such heads.
pub(crate) fn position_bytes(heads: Heads) -> usize {
    2 * heads.key * heads.dim * size_of::<f32>()
}

/// The cache as a forward pass sees it.
pub(crate) struct CachedKeys<'a> {
    /// Where keys and values are.
    pub cache: &'a mut Cache,
    /// Whose rows the batch has; every row is in one run.
    pub runs: Vec<Run>,
}

impl Keys for CachedKeys<'_> {
    fn attend(&mut self, block: usize, [q, k, v]: [&Tensor; 3], heads: Heads, _rows: &Rows) -> Result<Tensor> {
        let pages = self.cache.pages.capacity();
        let arenas = match &mut self.cache.blocks[block] {
            Some(arenas) => arenas,
            empty => empty.insert(Arenas::new(pages, heads, k)?),
        };
        arenas.append(k, v, &self.runs)?;
        arenas.attend(q, &self.runs)
    }
}
