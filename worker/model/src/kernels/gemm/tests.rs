//! Against f64, and bit by bit against itself.

use candle_core::Device;
use proptest::prelude::*;
use pulp::{Simd, WithSimd};

use super::*;

/// Numbers between -1 and 1 that follow from `seed`.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2).wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn pack(weight: &[f32], (input, output): (usize, usize), bias: Option<&[f32]>) -> Packed {
    Packed::new(&Tensor::from_slice(weight, (input, output), &Device::Cpu).unwrap(), bias).unwrap()
}

fn product(x: &[f32], weight: &Packed) -> Vec<f32> {
    let mut y = vec![f32::NAN; x.len() / weight.input() * weight.output()];
    multiply_into(x, weight, &mut y);
    y
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Compares with sums in f64, allowing `in` roundings of the largest partial sum that there could be.
fn check(rows: usize, input: usize, output: usize, with_bias: Option<u64>) {
    let x = numbers(rows * input, 1);
    let weight = numbers(input * output, 2);
    let bias = with_bias.map(|seed| numbers(output, seed));
    let y = product(&x, &pack(&weight, (input, output), bias.as_deref()));
    assert_eq!(y.len(), rows * output);
    for row in 0..rows {
        for column in 0..output {
            let mut exact = bias.as_ref().map_or(0.0, |bias| f64::from(bias[column]));
            let mut size = exact.abs();
            for i in 0..input {
                let term = f64::from(x[row * input + i]) * f64::from(weight[i * output + column]);
                exact += term;
                size += term.abs();
            }
            let error = (f64::from(y[row * output + column]) - exact).abs();
            let roundings = (input + 2) as f64;
            assert!(
                error <= roundings * size * f64::from(f32::EPSILON) / 2.0,
                "{rows} x {input} x {output}: [{row}, {column}] is off by {error:e}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn odd_shapes_are_right(rows in 0usize..40, input in 1usize..600, output in 1usize..80, bias: Option<u64>) {
        check(rows, input, output, bias);
    }

    /// Any rows, anywhere, on any number of threads.
    #[test]
    fn a_row_is_the_same_bits_everywhere(
        input in 1usize..700, output in 1usize..600, first in 0usize..300, count in 1usize..300, threads in 1usize..6,
    ) {
        let weight = pack(&numbers(input * output, 3), (input, output), Some(&numbers(output, 4)));
        let x = numbers(600 * input, 5);
        let all = product(&x, &weight);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let some = pool.install(|| product(&x[first * input..(first + count) * input], &weight));
        prop_assert!(bits(&some) == bits(&all[first * output..(first + count) * output]));
    }
}

#[test]
fn every_number_of_rows_is_right() {
    for rows in 1..=130 {
        check(rows, 70, 33, Some(9));
    }
}

#[test]
fn products_longer_than_a_block_are_right() {
    for input in [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 7] {
        check(7, input, 20, None);
    }
}

/// Both layouts of a weight, as files store it: `[in, out]` and the transpose of `[out, in]`.
#[test]
fn layouts_pack_alike() {
    let (input, output) = (70, 1100);
    let weight = Tensor::from_vec(numbers(input * output, 6), (input, output), &Device::Cpu).unwrap();
    let transposed = weight.t().unwrap().contiguous().unwrap().t().unwrap();
    assert!(!transposed.is_contiguous());
    let x = numbers(5 * input, 7);
    let plain = product(&x, &Packed::new(&weight, None).unwrap());
    assert!(bits(&plain) == bits(&product(&x, &Packed::new(&transposed, None).unwrap())));
}

/// Every width of vectors that there is code for sums in the same order; without fused multiply-add only the rounding differs.
#[test]
fn widths_of_vectors_agree() {
    let (rows, input, output) = (29, 530, 50);
    let weight = pack(&numbers(input * output, 8), (input, output), Some(&numbers(output, 9)));
    let x = numbers(rows * input, 10);
    fn gather(x: &[f32], input: usize, simd: impl Simd) -> Vec<f32> {
        let mut gathered = vec![f32::NAN; x.len()];
        Gather { x, input, gathered: &mut gathered }.with_simd(simd);
        gathered
    }
    let with = |gathered: Vec<f32>, run: &dyn Fn(Task<'_, '_>)| {
        let mut y = vec![f32::NAN; rows * output];
        run(Task { x: &gathered, weight: &weight, first_panel: 0, y: y.chunks_exact_mut(output).collect() });
        y
    };
    let widest = product(&x, &weight);
    let plain = with(gather(&x, input, pulp::Scalar), &|task| task.with_simd(pulp::Scalar));
    assert!(plain.iter().zip(&widest).all(|(a, b)| (a - b).abs() < 1e-4));
    #[cfg(target_arch = "x86_64")]
    if let Some(eight) = pulp::x86::V3::try_new() {
        let (four, sixteen) = (pulp::x86::V3_128b(eight), pulp::x86::V3_512b(eight));
        for (lanes, y) in [
            (4, with(gather(&x, input, four), &|task| task.with_simd(four))),
            (8, with(gather(&x, input, eight), &|task| task.with_simd(eight))),
            (16, with(gather(&x, input, sixteen), &|task| task.with_simd(sixteen))),
        ] {
            let differs = y.iter().zip(&widest).position(|(a, b)| a.to_bits() != b.to_bits());
            assert_eq!(differs.map(|at| (at, y[at], widest[at])), None, "{lanes} lanes");
        }
    }
}

#[test]
fn what_is_not_finite_stays_in_its_row() {
    let (input, output) = (40, 20);
    let weight = pack(&numbers(input * output, 11), (input, output), None);
    let mut x = numbers(3 * input, 12);
    x[input + 5] = f32::NAN;
    let y = product(&x, &weight);
    assert!(y[output..2 * output].iter().all(|y| y.is_nan()));
    assert!(y[..output].iter().chain(&y[2 * output..]).all(|y| y.is_finite()));
}

#[test]
fn a_matrix_of_another_width_is_refused() {
    let weight = pack(&numbers(12, 13), (4, 3), None);
    let x = Tensor::zeros((2, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
    let message = multiply(&x, &weight).unwrap_err().to_string();
    assert!(message.contains("a matrix of 4 x 3 cannot follow one of 2 x 5"), "{message}");
}

#[test]
fn tasks_cover_the_threads() {
    let weight = pack(&vec![0.0; 768 * 3072], (768, 3072), None);
    for (rows, threads) in [(1, 2), (8, 2), (64, 2), (512, 2), (1, 16), (512, 16), (3, 64)] {
        let division = Division::new(rows, &weight, threads);
        let tasks = rows.div_ceil(division.rows) * (3072usize / LINE).div_ceil(division.panels);
        assert!(tasks >= threads.min(22), "{division:?}: {tasks} for {threads}");
        assert!(tasks <= 64 * threads, "{division:?}: {tasks} for {threads}");
    }
    let small = pack(&vec![0.0; 8 * 8], (8, 8), None);
    assert_eq!(Division::new(1, &small, 16), Division { rows: 12, panels: 1 });
}
