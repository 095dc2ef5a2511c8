//! The kernels with the shapes of GPT-2 small: `cargo bench -p lode-model`.
//!
//! `decode`: few rows, where the time is that of reading the weights; every round reads others, as a forward pass does.
//! `batch`: the rows of a full batch in mining.
#![allow(missing_docs, reason = "criterion's macros write functions of their own")]

use std::hint::black_box;

use candle_core::{Device, Result, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lode_domain::pooling::Pooling;
use lode_model::kernels::{
    attention::{Heads, Segment, attend},
    gemm::{Packed, multiply},
    pool::pool,
};

/// Input and output width of the linears of a block, and of the head.
const SHAPES: [(usize, usize); 5] = [(768, 2304), (768, 768), (768, 3072), (3072, 768), (768, 50_257)];
const ROWS: [usize; 5] = [1, 2, 8, 32, 64];
/// The rows of a full batch.
const BATCH: usize = 512;
/// Numbers in so many weights that no cache holds them.
const BEYOND_CACHES: usize = 40_000_000;

fn matrix(rows: usize, columns: usize) -> Result<Tensor> {
    Tensor::randn(0f32, 1.0, (rows, columns), &Device::Cpu)
}

fn products(criterion: &mut Criterion) -> Result<()> {
    for (input, output) in SHAPES {
        let weight = matrix(input, output)?;
        let copies = (BEYOND_CACHES / (input * output)).max(1);
        let weights = (0..copies).map(|_| Packed::new(&weight, None)).collect::<Result<Vec<_>>>()?;
        let mut group = criterion.benchmark_group(format!("product {input}x{output}"));
        let rows = ROWS.into_iter().chain((output < 50_000).then_some(BATCH));
        for rows in rows {
            let x = matrix(rows, input)?;
            let mut turns = weights.iter().cycle();
            group.throughput(Throughput::Elements((rows * input * output * 2) as u64));
            group.bench_function(BenchmarkId::from_parameter(rows), |bencher| {
                bencher.iter(|| turns.next().map(|weight| multiply(black_box(&x), weight)));
            });
        }
        group.finish();
    }
    Ok(())
}

fn between(criterion: &mut Criterion) -> Result<()> {
    let (q, k, v) = (matrix(BATCH, 768)?, matrix(BATCH, 768)?, matrix(BATCH, 768)?);
    let heads = Heads { query: 12, key: 12, dim: 64 };
    let segments: Vec<Segment> = (0..BATCH / 32)
        .map(|number| Segment {
            first_row: number * 32,
            rows: 32,
            first_key: number * 32,
            past: 0,
            visible: usize::MAX,
        })
        .collect();
    criterion.bench_function("attention 512 rows in sentences of 32", |bencher| {
        bencher.iter(|| attend(black_box(&q), &k, &v, heads, &segments));
    });
    let activations = matrix(32, 3072)?;
    let counted: Vec<u32> = (0..32).collect();
    let mut pooled = vec![0.0; 3072];
    criterion.bench_function("maximum over 32 tokens of 3072 units", |bencher| {
        bencher.iter(|| pool(Pooling::Max, black_box(&activations), &counted, &mut pooled));
    });
    Ok(())
}

fn all(criterion: &mut Criterion) {
    products(criterion).and_then(|()| between(criterion)).expect("matrices fit into memory");
}

criterion_group! { name = benches; config = Criterion::default().sample_size(20); targets = all }
criterion_main!(benches);
