//! Messages of others: the first byte says which, the rest is decoded. What converts to the domain must survive the way to
//! the wire and back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lode_domain::{
    cluster::{ClusterStatus, ShardSpec, WorkerCard},
    compare::LayerShare,
    event::{JobEvent, JobSpec, JobStatus, ShardEvent},
    expertise::ExpertiseBlock,
    generation::{GenerateEvent, GenerateRequest, ResolvedRequest},
    guide::Guide,
    likelihood::{ResolvedScore, ScoreRequest},
    query::{ConceptRef, ExportHeader, IndexedConcept, Neighbour, OverlapAnswer, UnitInConcept},
};
use lode_proto::{
    convert::{BadField, JobAssembly, chat_request, find_held, held_question, job_parts, scored_passages, top_query},
    wire,
};
use prost::Message;

/// Compared as bytes: NaN is not equal to itself, but its bits are.
fn there_and_back<W, D>(bytes: &[u8])
where
    W: Message + Default + From<D>,
    D: TryFrom<W, Error = BadField>,
{
    let Ok(message) = W::decode(bytes) else { return };
    let Ok(first) = D::try_from(message) else { return };
    let once = W::from(first).encode_to_vec();
    let again = W::decode(&once[..]).expect("what was written can be read");
    let second = D::try_from(again).expect("what converted once converts again");
    assert_eq!(W::from(second).encode_to_vec(), once);
}

fn there<W, D>(bytes: &[u8])
where
    W: Message + Default,
    D: TryFrom<W, Error = BadField>,
{
    if let Ok(message) = W::decode(bytes) {
        let _ = D::try_from(message);
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, bytes)) = data.split_first() else { return };
    match kind % 26 {
        0 => there_and_back::<wire::RegisterRequest, WorkerCard>(bytes),
        1 => there_and_back::<wire::GetStatusReply, ClusterStatus>(bytes),
        2 => there_and_back::<wire::JobSpec, JobSpec>(bytes),
        3 => there_and_back::<wire::JobEvent, JobEvent>(bytes),
        4 => there_and_back::<wire::Job, JobStatus>(bytes),
        5 => there_and_back::<wire::ShardSpec, ShardSpec>(bytes),
        6 => there_and_back::<wire::MineEvent, ShardEvent>(bytes),
        7 => there_and_back::<wire::ExpertiseBlock, ExpertiseBlock>(bytes),
        8 => there_and_back::<wire::GenerateEvent, GenerateEvent>(bytes),
        9 => there_and_back::<wire::GenerateRequest, GenerateRequest>(bytes),
        10 => there_and_back::<wire::WorkerGenerateRequest, ResolvedRequest>(bytes),
        11 => there_and_back::<wire::ConceptRef, ConceptRef>(bytes),
        12 => there_and_back::<wire::export_event::Header, ExportHeader>(bytes),
        13 => there_and_back::<wire::ConceptSummary, IndexedConcept>(bytes),
        14 => there_and_back::<wire::OverlapReply, OverlapAnswer>(bytes),
        15 => there::<wire::ShowUnitReply, Vec<UnitInConcept>>(bytes),
        16 => there::<wire::NearestReply, Vec<Neighbour>>(bytes),
        17 => there::<wire::LayerSharesReply, Vec<LayerShare>>(bytes),
        18 => {
            if let Ok(request) = wire::TopUnitsRequest::decode(bytes) {
                let _ = top_query(request);
            }
        }
        19 => job(bytes),
        20 => there_and_back::<wire::ScoreRequest, ScoreRequest>(bytes),
        21 => there_and_back::<wire::WorkerScoreRequest, ResolvedScore>(bytes),
        22 => there_and_back::<wire::Guide, Guide>(bytes),
        23 => {
            if let Ok(reply) = wire::ScoreReply::decode(bytes) {
                let _ = scored_passages(reply, &[1, 2]);
            }
        }
        24 => held(bytes),
        _ => {
            if let Ok(request) = wire::RenderChatRequest::decode(bytes) {
                let _ = chat_request(request);
            }
        }
    }
});

/// What a worker is asked to have.
fn held(bytes: &[u8]) {
    let Ok(request) = wire::FindHeldRequest::decode(bytes) else { return };
    let Ok((model, keys)) = held_question(&request) else { return };
    assert_eq!(held_question(&find_held(model, &keys)).expect("it can be asked again"), (model, keys));
}

/// A job comes in parts: each with its length before it.
fn job(mut bytes: &[u8]) {
    let mut assembly = JobAssembly::default();
    while let Ok(part) = wire::JobPart::decode_length_delimited(&mut bytes) {
        if assembly.take(part).is_err() {
            return;
        }
    }
    let Ok(job) = assembly.finish() else { return };
    let mut again = JobAssembly::default();
    for part in job_parts(job.clone()) {
        again.take(part).expect("what was assembled once is assembled again");
    }
    assert_eq!(again.finish().expect("it is whole"), job);
}
