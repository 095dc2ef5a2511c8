//! Registration and status.

use lode_domain::{
    cluster::{ClusterStatus, ModelStatus, WorkerCard, WorkerStatus},
    id::{JobId, WorkerId},
};

use super::{BadField, all, each, required};
use crate::wire;

impl From<WorkerCard> for wire::RegisterRequest {
    fn from(card: WorkerCard) -> Self {
        Self {
            url: card.url,
            software_version: card.software_version,
            protocol_version: card.protocol_version,
            device: card.device,
            precision: card.precision,
            memory_budget_bytes: card.memory_budget,
            tokens_per_second: card.tokens_per_second,
            sequences: card.sequences,
            model: Some(card.model.into()),
            chat: card.chat.map(Into::into),
        }
    }
}

impl TryFrom<wire::RegisterRequest> for WorkerCard {
    type Error = BadField;

    fn try_from(request: wire::RegisterRequest) -> Result<Self, BadField> {
        Ok(Self {
            url: request.url,
            software_version: request.software_version,
            protocol_version: request.protocol_version,
            device: request.device,
            precision: request.precision,
            memory_budget: request.memory_budget_bytes,
            tokens_per_second: request.tokens_per_second,
            sequences: request.sequences.max(1),
            model: required(request.model, "model")?.try_into()?,
            chat: request.chat.map(Into::into),
        })
    }
}

impl From<WorkerStatus> for wire::get_status_reply::WorkerStatus {
    fn from(status: WorkerStatus) -> Self {
        Self {
            worker: status.id.0,
            url: status.url,
            device: status.device,
            precision: status.precision,
            model: status.model,
            software_version: status.software_version,
            memory_budget_bytes: status.memory_budget,
            silent_millis: status.silent_millis,
            tokens_per_second: status.tokens_per_second,
            mining: status.mining.map(|job| job.0),
        }
    }
}

impl From<wire::get_status_reply::WorkerStatus> for WorkerStatus {
    fn from(status: wire::get_status_reply::WorkerStatus) -> Self {
        Self {
            id: WorkerId(status.worker),
            url: status.url,
            device: status.device,
            precision: status.precision,
            model: status.model,
            software_version: status.software_version,
            memory_budget: status.memory_budget_bytes,
            silent_millis: status.silent_millis,
            tokens_per_second: status.tokens_per_second,
            mining: status.mining.map(JobId),
        }
    }
}

impl From<ModelStatus> for wire::get_status_reply::ModelStatus {
    fn from(status: ModelStatus) -> Self {
        Self { model: Some(status.model.into()), concepts: status.concepts, workers: status.workers }
    }
}

impl TryFrom<wire::get_status_reply::ModelStatus> for ModelStatus {
    type Error = BadField;

    fn try_from(status: wire::get_status_reply::ModelStatus) -> Result<Self, BadField> {
        let model = required(status.model, "model")?.try_into()?;
        Ok(Self { model, concepts: status.concepts, workers: status.workers })
    }
}

impl From<ClusterStatus> for wire::GetStatusReply {
    fn from(status: ClusterStatus) -> Self {
        Self {
            software_version: status.software_version,
            workers: each(status.workers),
            models: each(status.models),
            index_bytes: status.index_bytes,
        }
    }
}

impl TryFrom<wire::GetStatusReply> for ClusterStatus {
    type Error = BadField;

    fn try_from(reply: wire::GetStatusReply) -> Result<Self, BadField> {
        Ok(Self {
            software_version: reply.software_version,
            workers: each(reply.workers),
            models: all(reply.models)?,
            index_bytes: reply.index_bytes,
        })
    }
}
