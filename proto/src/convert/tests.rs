//! What goes onto the wire comes back as it was, and what is malformed is refused with the field's name.

mod refused;

use lode_domain::{
    chat::ChatTemplate,
    closer::{ApInterval, Details, L1Fit},
    cluster::{ClusterStatus, ModelStatus, PROTOCOL_VERSION, ShardSpec, Summaries, WorkerCard, WorkerStatus},
    compare::{Experts, LayerShare},
    concept::{Concept, ConceptId},
    criterion::{Criterion, Intervals, Measures},
    estimate::{Estimate, WorkerEstimate},
    event::{
        DroppedSentence, JobEvent, JobSpec, JobState, JobStatus, PartialUnits, Planned, Progress, Scored, ShardEvent,
    },
    expertise::{Column, ExpertiseBlock, Extra, Recipe, UnitExpertise},
    generation::{FinishReason, Finished, GenerateEvent, GenerateRequest, Logprobs, ResolvedRequest, TokenScore},
    guide::{Discriminator, Guide},
    held::{Content, ContentHash, Given},
    holdout::Holdout,
    id::{JobId, ModelHash, ShardId, WorkerId},
    intervention::{
        Action, Component, Condition, Coverage, ForcedUnit, ForcingValue, Intervention, Positions, Rank, Target,
        UnitRef,
    },
    job::Job,
    likelihood::{Passage, ResolvedScore, ScoreRequest, ScoredContinuation},
    lint::{Finding, FindingKind},
    observation::{Observation, Observe, ObservedUnit},
    plan::SplitMode,
    pooling::{Pooling, Tokens},
    query::{
        ConceptRef, ExportHeader, IndexedConcept, Neighbour, OverlapAnswer, TopQuery, TopUnits, UnitInConcept, UnitRow,
    },
    record::{ConceptHeader, ModelRecord},
    sampling::Sampling,
    sentence::SentenceKey,
    unit::{Layer, LayerName, UnitId, UnitName},
};
use prost::Message as _;

use super::{BadField, JobAssembly, job_parts, score_reply, scored_passages, top_query, top_request};
use crate::wire;

/// Through bytes and back.
fn check<W, D>(value: D)
where
    W: From<D> + prost::Message + Default,
    D: TryFrom<W, Error: std::fmt::Debug> + Clone + PartialEq + std::fmt::Debug,
{
    let bytes = W::from(value.clone()).encode_to_vec();
    assert_eq!(D::try_from(W::decode(&bytes[..]).unwrap()).unwrap(), value);
}

fn concept() -> ConceptId {
    "sense/football".parse().unwrap()
}

fn recipe() -> Recipe {
    Recipe { pooling: Pooling::Last, tokens: Tokens::Selfcond }
}

fn finding() -> Finding {
    Finding { kind: FindingKind::BothClasses, count: 2, example: "\"a\"".into() }
}

fn model() -> ModelRecord {
    ModelRecord {
        name: "demo".parse().unwrap(),
        hash: ModelHash([7; 32]),
        family: "gpt2".into(),
        context_len: 128,
        layers: vec![Layer { name: LayerName::new("h.0.mlp"), units: 4 }],
    }
}

fn indexed() -> IndexedConcept {
    let header = ConceptHeader {
        positives: 3,
        negatives: 4,
        findings: vec![finding()],
        precision: "f32".into(),
        limit_per_class: 1000,
        seed: 1234,
        units: 4,
        measures: measures(),
        held_out: (1, 2),
        details: details(),
    };
    IndexedConcept { concept: concept(), recipe: recipe(), header }
}

fn measures() -> Measures {
    Measures {
        criteria: Criterion::ALL.into_iter().collect(),
        holdout: Holdout::new(125),
        intervals: Some(Intervals { units: 9, seed: u64::MAX }),
    }
}

fn details() -> Details {
    let weights = vec![(UnitId(1), -0.5), (UnitId(4), 2.0)];
    let intervals = vec![ApInterval { unit: UnitId(2), low: 0.25, high: 0.5 }];
    Details { intervals, l1: Some(L1Fit { screened: 9, intercept: 0.5, weights }) }
}

fn block() -> ExpertiseBlock {
    let mut block = ExpertiseBlock::with_capacity(16, 2);
    block.push(UnitExpertise { ap: 0.5, on_mean: -1.0, on_p50: 0.25, on_p90: f32::MIN_POSITIVE, off_mean: 1e30 });
    block.push(UnitExpertise::default());
    block
}

fn row() -> UnitRow {
    let name = UnitName { layer: LayerName::new("h.0.mlp"), index: 3 };
    let extra = Extra {
        auroc: Some(0.75),
        cohens_d: None,
        held_out_ap: Some(0.5),
        ap_interval: Some((0.25, 0.75)),
        l1: Some(-1.0),
    };
    UnitRow { unit: UnitId(3), name, expertise: block().unit(0), extra }
}

fn condition(value: ForcingValue) -> Condition {
    let target =
        Target::Experts { concept: concept(), recipe: recipe(), k: 50, rank: Rank::Next, criterion: Criterion::Auroc };
    Condition { target, value, positions: Positions::Last }
}

fn spec() -> JobSpec {
    let split = SplitMode::Never;
    JobSpec {
        model: model().name,
        recipe: recipe(),
        limit_per_class: 10,
        seed: u64::MAX,
        strict: true,
        split,
        measures: measures(),
    }
}

#[test]
fn jobs_round_trip() {
    let spec = spec();
    check::<wire::JobSpec, _>(spec.clone());
    assert_eq!(super::spec_from_bytes(&super::spec_to_bytes(&spec)).unwrap(), spec);
    let progress = Progress { tokens_done: 1, tokens_total: 2, sentences_done: 3, sentences_total: 4 };
    let planned = Planned {
        shards: 1,
        concepts: 2,
        split_concepts: 6,
        distinct_sentences: 3,
        run_sentences: 7,
        listed_sentences: 4,
        workers: 5,
    };
    for event in [
        JobEvent::Planned(planned),
        JobEvent::Progress(progress),
        JobEvent::ConceptIndexed(indexed()),
        JobEvent::ConceptFailed { concept: concept(), error: "no".into() },
        JobEvent::ShardRetried { shard: ShardId(3), error: "gone".into() },
        JobEvent::Ended { state: JobState::Cancelled, error: String::new() },
    ] {
        check::<wire::JobEvent, _>(event.clone());
        assert_eq!(super::event_from_bytes(&super::event_to_bytes(&event)).unwrap(), event);
    }
    check::<wire::Job, _>(JobStatus {
        id: JobId(9),
        model: model().name,
        state: JobState::Failed,
        concepts: 3,
        indexed: 1,
        failed: 2,
        progress,
        error: "no".into(),
    });
}

#[test]
fn shards_round_trip() {
    for summaries in [Summaries::Finished, Summaries::Partial] {
        let (job, shard, model, recipe) = (JobId(1), ShardId(2), model().hash, recipe());
        for measures in [Measures::default(), measures()] {
            check::<wire::ShardSpec, _>(ShardSpec { job, shard, model, recipe, summaries, measures });
        }
    }
    let scored = Scored { positives: 1, negatives: 2, held_out: (3, 4), findings: vec![finding()], details: details() };
    for event in [
        ShardEvent::Progress(Progress::default()),
        ShardEvent::Block { concept: 1, block: block() },
        ShardEvent::Block { concept: 1, block: block().with(Column::CohensD, vec![-2.5, 0.0]).unwrap() },
        ShardEvent::ConceptDone { concept: 1, outcome: Ok(scored) },
        ShardEvent::ConceptDone { concept: 1, outcome: Err("no positive is left".into()) },
        ShardEvent::Dropped(vec![
            DroppedSentence { sentence: 0, kind: FindingKind::TooLong },
            DroppedSentence { sentence: 9, kind: FindingKind::Empty },
        ]),
        ShardEvent::Partial(PartialUnits { start: 16, units: 2, responses: vec![1.5, -0.0, f32::MAX, 2.0] }),
    ] {
        check::<wire::MineEvent, _>(event);
    }
}

#[test]
fn questions_of_what_is_held_round_trip() {
    let keys = [SentenceKey::new(recipe(), "a"), SentenceKey::new(recipe(), "b")];
    let question = super::find_held(model().hash, &keys);
    assert_eq!(super::held_question(&question).unwrap(), (model().hash, keys.to_vec()));
    let cut = wire::FindHeldRequest { keys: question.keys[1..].to_vec(), ..question };
    assert_eq!(super::held_question(&cut).unwrap_err().field, "keys");
}

#[test]
fn estimates_round_trip() {
    let worker = WorkerEstimate {
        url: "http://127.0.0.1:1".into(),
        device: "cpu".into(),
        tokens_per_second: 1.5,
        shards: 1,
        sentences: 2,
        tokens: 3,
        response_bytes: 4,
        memory_budget: 5,
    };
    check::<wire::EstimateJobReply, _>(Estimate {
        concepts: 1,
        listed_sentences: 2,
        distinct_sentences: 3,
        distinct_tokens: 4,
        run_sentences: 5,
        run_tokens: 6,
        held_sentences: 7,
        unshared_sentences: 8,
        unshared_tokens: 9,
        dropped_sentences: 10,
        shards: 11,
        split_concepts: 12,
        ranges: 13,
        seconds: 14.5,
        partial_bytes: 15,
        index_bytes: 16,
        workers: vec![worker],
    });
}

#[test]
fn a_job_of_many_messages_is_put_together_again() {
    let texts = |class: &str| (0..3000).map(|i| format!("{class} {i} {}", "long ".repeat(40))).collect::<Vec<_>>();
    let job = Job::new(&[Concept { id: concept(), positive: texts("on"), negative: texts("off") }]).unwrap();
    assert_eq!(super::job_from_records(super::job_to_records(job.clone())).unwrap(), job);
    let parts: Vec<_> = job_parts(job.clone()).collect();
    assert!(parts.len() > 4, "{}", parts.len());
    assert!(parts.iter().all(|part| part.encoded_len() < 1 << 20));
    let mut assembly = JobAssembly::default();
    for part in parts {
        assembly.take(part).unwrap();
    }
    assert_eq!(assembly.finish().unwrap(), job);
}

#[test]
fn the_cluster_round_trips() {
    check::<wire::RegisterRequest, _>(WorkerCard {
        url: "http://127.0.0.1:1".into(),
        software_version: "0.1.0".into(),
        protocol_version: PROTOCOL_VERSION,
        device: "cpu (2 threads)".into(),
        precision: "bf16".into(),
        memory_budget: 1 << 40,
        tokens_per_second: 512.5,
        sequences: 8,
        model: model(),
        chat: Some(ChatTemplate { source: "{{ messages }}".into(), bos_token: None, eos_token: Some(String::new()) }),
    });
    check::<wire::GetStatusReply, _>(ClusterStatus {
        software_version: "0.1.0".into(),
        workers: vec![WorkerStatus {
            id: WorkerId(1),
            url: "http://127.0.0.1:1".into(),
            device: "cpu".into(),
            precision: "f32".into(),
            model: "demo".into(),
            software_version: "0.1.0".into(),
            memory_budget: 5,
            silent_millis: 12,
            tokens_per_second: 0.5,
            mining: Some(JobId(4)),
        }],
        models: vec![ModelStatus { model: model(), concepts: 2, workers: 1 }],
        index_bytes: 77,
    });
}

#[test]
fn queries_round_trip() {
    let of = ConceptRef { model: model().name, concept: concept(), recipe: recipe() };
    check::<wire::ConceptRef, _>(of.clone());
    for layers in [None, Some("*.mlp.*".to_owned())] {
        let query = TopQuery { top: 50, layers, min_ap: Some(0.0), bottom: true, criterion: Criterion::CohensD };
        assert_eq!(top_query(top_request(of.clone(), query.clone())).unwrap(), (of.clone(), query));
    }
    check::<wire::TopUnitsReply, _>(TopUnits { rows: vec![row()], matching: 9 });
    check::<wire::show_unit_reply::Row, _>(UnitInConcept { concept: concept(), row: row() });
    check::<wire::Experts, _>(Experts::Top(10));
    check::<wire::Experts, _>(Experts::MinAp(0.0));
    let layer = model().layers[0].clone();
    check::<wire::layer_shares_reply::Row, _>(LayerShare { layer, experts: 1, max_ap: 0.5, mean_ap: 0.25 });
    check::<wire::OverlapReply, _>(OverlapAnswer {
        first_experts: 1,
        second_experts: 2,
        jaccard: 0.5,
        correlation: -0.5,
        shared: vec![(row(), row())],
    });
    let neighbour = Neighbour { concept: concept(), shared: 1, jaccard: 0.5, correlation: 0.1 };
    check::<wire::nearest_reply::Row, _>(neighbour);
    check::<wire::export_event::Header, _>(ExportHeader { model: model(), concept: indexed() });
}

fn guide() -> Guide {
    let discriminator = Discriminator {
        tokens: vec![3, 9],
        vectors: vec![0.5, -0.5, 0.25],
        input: vec![1.0, 2.0, 3.0],
        input_bias: vec![4.0, 5.0, 6.0],
        recurrent: vec![7.0, 8.0, 9.0],
        recurrent_bias: vec![10.0, 11.0, 12.0],
        output: vec![13.0],
        output_bias: 14.0,
    };
    Guide { discriminator: discriminator.into(), strength: 4.0, candidates: 200 }
}

#[test]
fn generation_round_trips() {
    let stop = vec!["\n".to_owned(), "the end".to_owned()];
    let sampling =
        Sampling { temperature: 0.5, top_p: 0.9, top_k: 5, seed: 3, stop, logprobs: Some(0), ..Sampling::default() };
    let logit_bias = [(3, 1.5), (50_256, -100.0)].into();
    let sampling = Sampling { presence_penalty: 0.25, frequency_penalty: -0.5, logit_bias, ..sampling };
    let values = [
        ForcingValue::Mean,
        ForcingValue::P50,
        ForcingValue::P90,
        ForcingValue::Constant(-1.5),
        ForcingValue::Scale(0.5),
    ];
    let listed = Condition {
        target: Target::Units(vec![UnitRef::Number(UnitId(7)), UnitRef::Name("h.0.mlp[3]".parse().unwrap())]),
        value: ForcingValue::Constant(0.0),
        positions: Positions::Window { from: 2, to: 9 },
    };
    let observe = vec![Observe { concept: concept(), recipe: recipe(), k: 5 }];
    let component = |unit, amount| Component { unit: UnitRef::Number(UnitId(unit)), amount };
    let direction = Condition {
        target: Target::Direction(vec![component(4, 0.5), component(2, -1.5)]),
        value: ForcingValue::Scale(2.0),
        positions: Positions::All,
    };
    let drawn = [None, Some(0), Some(u64::MAX)].map(|seed| {
        let mut drawn = condition(ForcingValue::Mean);
        if let Target::Experts { rank, .. } = &mut drawn.target {
            *rank = Rank::Random { seed };
        }
        drawn
    });
    let conditions = values.into_iter().map(condition).chain([listed, direction]).chain(drawn).collect();
    let request = GenerateRequest {
        model: model().name,
        prompt: "Once".to_owned(),
        conditions,
        observe,
        sampling: sampling.clone(),
        samples: 2,
        guide: Some(guide()),
    };
    check::<wire::GenerateRequest, _>(request);

    let forced = vec![ForcedUnit { unit: UnitId(5), value: 1.0 }, ForcedUnit { unit: UnitId(9), value: -2.0 }];
    let window = Positions::Window { from: 0, to: u32::MAX };
    let observation = Observation { units: vec![ObservedUnit { unit: UnitId(3), off: 0.5, span: -1.0 }] };
    check::<wire::WorkerGenerateRequest, _>(ResolvedRequest {
        model: model().hash,
        prompt: "Once".into(),
        interventions: vec![
            Given::whole(Intervention::new(Positions::Generated, forced.clone())),
            Given::whole(Intervention::with(Action::Scale, window, forced.clone())),
            Given::whole(Intervention::with(Action::Add, window, forced)),
            Given::Held(ContentHash([7; 16])),
        ],
        observations: vec![Given::Held(observation.hash()), Given::whole(observation)],
        sampling,
        samples: 1,
        guide: Some(guide()),
    });
    let scored = |token| TokenScore { token, text: "a".into(), logprob: -0.5 };
    for logprobs in [None, Some(Logprobs { drawn: scored(1), top: vec![scored(2), scored(1)] })] {
        let (text, observed) = ("a".to_owned(), vec![0.5, -1.0]);
        check::<wire::GenerateEvent, _>(GenerateEvent::Token { sample: 1, token: 2, text, logprobs, observed });
    }
    let coverage = Coverage { units: 1, layers: 2, positions: 3, writes: 4 };
    for reason in [FinishReason::EndOfText, FinishReason::Stop] {
        let finished = Finished { reason, prompt_tokens: 5, generated_tokens: 6, coverage };
        check::<wire::GenerateEvent, _>(GenerateEvent::Finished { sample: 0, finished });
    }
}

#[test]
fn scoring_round_trips() {
    let passage = Passage { prompt: "The nurse said that".into(), continuations: vec![" she".into(), " he".into()] };
    check::<wire::ScoreRequest, _>(ScoreRequest {
        model: model().name,
        conditions: vec![condition(ForcingValue::Mean)],
        seed: 7,
        passages: vec![passage.clone()],
        guide: Some(guide()),
        residual: vec![0, 2],
    });
    check::<wire::WorkerScoreRequest, _>(ResolvedScore {
        model: model().hash,
        interventions: vec![Intervention::new(Positions::All, vec![ForcedUnit { unit: UnitId(5), value: 1.0 }])],
        passages: vec![passage],
        guide: Some(guide()),
        residual: vec![3],
    });
    let scored = vec![vec![
        ScoredContinuation { tokens: vec![3], log_probabilities: vec![-0.5], residual: vec![] },
        ScoredContinuation { tokens: vec![4, 5], log_probabilities: vec![-1.0, -2.0], residual: vec![0.5, 1.5] },
    ]];
    assert_eq!(scored_passages(score_reply(scored.clone()), &[2]).unwrap(), scored);
    let other = scored_passages(score_reply(scored), &[1]).unwrap_err();
    assert_eq!(other.field, "passages");
    let lopsided = vec![vec![ScoredContinuation { tokens: vec![3], ..ScoredContinuation::default() }]];
    assert_eq!(scored_passages(score_reply(lopsided), &[1]).unwrap_err().field, "log_probabilities");
    let nothing = wire::ScoreRequest { model: "m".into(), ..Default::default() };
    assert_eq!(ScoreRequest::try_from(nothing).unwrap_err().field, "passages");
    let passages = vec![wire::Passage { prompt: String::new(), continuations: vec!["x".into()] }];
    let disorder = wire::ScoreRequest { model: "m".into(), passages, residual: vec![2, 0], ..Default::default() };
    assert_eq!(ScoreRequest::try_from(disorder).unwrap_err().field, "residual");
}
