//! Training: every beginning of a sentence is an example of whether the sentence shows the concept.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};
use candle_nn::{AdamW, Optimizer as _, ParamsAdamW};
use lode_domain::guide::{Discriminator, Guide, Reader};
use rand::{Rng as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

use crate::network::{Network, Shape};

/// A sentence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Example {
    /// Its token ids.
    pub tokens: Vec<u32>,
    /// Whether the concept is in it.
    pub shows: bool,
}

/// How a discriminator is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Numbers of a token's vector.
    pub width: usize,
    /// Numbers of the state.
    pub state: usize,
    /// Tokens that it knows at most, the most frequent ones.
    pub tokens: usize,
    /// Tokens of a sentence that are read at most.
    pub length: usize,
    /// Rounds over all sentences.
    pub epochs: usize,
    /// Sentences of a batch.
    pub batch: usize,
    /// AdamW's step size.
    pub learning_rate: f64,
    /// Of weights, batches, and which sentences are held out.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { width: 16, state: 32, tokens: 8192, length: 64, epochs: 8, batch: 32, learning_rate: 5e-3, seed: 1 }
    }
}

/// A share of this many sentences is held out: a fifth.
const HELD_OUT: usize = 5;

/// A discriminator, and how well it does on sentences that it was not trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Trained {
    /// What foretells.
    pub discriminator: Discriminator,
    /// Share of held-out sentences that are told right when all of them was read.
    pub accuracy: f64,
    /// The same of their beginnings, all lengths alike.
    pub prefix_accuracy: f64,
    /// Sentences that were held out.
    pub held_out: usize,
}

/// Why nothing could be trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// There must be something to tell apart, and something to test on.
    #[error(
        "a discriminator needs at least {HELD_OUT} sentences of each class: there are {positive} with the concept and {negative} without"
    )]
    TooFew {
        /// Sentences with the concept.
        positive: usize,
        /// Sentences without.
        negative: usize,
    },
    /// The tensor library failed.
    #[error("training failed")]
    Tensor(#[from] candle_core::Error),
    /// The weights went out of their numbers.
    #[error("training left the finite numbers: give another seed")]
    Diverged,
}

/// Trains on the sentences; their order does not matter, and the same seed gives the same bits.
///
/// The loss is the mean cross entropy over all beginnings of all sentences of a batch.
///
/// # Errors
/// If there are too few sentences of a class.
pub fn train(examples: &[Example], options: &Options) -> std::result::Result<Trained, TrainError> {
    let mut sorted: Vec<&Example> = examples.iter().filter(|example| !example.tokens.is_empty()).collect();
    sorted.sort_unstable();
    let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
    let (mut trained, mut held) = (Vec::new(), Vec::new());
    let mut counts = [0; 2];
    // The same share of both classes.
    for shows in [true, false] {
        let mut own: Vec<&Example> = sorted.iter().copied().filter(|example| example.shows == shows).collect();
        own.shuffle(&mut rng);
        counts[usize::from(!shows)] = own.len();
        held.extend(own.split_off(own.len() - own.len() / HELD_OUT));
        trained.extend(own);
    }
    let [positive, negative] = counts;
    if positive.min(negative) < HELD_OUT {
        return Err(TrainError::TooFew { positive, negative });
    }
    let known = frequent(&trained, options.tokens);
    let shape = Shape { tokens: known.len() + 1, width: options.width, state: options.state };
    let network = Network::new(shape, &mut rng)?;
    let parameters = ParamsAdamW { lr: options.learning_rate, weight_decay: 0.01, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(network.vars(), parameters)?;
    for _ in 0..options.epochs {
        trained.shuffle(&mut rng);
        for batch in trained.chunks(options.batch) {
            // Now and then a token counts as unknown, so that unknown ones are known too.
            let place = |token: u32, rng: &mut ChaCha8Rng| {
                let place = known.binary_search(&token).unwrap_or(known.len());
                (if rng.random_range(0..50) == 0 { known.len() } else { place }) as u32
            };
            let loss = loss(&network, batch, options.length, |token| place(token, &mut rng))?;
            optimizer.backward_step(&loss)?;
        }
    }
    let discriminator = network.finish(known)?;
    let guide = Guide { discriminator: discriminator.clone().into(), strength: 1.0, candidates: 1 };
    let reader = Reader::new(guide).map_err(|_| TrainError::Diverged)?;
    let (accuracy, prefix_accuracy) = accuracies(&reader, &held, options.length);
    Ok(Trained { discriminator, accuracy, prefix_accuracy, held_out: held.len() })
}

/// The most frequent tokens, ascending; of equally frequent ones the lower ids.
fn frequent(examples: &[&Example], most: usize) -> Vec<u32> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for token in examples.iter().flat_map(|example| &example.tokens) {
        *counts.entry(*token).or_default() += 1;
    }
    let mut tokens: Vec<(usize, u32)> = counts.into_iter().map(|(token, count)| (count, token)).collect();
    tokens.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut tokens: Vec<u32> = tokens.into_iter().take(most).map(|(_, token)| token).collect();
    tokens.sort_unstable();
    tokens
}

/// The mean cross entropy of a batch over all positions that there are.
fn loss(network: &Network, batch: &[&Example], most: usize, mut place: impl FnMut(u32) -> u32) -> Result<Tensor> {
    let length = batch.iter().map(|example| example.tokens.len().min(most)).max().unwrap_or(0);
    let (mut places, mut labels, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for example in batch {
        let read = example.tokens.len().min(most);
        places.extend(example.tokens[..read].iter().map(|&token| place(token)));
        places.extend(std::iter::repeat_n(0, length - read));
        labels.extend(std::iter::repeat_n(f32::from(u8::from(example.shows)), length));
        counts.extend((0..length).map(|position| f32::from(u8::from(position < read))));
    }
    let shape = (batch.len(), length);
    let tensor = |values: Vec<f32>| Tensor::from_vec(values, shape, &Device::Cpu);
    let (labels, counts) = (tensor(labels)?, tensor(counts)?);
    let odds = network.odds(&Tensor::from_vec(places, shape, &Device::Cpu)?)?;
    // -ln sigmoid, in the form that does not overflow.
    let entropy = ((odds.relu()? - (&odds * labels)?)? + (odds.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
    (entropy * &counts)?.sum_all()? / f64::from(counts.sum_all()?.to_scalar::<f32>()?)
}

/// Shares told right: whole sentences, and all beginnings.
fn accuracies(reader: &Reader, held: &[&Example], most: usize) -> (f64, f64) {
    let (mut right, mut right_prefixes, mut prefixes) = (0usize, 0usize, 0usize);
    for example in held {
        let mut state = reader.start();
        let mut last = false;
        for &token in example.tokens.iter().take(most) {
            reader.read(&mut state, token);
            last = (reader.log_probability(&state) > 0.5f32.ln()) == example.shows;
            right_prefixes += usize::from(last);
            prefixes += 1;
        }
        right += usize::from(last);
    }
    (right as f64 / held.len().max(1) as f64, right_prefixes as f64 / prefixes.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences of ten tokens; those with the concept have token 7 somewhere.
    fn examples() -> Vec<Example> {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let one = |number: usize| {
            let mut tokens: Vec<u32> = (0..10).map(|_| rng.random_range(10..40)).collect();
            let shows = number.is_multiple_of(2);
            if shows {
                tokens[number / 2 % 10] = 7;
            }
            Example { tokens, shows }
        };
        (0..200).map(one).collect()
    }

    fn small() -> Options {
        Options { state: 8, width: 8, epochs: 20, learning_rate: 0.02, ..Options::default() }
    }

    #[test]
    fn what_tells_the_classes_apart_is_learned_in_any_order() {
        let mut all = examples();
        let trained = train(&all, &small()).unwrap();
        assert!(trained.accuracy > 0.9 && trained.held_out == 40, "{} {}", trained.accuracy, trained.held_out);
        // Before token 7 nothing can be told.
        assert!(trained.prefix_accuracy < trained.accuracy && trained.prefix_accuracy > 0.6);
        all.reverse();
        assert_eq!(train(&all, &small()).unwrap(), trained, "the same seed gives the same bits");
        assert_ne!(train(&all, &Options { seed: 2, ..small() }).unwrap().discriminator, trained.discriminator);
    }

    /// The network as it is trained and as it is run agree.
    #[test]
    fn what_is_trained_is_what_runs() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let network = Network::new(Shape { tokens: 4, width: 3, state: 5 }, &mut rng).unwrap();
        let places = Tensor::from_vec(vec![0u32, 2, 3, 1], (1, 4), &Device::Cpu).unwrap();
        let odds = network.odds(&places).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let discriminator = network.finish(vec![10, 20, 30]).unwrap().into();
        let reader = Reader::new(Guide { discriminator, strength: 1.0, candidates: 1 }).unwrap();
        let mut state = reader.start();
        for (token, odds) in [10, 30, 99, 20].into_iter().zip(odds) {
            reader.read(&mut state, token);
            let expected = -(1.0 + (-f64::from(odds)).exp()).ln();
            assert!((f64::from(reader.log_probability(&state)) - expected).abs() < 1e-5, "{token}");
        }
    }

    #[test]
    fn too_few_sentences_are_refused() {
        let few: Vec<Example> = examples().into_iter().take(7).collect();
        let error = train(&few, &small()).unwrap_err();
        assert!(error.to_string().contains("4 with the concept and 3 without"), "{error}");
    }
}
