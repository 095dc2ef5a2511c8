//! A shard ready for the device: tokenised sentences, packed into batches of one shape.

use std::{collections::VecDeque, path::Path};

use lode_domain::{
    cluster::ShardSpec,
    event::{Progress, Scored},
    job::{Job, JobConcept},
    lint::{Finding, FindingKind},
};
use lode_model::{Dropped, Model, ModelError, Prepared, pack};
use lode_proto::Fault;
use rayon::prelude::*;

use crate::{fault::of_model, store::ResponseStore};

/// What the device works through.
pub(crate) struct PreparedShard {
    pub(crate) spec: ShardSpec,
    /// The sentences that run, in the order of their responses in the store.
    pub(crate) sentences: Vec<Prepared>,
    /// Places in `sentences`, batch by batch.
    pub(crate) batches: VecDeque<Vec<usize>>,
    pub(crate) store: ResponseStore,
    pub(crate) concepts: Vec<ShardConcept>,
    pub(crate) progress: Progress,
}

/// A concept's labels over the sentences that run, and what was dropped from it.
pub(crate) struct ShardConcept {
    /// Places of the positives and negatives, as often as each counts.
    pub(crate) positive: Vec<u32>,
    pub(crate) negative: Vec<u32>,
    /// What was dropped.
    pub(crate) findings: Vec<Finding>,
}

impl ShardConcept {
    /// What its score rests on, or why there is none.
    pub(crate) fn outcome(&self) -> Result<Scored, String> {
        let (positives, negatives) = (self.positive.len() as u32, self.negative.len() as u32);
        if positives > 0 && negatives > 0 {
            return Ok(Scored { positives, negatives, findings: self.findings.clone() });
        }
        let class = if positives == 0 { "positive" } else { "negative" };
        let dropped: Vec<String> = self.findings.iter().map(|f| format!("{} {}", f.count, f.kind)).collect();
        Err(format!("no {class} sentence is left after dropping {}", dropped.join(" and ")))
    }
}

/// Tokenises and packs a shard. Batches decide the order in the store, so that a batch's responses lie together.
pub(crate) fn prepare(
    model: &Model,
    spec: ShardSpec,
    shard: &Job,
    budget: u64,
    spill_dir: &Path,
) -> Result<PreparedShard, Fault> {
    model.text().check(spec.recipe.tokens).map_err(of_model)?;
    let prepared: Vec<Result<Prepared, Dropped>> = shard
        .sentences
        .par_iter()
        .map(|text| model.text().prepare(text, spec.recipe.tokens))
        .collect::<Result<_, ModelError>>()
        .map_err(of_model)?;
    let kept: Vec<usize> = (0..prepared.len()).filter(|&s| prepared[s].is_ok()).collect();
    let running: Vec<&Prepared> = kept.iter().filter_map(|&s| prepared[s].as_ref().ok()).collect();
    let packed = pack(&running, &model.batch_shape());

    let mut place_of: Vec<Option<u32>> = vec![None; prepared.len()];
    for (place, &number) in (0..).zip(packed.iter().flatten()) {
        place_of[kept[number]] = Some(place);
    }
    let concepts = shard.concepts.iter().map(|concept| shard_concept(shard, concept, &prepared, &place_of)).collect();
    let sentences: Vec<Prepared> = packed.iter().flatten().map(|&number| running[number].clone()).collect();
    let mut next = 0..sentences.len();
    let batches = packed.iter().map(|batch| next.by_ref().take(batch.len()).collect()).collect();
    let progress = Progress {
        tokens_total: sentences.iter().map(|sentence| sentence.len() as u64).sum(),
        sentences_total: sentences.len() as u32,
        ..Progress::default()
    };
    let store = ResponseStore::new(model.unit_space().len(), sentences.len(), budget, spill_dir);
    let store = store.map_err(Fault::internal)?;
    Ok(PreparedShard { spec, sentences, batches, store, concepts, progress })
}

fn shard_concept(
    shard: &Job,
    concept: &JobConcept,
    prepared: &[Result<Prepared, Dropped>],
    place_of: &[Option<u32>],
) -> ShardConcept {
    let places = |numbers: &[u32]| numbers.iter().filter_map(|&s| place_of[s as usize]).collect();
    let dropped = |kind: FindingKind, is_kind: fn(&Dropped) -> bool| {
        let mut all = concept.positive.iter().chain(&concept.negative).map(|&s| s as usize);
        let mut of_kind = all.by_ref().filter(|&s| prepared[s].as_ref().err().is_some_and(is_kind)).peekable();
        let example = of_kind.peek().map(|&s| shard.sentences[s].as_str());
        Finding::of_sentences(kind, of_kind.count(), example)
    };
    let empty = dropped(FindingKind::Empty, |dropped| matches!(dropped, Dropped::Empty));
    let too_long = dropped(FindingKind::TooLong, |dropped| matches!(dropped, Dropped::TooLong { .. }));
    ShardConcept {
        positive: places(&concept.positive),
        negative: places(&concept.negative),
        findings: empty.into_iter().chain(too_long).collect(),
    }
}
