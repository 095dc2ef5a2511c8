//! Sensitivities: how much more probable the concept becomes when the residual stream is moved along a vector.
//!
//! Of a prompt x, f(x) is the natural logarithm of the probability that one of the concept's words comes next. Its derivative along a
//! unit vector v, with the stream after a block moved by the same amount at every token, is the central difference
//!
//! (f(x; +e v) − f(x; −e v)) / 2e,
//!
//! whose error falls with e². It is given per typical length L of the block's activations, with e = epsilon L: so sensitivities of
//! blocks whose streams differ in length can be compared.

use lode_domain::{
    intervention::{Condition, ForcingValue, Positions, Target},
    likelihood::Passage,
};
use serde::Serialize;

use super::{
    Tcav,
    vectors::Layer,
    words::{Words, log_mass},
};
use crate::cmd::eval::{
    cells::{Estimate, estimated, measured},
    method::Treatment,
    store::Store,
    writing::Writer,
};

/// What is measured, for people.
const WHAT: &str = "sensitivities";
/// Continuations of one request.
const CHUNK: usize = 4096;
/// The step of the check, as a part of epsilon.
const FINER: f64 = 0.25;

/// Of which set of sentences a vector is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// With the concept against without.
    Concept,
    /// Random sentences without it against others.
    Random,
    /// The first run's vector of the concept once more, with a finer step.
    Check,
}

/// All prompts along one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) concept: usize,
    /// Number of the block among those that are tested.
    pub(super) layer: usize,
    pub(super) run: usize,
    pub(super) kind: Kind,
}

/// Sensitivities by prompt, in nats per typical length; nothing where the model is out of its numbers.
pub(super) type Sensitivities = Vec<Option<f64>>;

/// Everything that a cell's numbers follow from.
#[derive(Serialize)]
struct Key<'a> {
    eval: &'static str,
    version: &'static str,
    model: String,
    /// BLAKE3 of the vector and where it is added.
    direction: String,
    step: f64,
    length: f64,
    words: &'a [String],
    /// BLAKE3 of the prompts, which would be long.
    prompts: String,
}

/// All cells, a concept after the other.
pub(super) fn cells(concepts: usize, layers: usize, runs: usize) -> Vec<Cell> {
    let mut cells = Vec::new();
    for concept in 0..concepts {
        for layer in 0..layers {
            cells.push(Cell { concept, layer, run: 0, kind: Kind::Check });
            for run in 0..runs {
                cells.extend([Kind::Concept, Kind::Random].map(|kind| Cell { concept, layer, run, kind }));
            }
        }
    }
    cells
}

/// Measures every cell.
pub(super) async fn sensitivities(
    tcav: &Tcav<'_>,
    writer: &Writer,
    store: &mut Store,
    cells: &[Cell],
) -> anyhow::Result<Vec<Sensitivities>> {
    let keys = keys(tcav, cells)?;
    measured(store, &keys, (WHAT, tcav.args.run.parallel), async |number| ask(tcav, writer, cells[number]).await).await
}

/// How long all of them take, by `part` of them.
pub(super) async fn plan(
    tcav: &Tcav<'_>,
    writer: &Writer,
    (store, cells): (&mut Store, &[Cell]),
    part: u32,
) -> anyhow::Result<Estimate> {
    let keys = keys(tcav, cells)?;
    let settings = (WHAT, tcav.args.run.parallel, part);
    estimated(store, &keys, settings, async |number| ask(tcav, writer, cells[number]).await).await
}

/// A cell's direction `[width]`.
fn direction(layer: &Layer, cell: Cell) -> Vec<f32> {
    let pair = &layer.runs[cell.run];
    let vector = match cell.kind {
        Kind::Concept | Kind::Check => &pair.concept,
        Kind::Random => &pair.random,
    };
    vector.direction.iter().map(|&x| x as f32).collect()
}

/// A cell's step, as a part of the typical length.
fn step(tcav: &Tcav<'_>, cell: Cell) -> f64 {
    match cell.kind {
        Kind::Check => tcav.args.epsilon * FINER,
        Kind::Concept | Kind::Random => tcav.args.epsilon,
    }
}

fn keys(tcav: &Tcav<'_>, cells: &[Cell]) -> anyhow::Result<Vec<String>> {
    let prompts = blake3::hash(tcav.prompts.join("\n").as_bytes()).to_hex().to_string();
    let key = |cell: &Cell| {
        let (subject, layer) = tcav.of(*cell);
        let key = Key {
            eval: "tcav",
            version: env!("CARGO_PKG_VERSION"),
            model: tcav.model.hash.to_string(),
            direction: layer.place.hash(&direction(layer, *cell)),
            step: step(tcav, *cell),
            length: layer.length,
            words: &subject.words.continuations,
            prompts: prompts.clone(),
        };
        Ok(serde_json::to_string(&key)?)
    };
    cells.iter().map(key).collect()
}

async fn ask(tcav: &Tcav<'_>, writer: &Writer, cell: Cell) -> anyhow::Result<Sensitivities> {
    let (subject, layer) = tcav.of(cell);
    let components = layer.place.components(&direction(layer, cell))?;
    let step = step(tcav, cell);
    let moved = |by: f64| Condition {
        target: Target::Direction(components.clone()),
        value: ForcingValue::Scale((by * layer.length) as f32),
        positions: Positions::All,
    };
    let along = log_masses(writer, &tcav.prompts, &subject.words, moved(step)).await?;
    let against = log_masses(writer, &tcav.prompts, &subject.words, moved(-step)).await?;
    Ok(along.into_iter().zip(against).map(|(along, against)| Some((along? - against?) / (2.0 * step))).collect())
}

/// f of each prompt under a condition.
async fn log_masses(
    writer: &Writer,
    prompts: &[String],
    words: &Words,
    condition: Condition,
) -> anyhow::Result<Vec<Option<f64>>> {
    let treatment = Treatment { conditions: vec![condition], ..Treatment::default() };
    let mut found = Vec::with_capacity(prompts.len());
    for some in prompts.chunks((CHUNK / words.continuations.len().max(1)).max(1)) {
        let passage = |prompt: &String| Passage { prompt: prompt.clone(), continuations: words.continuations.clone() };
        let scored = writer.score(&writer.model, &treatment, some.iter().map(passage).collect()).await?;
        found.extend(scored.iter().map(|passage| log_mass(passage)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_has_a_check_and_two_vectors_a_run() {
        let cells = cells(2, 3, 4);
        assert_eq!(cells.len(), 2 * 3 * (1 + 2 * 4));
        let of = |kind| cells.iter().filter(|cell| cell.kind == kind).count();
        assert_eq!((of(Kind::Check), of(Kind::Concept), of(Kind::Random)), (6, 24, 24));
        assert!(cells.iter().all(|cell| cell.kind != Kind::Check || cell.run == 0));
    }
}
