//! Jobs and what happened to them as bytes for a file: the same messages as on the wire.

use lode_domain::{
    event::{JobEvent, JobSpec},
    job::Job,
};
use prost::Message as _;

use super::{BadField, JobAssembly, job_parts, required};
use crate::wire::{self, submit_job_request::Message};

fn decoded<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, BadField> {
    M::decode(bytes).map_err(|error| BadField::new("message", error))
}

/// A job's spec as bytes.
pub fn spec_to_bytes(spec: &JobSpec) -> Vec<u8> {
    wire::JobSpec::from(spec.clone()).encode_to_vec()
}

/// A job's spec from bytes.
///
/// # Errors
/// If they are none.
pub fn spec_from_bytes(bytes: &[u8]) -> Result<JobSpec, BadField> {
    decoded::<wire::JobSpec>(bytes)?.try_into()
}

/// A job's sentences and concepts as records, each of a size that is easily held.
pub fn job_to_records(job: Job) -> impl Iterator<Item = Vec<u8>> {
    job_parts(job).map(|part| wire::SubmitJobRequest { message: Some(Message::Part(part)) }.encode_to_vec())
}

/// A job from its records.
///
/// # Errors
/// If one is malformed or some are missing.
pub fn job_from_records(records: impl IntoIterator<Item = Vec<u8>>) -> Result<Job, BadField> {
    let mut assembly = JobAssembly::default();
    for record in records {
        match required(decoded::<wire::SubmitJobRequest>(&record)?.message, "message")? {
            Message::Part(part) => assembly.take(part)?,
            Message::Spec(_) => return Err(BadField::new("message", "a spec stands among a job's parts")),
        }
    }
    assembly.finish()
}

/// An event as bytes.
pub fn event_to_bytes(event: &JobEvent) -> Vec<u8> {
    wire::JobEvent::from(event.clone()).encode_to_vec()
}

/// An event from bytes.
///
/// # Errors
/// If they are none.
pub fn event_from_bytes(bytes: &[u8]) -> Result<JobEvent, BadField> {
    decoded::<wire::JobEvent>(bytes)?.try_into()
}
