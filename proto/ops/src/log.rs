//! Log lines, for people or for programs.

use tracing_subscriber::{EnvFilter, Layer as _, Registry, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::otlp::{BadOtlp, Telemetry};

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Sends what the process logs to stderr, from `info` up unless RUST_LOG says otherwise, and its spans to the collector
    /// at `otlp`, if there is one.
    pub(crate) fn init(self, service: &'static str, otlp: Option<&str>) -> Result<Telemetry, BadOtlp> {
        let (telemetry, tracer) = match otlp {
            Some(url) => {
                let (telemetry, tracer) = Telemetry::to(url, service)?;
                (telemetry, Some(tracer))
            }
            None => (Telemetry::off(), None),
        };
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
        let lines = tracing_subscriber::fmt::layer::<Registry>().with_writer(std::io::stderr);
        let lines = match self {
            Self::Text => lines.boxed(),
            Self::Json => lines.json().boxed(),
        };
        let spans = tracer.map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer));
        tracing_subscriber::registry().with(lines).with(spans).with(filter).init();
        Ok(telemetry)
    }
}
