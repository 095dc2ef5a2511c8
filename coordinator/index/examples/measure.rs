//! Measures an index of synthetic concepts: `cargo run --release -p lode-index --example measure -- [CONCEPTS] [UNITS]`.
#![allow(clippy::print_stdout, reason = "it reports to its user")]

use std::{error::Error, time::Instant};

use lode_domain::{
    concept::ConceptId,
    expertise::{Column, ExpertiseBlock, Recipe},
    id::ModelHash,
    unit::{Layer, LayerName, UnitId},
};
use lode_index::{ConceptHeader, ConceptKey, Index, ModelRecord};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |or: u32| arguments.next().map_or(Ok(or), |text| text.parse());
    let (concepts, units) = (number(200)?, number(82_944)?);
    let dir = tempfile::tempdir_in(".")?;
    let model = ModelHash([1; 32]);
    let key = |i: u32| {
        let concept = ConceptId::new("synthetic", format!("concept-{i:04}"))?;
        Ok::<_, Box<dyn Error>>(ConceptKey { model, concept, recipe: Recipe::default() })
    };

    let index = Index::open(dir.path())?;
    let layers = vec![Layer { name: LayerName::new("transformer.h.0.mlp.c_fc"), units }];
    index.put_model(&ModelRecord { name: "m".parse()?, hash: model, family: "gpt2".into(), context_len: 1, layers })?;
    let started = Instant::now();
    for i in 0..concepts {
        let mut staging = index.stage(&key(i)?)?;
        for start in (0..units).step_by(5000) {
            staging.write(&block(i, start, units.min(start + 5000)))?;
        }
        staging.commit(&ConceptHeader::default())?;
    }
    let took = started.elapsed();
    let size = index.size_on_disk()?;
    let raw = u64::from(concepts) * u64::from(units) * 20;
    println!("{concepts} concepts x {units} units");
    println!("write: {took:.2?}, {:.2?} a concept", took / concepts);
    println!(
        "disk: {:.2} MiB a concept, {:.2} times its values",
        size as f64 / f64::from(concepts) / (1 << 20) as f64,
        size as f64 / raw as f64
    );
    drop(index);

    let started = Instant::now();
    let index = Index::open(dir.path())?;
    println!("open: {:.2?}", started.elapsed());
    let mut state = 1u64;
    let mut random = move |below: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u32 % below
    };
    times("column ap, any concept", || Ok(index.column(&key(random(concepts))?, Column::Ap)?))?;
    times("column on_mean, any concept", || Ok(index.column(&key(random(concepts))?, Column::OnMean)?))?;
    times("unit, any concept", || Ok(index.unit(&key(random(concepts))?, UnitId(random(units)))?))?;
    times("unit_everywhere, any unit", || {
        Ok(index.unit_everywhere(model, Recipe::default(), UnitId(random(units)))?)
    })?;
    times("concepts", || Ok(index.concepts(model)?))
}

fn times<T>(what: &str, mut run: impl FnMut() -> Result<T, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let mut taken = Vec::new();
    for _ in 0..100 {
        let started = Instant::now();
        run()?;
        taken.push(started.elapsed());
    }
    let first = taken[0];
    taken.sort();
    println!("{what}: first {first:.2?}, p50 {:.2?}, p99 {:.2?}", taken[50], taken[99]);
    Ok(())
}

fn block(concept: u32, start: u32, end: u32) -> ExpertiseBlock {
    let columns = std::array::from_fn(|column| {
        (start..end)
            .map(|unit| ((unit ^ concept.wrapping_mul(2_654_435_761)) % 10_007) as f32 / 10_007.0 + column as f32)
            .collect()
    });
    ExpertiseBlock::from_columns(start, columns).unwrap_or_default()
}
