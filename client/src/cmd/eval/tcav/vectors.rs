//! Concept activation vectors: what the model makes of a concept's sentences, and the directions that tell them apart.

use std::{sync::Arc, thread::available_parallelism};

use anyhow::{Context as _, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use lode_domain::{concept::Concept, record::ModelRecord};
use lode_eval::{
    stats::quantile,
    tcav::{Run, Vector, draw},
};

use crate::{
    cmd::eval::{
        stream::{Place, read},
        writing::Writer,
    },
    progress::spinner,
};

/// All runs after one block.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) block: u32,
    /// Where the stream is moved.
    pub(super) place: Place,
    /// Of the sentences' activations, the median: what a step is measured by.
    pub(super) length: f64,
    pub(super) runs: Vec<Pair>,
}

/// A run's vectors: with the concept against without, and random sentences against others.
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) concept: Vector,
    pub(super) random: Vector,
}

/// A concept's vectors after each block, and how many sentences of a set they learned from and were tested on.
#[derive(Clone, Debug)]
pub(super) struct Vectors {
    pub(super) layers: Vec<Layer>,
    pub(super) trained: usize,
    pub(super) held_out: usize,
}

/// Activations of a concept's sentences `[sentence][block, width]`.
#[derive(Debug)]
struct Activations {
    positive: Vec<Vec<f32>>,
    negative: Vec<Vec<f32>>,
}

impl Vectors {
    /// Reads the concept's sentences and trains `runs` pairs of vectors after each of `blocks`, which ascend. The order of the sentences
    /// does not matter.
    pub(super) async fn of(
        concept: &Concept,
        writer: &Writer,
        (model, blocks): (&ModelRecord, &[u32]),
        (runs, seed): (usize, u64),
    ) -> anyhow::Result<Self> {
        let class = async |texts: &[String]| -> anyhow::Result<Vec<Vec<f32>>> {
            let mut sorted = texts.to_vec();
            sorted.sort_unstable();
            let read = read(writer, &sorted, blocks).await?;
            Ok(read.into_iter().map(|sentence| sentence.stream).filter(|stream| !stream.is_empty()).collect())
        };
        let reading = async {
            let (positive, negative) = (class(&concept.positive).await?, class(&concept.negative).await?);
            anyhow::Ok(Activations { positive, negative })
        };
        let known = Arc::new(spinner(&format!("reading the sentences of {}", concept.id), reading).await?);
        let drawn = draw(known.positive.len(), known.negative.len(), (runs, seed));
        let drawn = Arc::new(drawn.with_context(|| concept.id.to_string())?);
        let Some(first) = drawn.first() else { bail!("there is no run") };
        let (trained, held_out) = first.concept.sizes();
        let mut layers = Vec::with_capacity(blocks.len());
        for (number, &block) in blocks.iter().enumerate() {
            layers.push((number, block, Place::after(model, ("--layers", block))?));
        }
        let training = futures::stream::iter(layers)
            .map(|(number, block, place)| {
                let (known, drawn) = (known.clone(), drawn.clone());
                let trained = tokio::task::spawn_blocking(move || layer(&known, &drawn, (number, block, place)));
                async move { trained.await?.with_context(|| format!("{}, block {block}", concept.id)) }
            })
            .buffered(available_parallelism().map_or(1, usize::from));
        let training = async { training.try_collect().await };
        let layers = spinner(&format!("training the vectors of {}", concept.id), training).await?;
        Ok(Self { layers, trained, held_out })
    }
}

/// The vectors after one block, which is number `number` of those that were read.
fn layer(known: &Activations, drawn: &[Run], (number, block, place): (usize, u32, Place)) -> anyhow::Result<Layer> {
    let cut = |class: &[Vec<f32>]| -> anyhow::Result<Vec<Vec<f32>>> {
        let own = number * place.width..(number + 1) * place.width;
        let one = |stream: &Vec<f32>| stream.get(own.clone()).map(<[f32]>::to_vec);
        class.iter().map(one).collect::<Option<_>>().context("the residual stream has another width than its layer")
    };
    let (positive, negative) = (cut(&known.positive)?, cut(&known.negative)?);
    let length = |x: &Vec<f32>| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let lengths: Vec<f64> = positive.iter().chain(&negative).map(length).collect();
    let length = quantile(&lengths, 0.5).filter(|&length| length.is_finite() && length > 0.0);
    let run = |run: &Run| {
        let of = |sets: &lode_eval::tcav::Sets| sets.vector(&positive, &negative);
        let (concept, random) = of(&run.concept).zip(of(&run.random))?;
        Some(Pair { concept, random })
    };
    let runs = drawn.iter().map(run).collect::<Option<Vec<_>>>();
    let (Some(length), Some(runs)) = (length, runs) else {
        bail!("the activations do not vary over the sentences, or are not finite: no vector tells them apart");
    };
    Ok(Layer { block, place, length, runs })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_has_its_own_part_of_the_activations() {
        let stream = |n: usize, shift: f32| {
            let noise = |m: usize| ((n * m) % 13) as f32 / 13.0;
            // The concept is in the second block's last number.
            vec![noise(5), noise(7), noise(3), noise(11) + shift]
        };
        let class = |shift: f32| (0..40).map(|n| stream(n, shift)).collect();
        let known = Activations { positive: class(4.0), negative: class(0.0) };
        let drawn = draw(40, 40, (3, 1)).unwrap();
        let place = Place { first_unit: 8, width: 2 };
        let [first, second] = [0, 1].map(|number| layer(&known, &drawn, (number, number as u32, place)).unwrap());
        assert!(second.runs.iter().all(|run| run.concept.direction[1] > 0.9 && run.concept.accuracy == 1.0));
        assert!(first.runs.iter().all(|run| run.concept.accuracy < 1.0) && second.length > first.length);
        let wide = Place { width: 3, ..place };
        assert!(layer(&known, &drawn, (1, 1, wide)).unwrap_err().to_string().contains("another width"));
        let flat = Activations { positive: vec![vec![1.0; 4]; 40], negative: vec![vec![1.0; 4]; 40] };
        assert!(layer(&flat, &drawn, (0, 0, place)).unwrap_err().to_string().contains("do not vary"));
    }
}
