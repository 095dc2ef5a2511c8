//! The gRPC service that workers register with.

use std::sync::Arc;

use lode_domain::{access::Secret, cluster::WorkerCard, id::WorkerId, record::ModelRecord};
use lode_index::IndexError;
use lode_ops::pause_at;
use lode_proto::{
    Credentials, Fault, bearer_of,
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
    /// Held from the last look to the registration: of two workers that bring other models under one name, one is refused.
    admitting: tokio::sync::Mutex<()>,
}

impl Door {
    pub(crate) fn new(coordinator: Arc<Coordinator>) -> Self {
        Self { coordinator, admitting: tokio::sync::Mutex::default() }
    }

    /// Takes a worker in. A name stands for one model as long as the index lives: its concepts are found by it. So the name is
    /// taken last, by a worker that is welcome in every other way.
    async fn admit(&self, card: WorkerCard, token: Option<Secret>) -> Result<WorkerId, Fault> {
        let registry = &self.coordinator.registry;
        registry.check(&card)?;
        let credentials = self.coordinator.security.load().towards_worker(&card.url, token);
        // A worker that cannot be reached would be given work that it can never take.
        let client = WorkerClient::new(&card.url, &credentials)?;
        client.reach().await?;
        client.recognise(card.model.hash).await?;
        let _admitting = self.admitting.lock().await;
        registry.check(&card)?;
        self.name_model(card.model.clone()).await?;
        registry.register(card, &credentials)
    }

    async fn name_model(&self, model: ModelRecord) -> Result<(), Fault> {
        let index = self.coordinator.index.clone();
        let recorded = tokio::task::spawn_blocking(move || match index.model_named(&model.name) {
            Ok(known) if known.hash != model.hash => Err(other_model(&model.name, known.hash, model.hash)),
            Ok(_) => Ok(()),
            Err(IndexError::UnknownModel { .. }) => index.put_model(&model).map_err(of_index),
            Err(error) => Err(of_index(error)),
        });
        recorded.await.map_err(|error| Fault::internal(format!("recording the model failed: {error}")))?
    }

    /// The credentials that the worker at `url` is to be called with, by whoever says to be it and shows `token`.
    ///
    /// # Errors
    /// If it does not know the token: then it is another worker that speaks.
    async fn vouched(&self, id: WorkerId, url: &str, token: Option<Secret>) -> Result<Credentials, Fault> {
        let credentials = self.coordinator.security.load().towards_worker(url, token);
        if let Some(member) = self.coordinator.registry.member(id, url)
            && !member.is_called_by(&credentials)
        {
            WorkerClient::new(url, &credentials)?.recognise(member.card.model.hash).await?;
        }
        Ok(credentials)
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
        pause_at("coordinator-registered");
        let heartbeat_millis = self.coordinator.registry.heartbeat_interval().as_millis() as u32;
        Ok(Response::new(RegisterReply { worker: worker.0, heartbeat_millis }))
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Result<Response<HeartbeatReply>, Status> {
        let token = bearer_of(request.metadata().as_ref());
        let request = request.into_inner();
        let credentials = self.vouched(WorkerId(request.worker), &request.url, token).await?;
        let known = self.coordinator.registry.heartbeat(WorkerId(request.worker), &request.url, &credentials);
        Ok(Response::new(HeartbeatReply { known }))
    }

    async fn deregister(&self, request: Request<DeregisterRequest>) -> Result<Response<DeregisterReply>, Status> {
        let token = bearer_of(request.metadata().as_ref());
        let request = request.into_inner();
        self.vouched(WorkerId(request.worker), &request.url, token).await?;
        self.coordinator.registry.goodbye(WorkerId(request.worker), &request.url);
        Ok(Response::new(DeregisterReply {}))
    }
}

#[cfg(test)]
mod tests {
    use lode_domain::{
        cluster::PROTOCOL_VERSION,
        id::ModelHash,
        unit::{Layer, LayerName},
    };

    use super::*;
    use crate::{Config, Limits, Security, Timing};

    /// A name stays free as long as no worker with it is taken in.
    #[tokio::test]
    async fn a_refused_worker_takes_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: folder.path().to_owned(),
            grpc: ([127, 0, 0, 1], 0).into(),
            security: Security::default(),
            timing: Timing::default(),
            resume: true,
            limits: Limits::default(),
        };
        let door = Door::new(Coordinator::open(&config).unwrap());
        let layers = vec![Layer { name: LayerName::new("h.0.mlp"), units: 4 }];
        let (name, hash) = ("demo".parse().unwrap(), ModelHash([1; 32]));
        let card = WorkerCard {
            // Nobody listens there.
            url: "http://127.0.0.1:9".into(),
            software_version: "0".into(),
            protocol_version: PROTOCOL_VERSION,
            device: "cpu".into(),
            precision: "f32".into(),
            memory_budget: 0,
            tokens_per_second: 10.0,
            sequences: 64,
            model: ModelRecord { name, hash, family: "gpt2".into(), context_len: 128, layers },
            chat: None,
        };
        let old = WorkerCard { protocol_version: 0, ..card.clone() };
        for (card, part) in [(old, "protocol 0"), (card.clone(), "--advertise")] {
            let refused = door.admit(card, None).await.unwrap_err();
            assert!(refused.message.contains(part), "{refused}");
        }
        assert!(matches!(door.coordinator.index.model_named(&card.model.name), Err(IndexError::UnknownModel { .. })));
    }
}
