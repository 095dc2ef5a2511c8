//! A shard on its way: tokenised sentences, those that wait, and the responses of those that have run.

use std::{collections::VecDeque, path::PathBuf};

use lode_domain::{
    cluster::{ShardSpec, Summaries},
    criterion::Measures,
    event::{DroppedSentence, Progress, Scored},
    holdout::{Classes, Holdout},
    job::{Job, JobConcept},
    lint::{Finding, FindingKind},
    sentence::SentenceKey,
};
use lode_model::{Dropped, Model, ModelError, Prepared, pack};
use lode_proto::Fault;
use rayon::prelude::*;

use crate::{
    cache::ResponseCache,
    fault::of_model,
    stages::{Stage, Stages},
    store::ResponseStore,
};

/// What the device works through. Sentences are numbered by their place among those that are not dropped.
pub(crate) struct PreparedShard {
    pub(crate) spec: ShardSpec,
    /// The sentences that need responses.
    pub(crate) sentences: Vec<Prepared>,
    keys: Vec<SentenceKey>,
    /// Those that the cache should hold; filled by [`Self::begin`].
    held: VecDeque<u32>,
    /// Those that must run, batch by batch; filled by [`Self::begin`].
    batches: VecDeque<Vec<u32>>,
    /// Sentences in the order of their responses in the store.
    order: Vec<u32>,
    pub(crate) store: ResponseStore,
    pub(crate) concepts: Vec<ShardConcept>,
    /// Of the shard's sentences as they were sent.
    pub(crate) dropped: Vec<DroppedSentence>,
    pub(crate) progress: Progress,
    pub(crate) stages: Stages,
}

/// What a shard may use.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    /// Bytes of responses in memory.
    pub(crate) budget: u64,
    /// Folder of what is beyond.
    pub(crate) spill_dir: PathBuf,
    /// Its clocks.
    pub(crate) stages: Stages,
}

/// A concept's labels over the sentences that have responses, and what was dropped from it.
pub(crate) struct ShardConcept {
    /// Numbers of its sentences.
    pub(crate) classes: Classes,
    /// What was dropped.
    pub(crate) findings: Vec<Finding>,
}

impl ShardConcept {
    /// What its score rests on, or why there is none.
    pub(crate) fn outcome(&self, measures: &Measures) -> Result<Scored, String> {
        Scored::of(&self.classes, measures, self.findings.clone())
    }
}

/// What the device does next for a shard.
pub(crate) enum Step {
    /// Responses to a few sentences come from the cache.
    Recall(Vec<u32>),
    /// These sentences run, in one batch.
    Run(Vec<u32>),
    /// All responses are there.
    Score,
}

/// Sentences that one step takes from the cache: few, so that generation need not wait long.
const RECALLED: usize = 64;

impl PreparedShard {
    /// Looks what the cache holds, and packs the rest into batches.
    pub(crate) fn begin(&mut self, model: &Model, cache: Option<&ResponseCache>) {
        let is_held = |number: &u32| cache.is_some_and(|cache| cache.contains(&self.keys[*number as usize]));
        let (held, new): (Vec<u32>, Vec<u32>) = (0..self.sentences.len() as u32).partition(is_held);
        self.held = held.into();
        self.pack(model, &new);
    }

    fn pack(&mut self, model: &Model, numbers: &[u32]) {
        let sentences: Vec<&Prepared> = numbers.iter().map(|&number| &self.sentences[number as usize]).collect();
        let batches = pack(&sentences, &model.batch_shape()).into_iter();
        self.batches.extend(batches.map(|batch| batch.into_iter().map(|place| numbers[place]).collect::<Vec<_>>()));
    }

    /// What comes next.
    pub(crate) fn next(&mut self) -> Step {
        if !self.held.is_empty() {
            let few = self.held.len().min(RECALLED);
            return Step::Recall(self.held.drain(..few).collect());
        }
        self.batches.pop_front().map_or(Step::Score, Step::Run)
    }

    /// Takes what the cache holds of `numbers` into the store; what it holds no more will run.
    pub(crate) fn recall(&mut self, numbers: &[u32], model: &Model, cache: &mut ResponseCache) -> Result<(), Fault> {
        let mut lost = Vec::new();
        for &number in numbers {
            match cache.get(&self.keys[number as usize]) {
                Some(row) => self.take(&[number], &[&row])?,
                None => lost.push(number),
            }
        }
        self.pack(model, &lost);
        // A sentence that need not run is as good as run; its tokens were not.
        let tokens = |number: &u32| self.sentences[*number as usize].len() as u64;
        self.progress.tokens_total -= numbers.iter().filter(|number| !lost.contains(number)).map(tokens).sum::<u64>();
        Ok(())
    }

    /// Appends the responses to `numbers`, `[unit]` each, to the store.
    pub(crate) fn take(&mut self, numbers: &[u32], rows: &[&[f32]]) -> Result<(), Fault> {
        self.store.append(rows).map_err(Fault::internal)?;
        self.order.extend_from_slice(numbers);
        self.progress.sentences_done += numbers.len() as u32;
        Ok(())
    }

    /// The key under which a sentence's responses are kept.
    pub(crate) fn key(&self, number: u32) -> SentenceKey {
        self.keys[number as usize]
    }

    /// The place of every sentence's responses in the store, `[sentence]`.
    pub(crate) fn places(&self) -> Vec<u32> {
        let mut places = vec![0; self.order.len()];
        for (place, &number) in (0..).zip(&self.order) {
            places[number as usize] = place;
        }
        places
    }
}

/// Tokenises a shard.
pub(crate) fn prepare(model: &Model, spec: ShardSpec, shard: &Job, room: &Room) -> Result<PreparedShard, Fault> {
    let stages = room.stages.clone();
    let prepared = stages.time(Stage::Tokenise, || tokenise(model, &spec, &shard.sentences))?;
    let mut number_of: Vec<Option<u32>> = Vec::with_capacity(prepared.len());
    let (mut sentences, mut keys, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
    for (place, one) in (0..).zip(prepared) {
        match one {
            Ok(sentence) => {
                number_of.push(Some(sentences.len() as u32));
                keys.push(SentenceKey::new(spec.recipe, &shard.sentences[place as usize]));
                sentences.push(sentence);
            }
            Err(why) => {
                number_of.push(None);
                dropped.push(DroppedSentence { sentence: place, kind: kind_of(&why) });
            }
        }
    }
    let kept = (&number_of[..], spec.measures.holdout);
    let concepts = shard.concepts.iter().map(|concept| shard_concept(shard, concept, &dropped, kept)).collect();
    let progress = Progress {
        tokens_total: sentences.iter().map(|sentence| sentence.len() as u64).sum(),
        sentences_total: sentences.len() as u32,
        ..Progress::default()
    };
    let store = ResponseStore::new(model.unit_space().len(), sentences.len(), room.budget, &room.spill_dir);
    let store = store.map_err(Fault::internal)?;
    let (held, batches, order) = (VecDeque::new(), VecDeque::new(), Vec::with_capacity(sentences.len()));
    Ok(PreparedShard { spec, sentences, keys, held, batches, order, store, concepts, dropped, progress, stages })
}

/// How many tokens each sentence has, `[sentence]`; 0 for one that is dropped.
pub(crate) fn count_tokens(model: &Model, spec: &ShardSpec, sentences: &[String]) -> Result<Vec<u32>, Fault> {
    let prepared = tokenise(model, spec, sentences)?;
    Ok(prepared.iter().map(|one| one.as_ref().map_or(0, |sentence| sentence.len() as u32)).collect())
}

fn tokenise(model: &Model, spec: &ShardSpec, sentences: &[String]) -> Result<Vec<Result<Prepared, Dropped>>, Fault> {
    model.text().check(spec.recipe.tokens).map_err(of_model)?;
    let prepared = sentences.par_iter().map(|text| model.text().prepare(text, spec.recipe.tokens));
    prepared.collect::<Result<_, ModelError>>().map_err(of_model)
}

fn kind_of(dropped: &Dropped) -> FindingKind {
    match dropped {
        Dropped::Empty => FindingKind::Empty,
        Dropped::TooLong { .. } => FindingKind::TooLong,
    }
}

fn shard_concept(
    shard: &Job,
    concept: &JobConcept,
    dropped: &[DroppedSentence],
    (number_of, holdout): (&[Option<u32>], Option<Holdout>),
) -> ShardConcept {
    let kept = |places: &[u32]| places.iter().copied().filter(|&place| number_of[place as usize].is_some()).collect();
    let whole = Classes::whole(kept(&concept.positive), kept(&concept.negative));
    let classes = whole.split(holdout, |place| &shard.sentences[place as usize]);
    let classes = classes.renumbered(|place| number_of[place as usize].unwrap_or_default());
    ShardConcept { classes, findings: concept.dropped(&shard.sentences, dropped) }
}

impl PreparedShard {
    /// Whether the shard is to be sent back as responses.
    pub(crate) fn is_partial(&self) -> bool {
        self.spec.summaries == Summaries::Partial
    }
}
