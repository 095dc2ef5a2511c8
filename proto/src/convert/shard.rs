//! Shards: what a worker is sent beside the sentences, and what it streams back.

use lode_domain::{
    cluster::{ShardSpec, Summaries},
    event::{DroppedSentence, PartialUnits, Scored, ShardEvent},
    id::{JobId, ModelHash, ShardId},
    sentence::SentenceKey,
};

use super::{BadField, details, each, parsed, required, same_enum, words};
use crate::wire::{self, mine_event::Event};

same_enum!(Summaries, Summaries, "summaries", Finished, Partial);

impl From<ShardSpec> for wire::ShardSpec {
    fn from(spec: ShardSpec) -> Self {
        Self {
            job: spec.job.0,
            shard: spec.shard.0,
            model_hash: spec.model.0.to_vec(),
            recipe: Some(spec.recipe.into()),
            summaries: wire::Summaries::from(spec.summaries).into(),
            measures: words::measures_to_wire(spec.measures),
        }
    }
}

impl TryFrom<wire::ShardSpec> for ShardSpec {
    type Error = BadField;

    fn try_from(spec: wire::ShardSpec) -> Result<Self, BadField> {
        Ok(Self {
            summaries: spec.summaries().try_into()?,
            job: JobId(spec.job),
            shard: ShardId(spec.shard),
            model: words::model_hash(&spec.model_hash)?,
            recipe: words::recipe(spec.recipe)?,
            measures: words::measures(spec.measures)?,
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
                    held_out_positives: scored.held_out.0,
                    held_out_negatives: scored.held_out.1,
                    details: details::to_wire(scored.details),
                    findings: each(scored.findings),
                    error,
                })
            }
            ShardEvent::Dropped(dropped) => Event::Dropped(wire::mine_event::Dropped {
                sentences: dropped.iter().map(|one| one.sentence).collect(),
                kinds: dropped.iter().map(|one| one.kind.to_string()).collect(),
            }),
            ShardEvent::Partial(PartialUnits { start, units, responses }) => {
                Event::Partial(wire::mine_event::Partial { start, units, responses })
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
                    let held_out = (done.held_out_positives, done.held_out_negatives);
                    let details = details::from_wire(done.details)?;
                    Ok(Scored { positives: done.positives, negatives: done.negatives, held_out, findings, details })
                } else {
                    Err(done.error)
                };
                Self::ConceptDone { concept: done.concept, outcome }
            }
            Event::Dropped(dropped) => Self::Dropped(dropped_sentences(dropped)?),
            Event::Partial(wire::mine_event::Partial { start, units, responses }) => {
                Self::Partial(PartialUnits { start, units, responses })
            }
        })
    }
}

fn dropped_sentences(dropped: wire::mine_event::Dropped) -> Result<Vec<DroppedSentence>, BadField> {
    let (sentences, kinds) = (dropped.sentences, dropped.kinds);
    if sentences.len() != kinds.len() || sentences.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(BadField::new("dropped", "sentences do not rise, or have not one kind each"));
    }
    let pairs = sentences.into_iter().zip(kinds);
    pairs.map(|(sentence, kind)| Ok(DroppedSentence { sentence, kind: parsed(&kind, "kinds")? })).collect()
}

/// The question which of some sentences' responses a worker holds.
pub fn find_held(model: ModelHash, keys: &[SentenceKey]) -> wire::FindHeldRequest {
    wire::FindHeldRequest { model_hash: model.0.to_vec(), keys: keys.iter().flat_map(|key| key.0).collect() }
}

/// What such a question asks about.
///
/// # Errors
/// If the hash or the keys have not the length they must have.
pub fn held_question(request: &wire::FindHeldRequest) -> Result<(ModelHash, Vec<SentenceKey>), BadField> {
    let (keys, rest) = request.keys.as_chunks::<16>();
    if !rest.is_empty() {
        return Err(BadField::new("keys", format!("{} bytes are left over: a key has 16", rest.len())));
    }
    Ok((words::model_hash(&request.model_hash)?, keys.iter().map(|key| SentenceKey(*key)).collect()))
}
