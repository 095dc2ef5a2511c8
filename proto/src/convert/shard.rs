//! Shards: what a worker is sent beside the sentences, and what it streams back.

use lode_domain::{
    cluster::ShardSpec,
    event::{Scored, ShardEvent},
    id::{JobId, ShardId},
};

use super::{BadField, each, required, words};
use crate::wire::{self, mine_event::Event};

impl From<ShardSpec> for wire::ShardSpec {
    fn from(spec: ShardSpec) -> Self {
        Self {
            job: spec.job.0,
            shard: spec.shard.0,
            model_hash: spec.model.0.to_vec(),
            recipe: Some(spec.recipe.into()),
        }
    }
}

impl TryFrom<wire::ShardSpec> for ShardSpec {
    type Error = BadField;

    fn try_from(spec: wire::ShardSpec) -> Result<Self, BadField> {
        Ok(Self {
            job: JobId(spec.job),
            shard: ShardId(spec.shard),
            model: words::model_hash(&spec.model_hash)?,
            recipe: words::recipe(spec.recipe)?,
        })
    }
}

impl From<ShardEvent> for wire::MineEvent {
    fn from(event: ShardEvent) -> Self {
        let event = match event {
            ShardEvent::Progress(progress) => Event::Progress(progress.into()),
            ShardEvent::Block { concept, block } => {
                Event::Block(wire::mine_event::Block { concept, block: Some(block.into()) })
            }
            ShardEvent::ConceptDone { concept, outcome } => {
                let (scored, error) = match outcome {
                    Ok(scored) => (scored, String::new()),
                    Err(error) => (Scored::default(), error),
                };
                Event::ConceptDone(wire::mine_event::ConceptDone {
                    concept,
                    positives: scored.positives,
                    negatives: scored.negatives,
                    findings: each(scored.findings),
                    error,
                })
            }
        };
        Self { event: Some(event) }
    }
}

impl TryFrom<wire::MineEvent> for ShardEvent {
    type Error = BadField;

    fn try_from(event: wire::MineEvent) -> Result<Self, BadField> {
        Ok(match required(event.event, "event")? {
            Event::Progress(progress) => Self::Progress(progress.into()),
            Event::Block(block) => {
                Self::Block { concept: block.concept, block: required(block.block, "block")?.try_into()? }
            }
            Event::ConceptDone(done) => {
                let outcome = if done.error.is_empty() {
                    let findings = words::findings(done.findings)?;
                    Ok(Scored { positives: done.positives, negatives: done.negatives, findings })
                } else {
                    Err(done.error)
                };
                Self::ConceptDone { concept: done.concept, outcome }
            }
        })
    }
}
