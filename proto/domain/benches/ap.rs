//! The AP kernel: microseconds for one unit by concepts that share its sentences and by number of sentences, and for many units.
//!
//! `cargo bench -p lode-domain`; one core. 41 % of the sentences are positive, as where 700 stand beside 1,000, and responses are
//! spread as sums of a few random numbers are; "tied" ones are cut to about 400 distinct values.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a benchmark that unwraps in vain has failed; its entry is a macro's"
)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lode_domain::score::{Labels, Scorer};

/// A small generator: the same numbers in every run.
struct Noise(u64);

impl Noise {
    /// Even between 0 and 1.
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    /// Responses of units to sentences, `[unit, sentence]`.
    fn responses(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (0..6).map(|_| self.next()).sum::<f32>() - 3.0).collect()
    }

    /// Concepts that label `labelled` of the sentences each.
    fn concepts(&mut self, count: usize, sentences: usize, labelled: usize) -> Vec<(Vec<u32>, Vec<u32>)> {
        let mut concept = || {
            let share = labelled as f32 / sentences as f32;
            let chosen: Vec<u32> = (0..sentences as u32).filter(|_| self.next() < share).collect();
            let (mut on, mut off) = (vec![0], vec![1]);
            for sentence in chosen {
                if self.next() < 0.41 { on.push(sentence) } else { off.push(sentence) }
            }
            (on, off)
        };
        (0..count).map(|_| concept()).collect()
    }
}

fn labels(sentences: usize, concepts: &[(Vec<u32>, Vec<u32>)]) -> Labels {
    let classes: Vec<(&[u32], &[u32])> = concepts.iter().map(|(on, off)| (&on[..], &off[..])).collect();
    Labels::new(sentences, &classes).unwrap()
}

/// Scores units in turn, one an iteration, so that caches and branch predictors see new responses each time.
fn bench(
    group: &mut criterion::BenchmarkGroup<'_, criterion::measurement::WallTime>,
    id: BenchmarkId,
    labels: &Labels,
    responses: &[f32],
) {
    let mut scorer = Scorer::new(labels);
    let mut units = responses.chunks_exact(labels.sentences()).cycle();
    group.throughput(Throughput::Elements(labels.concepts() as u64));
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            let unit = units.next().unwrap_or_default();
            scorer.score(black_box(unit)).map(|scores| scores.map(|score| score.ap).sum::<f64>()).unwrap()
        });
    });
}

fn by_concepts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unit, 1,700 sentences, by concepts");
    let (mut noise, sentences) = (Noise(1), 1_700);
    let responses = noise.responses(64 * sentences);
    let tied: Vec<f32> = responses.iter().map(|response| (response * 64.0).round() / 64.0).collect();
    for count in [1, 2, 4, 16, 64, 256] {
        let labels = labels(sentences, &noise.concepts(count, sentences, sentences));
        bench(&mut group, BenchmarkId::new("distinct", count), &labels, &responses);
        bench(&mut group, BenchmarkId::new("tied", count), &labels, &tied);
    }
    group.finish();
}

/// A pool of which each concept labels 300 sentences, as in CLINC150.
fn of_a_pool(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unit, 22,500 sentences, 150 concepts of 300");
    let (mut noise, sentences) = (Noise(2), 22_500);
    let labels = labels(sentences, &noise.concepts(150, sentences, 300));
    let responses = noise.responses(8 * sentences);
    bench(&mut group, BenchmarkId::from_parameter("distinct"), &labels, &responses);
    group.finish();
}

fn by_sentences(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unit, one concept, by sentences");
    let mut noise = Noise(3);
    for sentences in [100, 300, 1_000, 3_000, 10_000, 30_000, 100_000] {
        let labels = labels(sentences, &noise.concepts(1, sentences, sentences));
        let responses = noise.responses((200_000 / sentences).clamp(4, 200) * sentences);
        bench(&mut group, BenchmarkId::from_parameter(sentences), &labels, &responses);
    }
    group.finish();
}

fn by_units(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("1,700 sentences, one concept, by units");
    let (mut noise, sentences) = (Noise(4), 1_700);
    let labels = labels(sentences, &noise.concepts(1, sentences, sentences));
    for units in [100, 1_000, 10_000] {
        let responses = noise.responses(units * sentences);
        group.bench_function(BenchmarkId::from_parameter(units), |bencher| {
            let mut scorer = Scorer::new(&labels);
            bencher.iter(|| {
                let score = |unit| scorer.score(unit).map(|mut scores| scores.next().map(|score| score.ap)).unwrap();
                responses.chunks_exact(sentences).filter_map(score).sum::<f64>()
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().without_plots().sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = by_concepts, of_a_pool, by_sentences, by_units
}
criterion_main!(benches);
