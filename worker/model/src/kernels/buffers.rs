//! Memory of matrices that are through, for those that come: a forward pass makes the same ones again and again, and fresh
//! pages cost more than what is written into them.

use std::{cell::RefCell, mem};

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor};

/// The most that are kept; a block has fewer at a time.
const KEPT: usize = 12;

thread_local! {
    static FREE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer of `len` numbers, whatever they are: all are to be written.
pub fn take(len: usize) -> Vec<f32> {
    let fitting = FREE.with_borrow_mut(|free| {
        let places = (0..free.len()).filter(|&place| free[place].capacity() >= len);
        places.min_by_key(|&place| free[place].capacity()).map(|place| free.swap_remove(place))
    });
    let mut buffer = fitting.unwrap_or_default();
    buffer.resize(len, 0.0);
    buffer
}

/// Keeps a buffer for the next that asks on this thread; of too many the smallest goes.
pub fn give(buffer: Vec<f32>) {
    FREE.with_borrow_mut(|free| {
        free.push(buffer);
        if free.len() > KEPT
            && let Some(place) = (0..free.len()).min_by_key(|&place| free[place].capacity())
        {
            free.swap_remove(place);
        }
    });
}

/// Takes the memory of a tensor that nobody uses any more; other tensors that share it are empty from now on.
///
/// # Errors
/// If the tensor is in use at this moment.
pub fn recycle(tensor: Tensor) -> Result<()> {
    if tensor.device().is_cpu() {
        tensor.inplace_op1(&Empty)?;
    }
    Ok(())
}

struct Empty;

impl InplaceOp1 for Empty {
    fn name(&self) -> &'static str {
        "recycle"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _layout: &Layout) -> Result<()> {
        if let CpuStorage::F32(values) = storage {
            give(mem::take(values));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    #[test]
    fn memory_is_used_again() {
        let tensor = Tensor::zeros((4, 1000), DType::F32, &Device::Cpu).unwrap();
        recycle(tensor).unwrap();
        assert_eq!(FREE.with_borrow(Vec::len), 1);
        assert_eq!(take(5000).len(), 5000, "too large for what is there");
        assert_eq!(FREE.with_borrow(Vec::len), 1);
        let buffer = take(3000);
        assert_eq!((buffer.len(), buffer.capacity()), (3000, 4000));
        assert_eq!(FREE.with_borrow(Vec::len), 0);
        give(buffer);
        for len in 1..100 {
            give(vec![0.0; len]);
        }
        assert_eq!(FREE.with_borrow(Vec::len), KEPT);
        assert!(take(3000).capacity() >= 3000, "the largest are kept");
    }
}
