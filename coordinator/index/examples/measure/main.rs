//! Measures an index of synthetic concepts:
//! `cargo run --release -p lode-index --example measure -- [CONCEPTS] [UNITS] [DIR]`.
//!
//! With DIR the index is kept there, and one that is there already is asked and not written. To ask one that the system has not in
//! its file cache, drop that first: `for f in DIR/db DIR/derived/*; do dd if=$f iflag=nocache count=0; done`.
#![allow(clippy::print_stdout, reason = "it reports to its user")]
#![allow(clippy::expect_used, reason = "a measurement that fails has no result")]

mod synthetic;

use std::{
    error::Error,
    path::Path,
    time::{Duration, Instant},
};

use lode_domain::{
    compare::Experts,
    expertise::{Column, Recipe},
    query::TopQuery,
    unit::{Layer, LayerName, UnitId},
};
use lode_index::{ConceptHeader, Index, ModelRecord};
use synthetic::{MODEL, block, key};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: u32| arguments.next().map_or(Ok(or), |text| text.parse());
    let (concepts, units) = (number(200)?, number(82_944)?);
    let scratch = tempfile::tempdir_in(".")?;
    let dir = arguments.next().map_or_else(|| scratch.path().to_owned(), Into::into);
    if !dir.join("db").exists() {
        write(&dir, concepts, units)?;
    }
    ask(&dir, concepts, units)
}

fn model(units: u32) -> Result<ModelRecord, Box<dyn Error>> {
    let layer = |name, units| Layer { name: LayerName::new(name), units };
    let layers =
        vec![layer("transformer.h.0.attn.c_attn", units / 3), layer("transformer.h.0.mlp.c_fc", units - units / 3)];
    Ok(ModelRecord { name: "m".parse()?, hash: MODEL, family: "gpt2".into(), context_len: 1, layers })
}

fn write(dir: &Path, concepts: u32, units: u32) -> Result<(), Box<dyn Error>> {
    let index = Index::open(dir)?;
    index.put_model(&model(units)?)?;
    let (mut made, mut commits) = (Vec::new(), Vec::new());
    for concept in 0..concepts {
        let blocks: Vec<_> =
            (0..units).step_by(5000).map(|start| block(concept, start, units.min(start + 5000))).collect();
        let started = Instant::now();
        let mut staging = index.stage(&key(concept))?;
        for block in &blocks {
            staging.write(block)?;
        }
        let committing = Instant::now();
        staging.commit(&ConceptHeader {
            positives: 400,
            negatives: 600,
            precision: "f32".into(),
            ..Default::default()
        })?;
        commits.push(committing.elapsed());
        made.push(started.elapsed());
    }
    for (what, taken) in [("stage and commit a concept", made), ("of that the commit", commits)] {
        let [p50, p99] = quantiles(taken);
        println!("{what}: p50 {p50:.2?}, p99 {p99:.2?}");
    }
    let size = index.size_on_disk()?;
    let raw = u64::from(concepts) * u64::from(units) * 20;
    println!(
        "disk: {:.2} MiB a concept, {:.2} times its values",
        size as f64 / f64::from(concepts) / (1 << 20) as f64,
        size as f64 / raw as f64
    );
    Ok(())
}

fn ask(dir: &Path, concepts: u32, units: u32) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let index = Index::open(dir)?;
    println!("open: {:.2?}", started.elapsed());
    let started = Instant::now();
    index.catch_up()?;
    println!("derived copies: {:.2?} until they are complete", started.elapsed());
    println!("on disk: {:.2} GiB", index.size_on_disk()? as f64 / f64::from(1 << 30));
    let space = model(units)?.unit_space()?;
    let best = TopQuery { top: 50, ..TopQuery::default() };
    let in_layer = TopQuery { layers: Some("*.mlp.*".into()), ..best.clone() };
    let bottom = TopQuery { bottom: true, ..best.clone() };
    let (few, many) = (Experts::Top(50), Experts::Top(500));
    println!("| question | first time: p50 | p99 | again: p50 | p99 |\n|---|---|---|---|---|");
    let key = |random: &mut Random| key(random.below(concepts));
    times("`units show`", 1000, |random| {
        Ok(index.unit_everywhere(MODEL, Recipe::default(), UnitId(random.below(units)))?)
    })?;
    times("`units top`", 1000, |random| Ok(index.top(&key(random), &space, &best)?))?;
    times("`units top --layer '*.mlp.*'`", 300, |random| Ok(index.top(&key(random), &space, &in_layer)?))?;
    times("`units top --bottom`", 300, |random| Ok(index.top(&key(random), &space, &bottom)?))?;
    times("`overlap`", 1000, |random| Ok(index.overlap(&key(random), &key(random), few)?))?;
    times("`overlap --top 500`", 300, |random| Ok(index.overlap(&key(random), &key(random), many)?))?;
    times("`nearest`", 100, |random| Ok(index.nearest(&key(random), few, 10)?))?;
    times("`nearest --top 500`", 100, |random| Ok(index.nearest(&key(random), many, 10)?))?;
    times("`nearest --limit 2000`", 10, |random| Ok(index.nearest(&key(random), few, 2000)?))?;
    times("`nearest --min-ap 0.7`", 10, |random| Ok(index.nearest(&key(random), Experts::MinAp(0.7), 10)?))?;
    times("the column of AP", 100, |random| Ok(index.column(&key(random), Column::Ap)?))?;
    times("the list of concepts", 100, |_| Ok(index.concepts(MODEL)?))?;
    println!("peak memory: {}", peak_memory()?);
    Ok(())
}

/// The most that this process has held, the system's file cache not counted.
fn peak_memory() -> Result<String, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.ok_or("the system does not say")?.trim().to_owned())
}

/// A seeded sequence of numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32 % end
    }
}

/// Asks `count` questions, then the same again.
fn times<T>(
    what: &str,
    count: u32,
    mut ask: impl FnMut(&mut Random) -> Result<T, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut cells = Vec::new();
    for _ in 0..2 {
        let (mut random, mut taken) = (Random(1), Vec::new());
        for _ in 0..count {
            let started = Instant::now();
            ask(&mut random)?;
            taken.push(started.elapsed());
        }
        cells.extend(quantiles(taken).map(|time| format!("{time:.2?}")));
    }
    println!("| {what} | {} |", cells.join(" | "));
    Ok(())
}

/// The median and the 99th percentile.
fn quantiles(mut taken: Vec<Duration>) -> [Duration; 2] {
    taken.sort();
    [0.5, 0.99].map(|share| taken[((taken.len() as f64 * share) as usize).min(taken.len() - 1)])
}
