//! The gRPC service that workers register with.

use std::sync::Arc;

use lode_domain::{access::Secret, cluster::WorkerCard, id::WorkerId};
use lode_index::IndexError;
use lode_proto::{
    Fault, bearer_of,
    wire::{
        DeregisterReply, DeregisterRequest, HeartbeatReply, HeartbeatRequest, RegisterReply, RegisterRequest,
        registry_server,
    },
};
use tonic::{Request, Response, Status};

use crate::{Coordinator, fault::of_index, registry::other_model, worker_client::WorkerClient};

/// See [`registry_server::Registry`].
pub(crate) struct Door {
    coordinator: Arc<Coordinator>,
}

impl Door {
    pub(crate) fn new(coordinator: Arc<Coordinator>) -> Self {
        Self { coordinator }
    }

    /// A name stands for one model as long as the index lives: its concepts are found by it.
    async fn admit(&self, card: WorkerCard, token: Option<Secret>) -> Result<WorkerId, Fault> {
        let index = self.coordinator.index.clone();
        let model = card.model.clone();
        let recorded = tokio::task::spawn_blocking(move || match index.model_named(&model.name) {
            Ok(known) if known.hash != model.hash => Err(other_model(&model.name, known.hash, model.hash)),
            Ok(_) => Ok(()),
            Err(IndexError::UnknownModel { .. }) => index.put_model(&model).map_err(of_index),
            Err(error) => Err(of_index(error)),
        });
        recorded.await.map_err(|error| Fault::internal(format!("recording the model failed: {error}")))??;
        let credentials = self.coordinator.security.load().towards_worker(&card.url, token);
        // A worker that cannot be reached would be given work that it can never take.
        WorkerClient::new(&card.url, &credentials)?.reach().await?;
        self.coordinator.registry.register(card, &credentials)
    }
}

#[tonic::async_trait]
impl registry_server::Registry for Door {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterReply>, Status> {
        let token = bearer_of(request.metadata().as_ref());
        let card = WorkerCard::try_from(request.into_inner()).map_err(Fault::from)?;
        let url = card.url.clone();
        let worker =
            self.admit(card, token).await.inspect_err(|fault| tracing::warn!(url, %fault, "worker refused"))?;
        let heartbeat_millis = self.coordinator.registry.heartbeat_interval().as_millis() as u32;
        Ok(Response::new(RegisterReply { worker: worker.0, heartbeat_millis }))
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatReply>, Status> {
        let token = bearer_of(request.metadata().as_ref());
        let request = request.into_inner();
        let credentials = self.coordinator.security.load().towards_worker(&request.url, token);
        let known = self.coordinator.registry.heartbeat(WorkerId(request.worker), &request.url, &credentials);
        Ok(Response::new(HeartbeatReply { known }))
    }

    async fn deregister(&self, request: Request<DeregisterRequest>) -> Result<Response<DeregisterReply>, Status> {
        let request = request.into_inner();
        self.coordinator.registry.goodbye(WorkerId(request.worker), &request.url);
        Ok(Response::new(DeregisterReply {}))
    }
}
