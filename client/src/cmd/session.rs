//! Where a command's cluster comes from: one that runs elsewhere, or one for this command alone.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use lode_client::{
    Client,
    embedded::{Config, Embedded, Workers},
};
use lode_coordinator::Limits;
use lode_worker::{LoadOptions, ModelSource, Stages};

use crate::{
    args::{Global, ModelArg},
    output::note,
    progress::spinner,
};

/// What is kept in memory unless told otherwise: 16 GiB.
const MEMORY_BUDGET: u64 = 16 << 30;

/// Runs `work` on a cluster whose index can be asked; an embedded one has no workers.
pub(super) async fn on_index<T>(
    global: &Global,
    model: Option<&ModelArg>,
    work: impl AsyncFnOnce(Client) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if !global.embedded {
        return work(remote(global, model).await?).await;
    }
    match &global.data_dir {
        None => bail!("an embedded cluster begins with an empty index: say with --data-dir DIR where the mined one is"),
        // Opening would make an empty index where only a name was mistyped.
        Some(folder) if !folder.is_dir() => bail!("there is no index at {}: no such folder", folder.display()),
        Some(folder) if !folder.join("index").exists() => {
            bail!(
                "there is no index in {}: mine into it first, or give the folder that was mined into",
                folder.display()
            )
        }
        Some(_) => {}
    }
    within(Embedded::start(config(global)?, None).await?, work).await
}

/// Runs `work` on a cluster with workers that have `model`.
pub(super) async fn on_workers<T>(
    global: &Global,
    model: &ModelArg,
    work: impl AsyncFnOnce(Client) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if !global.embedded {
        return work(remote(global, Some(model)).await?).await;
    }
    let ModelArg::Source(source) = model else {
        let name = model.name();
        bail!("an embedded cluster has to load the model: write --model {name}=PATH_OR_HUB_ID");
    };
    let workers = load(global, source).await?;
    within(Embedded::start(config(global)?, Some(workers)).await?, work).await
}

/// Runs `work` on the coordinator that is there; for what an embedded cluster cannot have.
pub(super) async fn on_remote<T>(
    global: &Global,
    work: impl AsyncFnOnce(Client) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    if global.embedded {
        bail!("an embedded cluster lives as long as its command and has no jobs of others: leave --embedded out");
    }
    work(remote(global, None).await?).await
}

/// Loads the model that embedded workers share.
pub(super) async fn load(global: &Global, source: &ModelSource) -> anyhow::Result<Workers> {
    let precision = global.dtype.unwrap_or_default();
    let options = LoadOptions { device: global.device.unwrap_or_default(), precision, control: None };
    let (name, wanted) = (source.name.clone(), source.clone());
    let loading = tokio::task::spawn_blocking(move || lode_worker::load(&wanted, &options));
    let loaded = if std::path::Path::new(&source.source).is_dir() {
        spinner(&format!("loading model {name}"), loading).await
    } else {
        // The download draws bars of its own.
        note(format_args!("fetching model {name} from {}", source.source));
        loading.await
    };
    let model = loaded.context("loading the model was broken off")??;
    let memory_budget = global.memory_budget.map_or(MEMORY_BUDGET, |budget| budget.as_u64());
    let (count, stages) = (global.workers.unwrap_or(1), Stages::default());
    Ok(Workers { count, name, model, precision, memory_budget, stages })
}

/// Works on an embedded cluster and stops it in good order, whatever comes of the work.
async fn within<T>(cluster: Embedded, work: impl AsyncFnOnce(Client) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let done = tokio::select! {
        done = work(cluster.client().clone()) => done,
        // Ctrl-C is the command's own business; these would leave temporary folders behind.
        signal = lode_ops::terminated() => signal.map_err(Into::into).and_then(|()| Err(anyhow::anyhow!("terminated"))),
    };
    let stopped = cluster.stop().await;
    let done = done?;
    stopped?;
    Ok(done)
}

async fn remote(global: &Global, model: Option<&ModelArg>) -> anyhow::Result<Client> {
    global.refuse_embedded_flags()?;
    if let Some(ModelArg::Source(source)) = model {
        let ModelSource { name, source, .. } = source;
        bail!(
            "a cluster's workers load models themselves (`lode-worker --model {name}={source}`): write --model {name}, \
             or add --embedded"
        );
    }
    Ok(Client::connect(&global.coordinator, &global.credentials()?).await?)
}

fn config(global: &Global) -> anyhow::Result<Config> {
    global.refuse_tls_flags()?;
    let grpc = SocketAddr::from(([127, 0, 0, 1], 0));
    let (limits, resume) = (Limits::default(), false);
    Ok(Config { data_dir: global.data_dir.clone(), grpc, http: None, tokens: None, limits, resume })
}
