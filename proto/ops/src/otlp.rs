//! Spans to a collector that speaks OpenTelemetry's OTLP over gRPC.

use std::time::Duration;

use opentelemetry::{global, trace::TracerProvider as _};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracerProvider, Tracer},
};

/// How long the last spans may take to the collector when the process ends.
const GOODBYE: Duration = Duration::from_secs(2);

/// A collector that spans cannot be sent to.
#[derive(Debug, thiserror::Error)]
#[error("cannot send spans to {url}: {source}; --otlp takes a collector's gRPC address such as http://127.0.0.1:4317")]
pub struct BadOtlp {
    url: String,
    source: ExporterBuildError,
}

/// Sends what is left when it is dropped.
pub struct Telemetry(Option<SdkTracerProvider>);

impl Telemetry {
    /// Where no spans go.
    pub(crate) fn off() -> Self {
        Self(None)
    }

    /// Spans of this process go to `url` from now on, under the name `service`. Needs a Tokio runtime. A collector that is
    /// not there costs spans and nothing else.
    pub(crate) fn to(url: &str, service: &'static str) -> Result<(Self, Tracer), BadOtlp> {
        let exporter = SpanExporter::builder().with_tonic().with_endpoint(url).build();
        let exporter = exporter.map_err(|source| BadOtlp { url: url.to_owned(), source })?;
        let provider = SdkTracerProvider::builder()
            .with_resource(Resource::builder().with_service_name(service).build())
            .with_batch_exporter(exporter)
            .build();
        // Calls between processes carry `traceparent` from now on.
        global::set_text_map_propagator(TraceContextPropagator::new());
        let tracer = provider.tracer("lode");
        Ok((Self(Some(provider)), tracer))
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Some(provider) = &self.0
            && let Err(error) = provider.shutdown_with_timeout(GOODBYE)
        {
            tracing::warn!(%error, "the last spans did not reach the collector");
        }
    }
}
