//! Tables of vectors, looked up by token or by position.

use candle_core::{DType, Result, Tensor};

/// One vector a row.
pub(crate) struct Embedding {
    /// `[id, column]`, in the model's precision.
    pub table: Tensor,
}

impl Embedding {
    /// The vectors of `ids` `[row]` as `[row, column]`, f32.
    pub fn forward(&self, ids: &[u32]) -> Result<Tensor> {
        let ids = Tensor::new(ids, self.table.device())?;
        self.table.index_select(&ids, 0)?.to_dtype(DType::F32)
    }
}
