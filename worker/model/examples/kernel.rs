//! Runs kernels for whoever counts their instructions: `kernel NAME...`, each once for the caches and once in [`measured`],
//! all on one thread. `tests/callgrind/check` counts, and compares.

use std::{env, error::Error, hint::black_box};

use candle_core::{Device, Tensor};
use lode_domain::pooling::Pooling;
use lode_model::kernels::{
    attention::{Heads, Segment, attend},
    gemm::{Packed, multiply},
    pool::pool,
};

type Work = Box<dyn Fn() -> candle_core::Result<()> + Send + Sync>;

fn main() -> Result<(), Box<dyn Error>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build()?;
    for name in env::args().skip(1) {
        let work = case(&name)?;
        // On the pool's thread, where the kernels then stay.
        pool.install(|| work().and_then(|()| measured(&work)))?;
    }
    Ok(())
}

/// The one call that counts.
#[inline(never)]
fn measured(work: &Work) -> candle_core::Result<()> {
    work()
}

fn case(name: &str) -> Result<Work, Box<dyn Error>> {
    let matrix = |rows: usize, columns: usize| {
        let values = (0..rows * columns).map(|i| (i * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu)
    };
    let product = |rows: usize| -> Result<Work, Box<dyn Error>> {
        let (x, weight) = (matrix(rows, 768)?, Packed::new(&matrix(768, 256)?, None)?);
        Ok(Box::new(move || multiply(&x, &weight).map(|y| drop(black_box(y)))))
    };
    Ok(match name {
        "product-1-row" => product(1)?,
        "product-8-rows" => product(8)?,
        "product-192-rows" => product(192)?,
        "attention" => {
            let (q, k, v) = (matrix(136, 768)?, matrix(136, 768)?, matrix(136, 768)?);
            let heads = Heads { query: 12, key: 12, dim: 64 };
            let segment =
                |first| Segment { first_row: first, rows: 34, first_key: first, past: 0, visible: usize::MAX };
            let segments: Vec<Segment> = [0, 34, 68, 102].map(segment).into();
            Box::new(move || attend(&q, &k, &v, heads, &segments).map(|y| drop(black_box(y))))
        }
        "pool-max" => {
            let activations = matrix(34, 3072)?;
            let counted: Vec<u32> = (0..34).collect();
            Box::new(move || {
                let mut pooled = vec![0.0; 3072];
                pool(Pooling::Max, &activations, &counted, &mut pooled)?;
                black_box(pooled);
                Ok(())
            })
        }
        other => return Err(format!("there is no kernel `{other}`").into()),
    })
}
