//! CPU kernels: matrix products (`gemm`), and what lies between them as plain loops that the compiler turns into vector code.
//!
//! Every kernel works row by row with a summation order that depends on the row alone, so a token's numbers never
//! depend on what shares its batch.
//!
//! Public for benches and counters of instructions alone; nobody else sees more than the model.

pub mod attention;
pub(crate) mod buffers;
pub mod gemm;
pub(crate) mod math;
pub(crate) mod paged;
pub mod pool;
pub(crate) mod rows;
pub(crate) mod write;
