//! What was typed: the command line, and the pieces that several commands share.

mod measures;

use std::{path::PathBuf, str::FromStr};

use anyhow::bail;
use bytesize::ByteSize;
use clap::{Parser, Subcommand, ValueEnum};
use lode_domain::{
    access::Secret,
    compare::Experts,
    concept::ConceptId,
    control::Control,
    expertise::Recipe,
    id::{BadId, JobId, ModelName},
    pooling::{Pooling, Tokens},
    query::ConceptRef,
};
use lode_proto::{Authority, Credentials, Identity};
use lode_worker::{DeviceChoice, ModelSource, Precision};

pub(crate) use self::measures::MeasureArgs;
use crate::{cmd, output::Format};

/// Find the expert units of language models, and write with them.
#[derive(Debug, Parser)]
#[command(
    name = "lode",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    long_about = "Find the expert units of language models, and write with them.\n\n\
        Lode runs sentences that contain a concept, and sentences that do not, through a model; scores every unit by how \
        well its response tells them apart (average precision); keeps the scores in an index; and generates text with \
        the best units forced, so that it shows the concept.\n\n\
        Commands speak to a running cluster (--coordinator), or bring one of their own (--embedded).",
    after_help = "Examples, with a server:
  lode up --model gpt2=./gpt2
  lode lint concepts/
  lode mine --model gpt2 concepts/
  lode units top --model gpt2 --concept sense/bank
  lode generate --model gpt2 --prompt 'I saw' --concept sense/bank --k 50

The same without one:
  lode --embedded --data-dir ./index mine --model gpt2=./gpt2 concepts/
  lode --embedded --data-dir ./index units top --model gpt2 --concept sense/bank

`lode COMMAND --help` has examples of each."
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// The coordinator to speak to.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "LODE_COORDINATOR",
        hide_env_values = true,
        default_value = "http://127.0.0.1:7400",
        help_heading = "Cluster"
    )]
    pub(crate) coordinator: String,
    /// Token to show to the coordinator; better given in LODE_TOKEN, which others on the machine do not see.
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "LODE_TOKEN",
        hide_env_values = true,
        help_heading = "Cluster"
    )]
    pub(crate) token: Option<Secret>,
    /// Authority (PEM) that signed the coordinator's certificate, for https://.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub(crate) ca: Option<PathBuf>,
    /// Certificate (PEM) to show to a coordinator that asks for one.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Run the command on a cluster in this process instead.
    #[arg(long, global = true, help_heading = "Cluster")]
    pub(crate) embedded: bool,
    /// Embedded: folder of the index, and of up to 4 GiB of responses that later jobs need not run again; without it, results
    /// go away with the command.
    #[arg(long, global = true, value_name = "DIR", help_heading = "Cluster")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Embedded: number of workers [default: 1].
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64), help_heading = "Cluster")]
    pub(crate) workers: Option<u32>,
    /// Embedded: where to compute: auto, cpu or cuda:N [default: auto].
    #[arg(long, global = true, value_name = "DEVICE", help_heading = "Cluster")]
    pub(crate) device: Option<DeviceChoice>,
    /// Embedded: float type of weights and matrix products: f32, bf16 or f16 [default: f32].
    #[arg(long, global = true, value_name = "TYPE", help_heading = "Cluster")]
    pub(crate) dtype: Option<Precision>,
    /// Embedded: pooled responses kept in memory; more go to a temporary file [default: 16GiB].
    #[arg(long, global = true, value_name = "SIZE", help_heading = "Cluster")]
    pub(crate) memory_budget: Option<ByteSize>,
    /// How answers are written to stdout: table, json or csv; exports: csv, parquet or json [default: table; exports:
    /// csv].
    #[arg(long, global = true, value_enum, hide_possible_values = true)]
    pub(crate) format: Option<Format>,
}

impl Global {
    /// The format of everything but exports.
    pub(crate) fn format(&self) -> Format {
        self.format.unwrap_or(Format::Table)
    }

    /// What is shown to a coordinator elsewhere.
    pub(crate) fn credentials(&self) -> anyhow::Result<Credentials> {
        let ca = self.ca.as_deref().map(Authority::read).transpose()?;
        let identity = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some(Identity::read(cert, key)?),
            (None, None) => None,
            _ => bail!("--tls-cert and --tls-key go together: a certificate and its key"),
        };
        Ok(Credentials { token: self.token.clone(), ca, identity })
    }

    /// The embedded cluster speaks over the loopback, in the clear.
    pub(crate) fn refuse_tls_flags(&self) -> anyhow::Result<()> {
        let given = [
            ("--ca", self.ca.is_some()),
            ("--tls-cert", self.tls_cert.is_some()),
            ("--tls-key", self.tls_key.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => bail!("{flag} is for a coordinator elsewhere; an embedded cluster has no TLS"),
            None => Ok(()),
        }
    }

    /// Flags that mean nothing without an embedded cluster must not be taken for something.
    pub(crate) fn refuse_embedded_flags(&self) -> anyhow::Result<()> {
        let given = [
            ("--data-dir", self.data_dir.is_some()),
            ("--workers", self.workers.is_some()),
            ("--device", self.device.is_some()),
            ("--dtype", self.dtype.is_some()),
            ("--memory-budget", self.memory_budget.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => bail!("{flag} is a flag of the embedded cluster: add --embedded"),
            None => Ok(()),
        }
    }
}

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(about = "See the whole path at work on the bundled model and concepts")]
    Demo(cmd::demo::Args),
    Up(cmd::up::Args),
    Lint(cmd::lint::Args),
    Mine(cmd::mine::Args),
    Jobs(cmd::jobs::Args),
    Watch(cmd::watch::Args),
    Cancel(cmd::cancel::Args),
    Status(cmd::status::Args),
    Concepts(cmd::concepts::Args),
    /// Ask the index about units
    #[command(subcommand)]
    Units(cmd::units::Command),
    Overlap(cmd::overlap::Args),
    Nearest(cmd::nearest::Args),
    Export(cmd::export::Args),
    Generate(cmd::generate::Args),
    Chat(cmd::chat::Args),
    Score(cmd::score::Args),
    /// Repeat the paper's experiments, with controls
    #[command(subcommand)]
    Eval(cmd::eval::Command),
    Report(cmd::report::Args),
    /// Measure how fast this machine is
    #[command(subcommand)]
    Bench(cmd::bench::Command),
    Completions(cmd::completions::Args),
}

/// A model as `--model` gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModelArg {
    /// A model that the cluster or the index knows.
    Name(ModelName),
    /// A model to load.
    Source(ModelSource),
}

impl ModelArg {
    /// A control of the model.
    pub(crate) fn controlled(self, control: Control) -> Result<Self, BadId> {
        match self {
            Self::Name(name) => Ok(Self::Name(control.name_of(&name)?)),
            Self::Source(source) => Ok(Self::Source(source.controlled(control)?)),
        }
    }

    pub(crate) fn name(&self) -> &ModelName {
        match self {
            Self::Name(name) => name,
            Self::Source(source) => &source.name,
        }
    }
}

impl FromStr for ModelArg {
    type Err = lode_worker::BadModelSource;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('=') { text.parse().map(Self::Source) } else { Ok(Self::Name(text.parse()?)) }
    }
}

/// How responses are taken.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct RecipeArgs {
    /// How a unit's activations over a sentence become one response: max, mean or last [default: max].
    #[arg(long, value_name = "POOLING")]
    pub(crate) pooling: Option<Pooling>,
    /// Do as another program does; selfcond: pad to 128 tokens with the end token and pool over the pads too.
    #[arg(long, value_enum, value_name = "PROGRAM")]
    pub(crate) compat: Option<Compat>,
}

/// Programs whose arithmetic can be reproduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compat {
    /// The paper's reference code, ml-selfcond.
    Selfcond,
}

impl RecipeArgs {
    pub(crate) fn resolve(&self) -> anyhow::Result<Recipe> {
        match (self.compat, self.pooling) {
            (None, pooling) => Ok(Recipe { pooling: pooling.unwrap_or_default(), tokens: Tokens::Own }),
            (Some(Compat::Selfcond), None | Some(Pooling::Max)) => {
                Ok(Recipe { pooling: Pooling::Max, tokens: Tokens::Selfcond })
            }
            (Some(Compat::Selfcond), Some(other)) => {
                bail!("--compat selfcond pools by max: leave --pooling {other} out")
            }
        }
    }
}

/// The concept that a query is about.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SubjectArgs {
    /// The model, by name.
    #[arg(long, value_name = "NAME")]
    pub(crate) model: ModelArg,
    /// The concept.
    #[arg(long, value_name = "GROUP/NAME")]
    pub(crate) concept: ConceptId,
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
}

impl SubjectArgs {
    pub(crate) fn resolve(&self) -> anyhow::Result<ConceptRef> {
        let (model, concept) = (self.model.name().clone(), self.concept.clone());
        Ok(ConceptRef { model, concept, recipe: self.recipe.resolve()? })
    }
}

/// Who counts as an expert.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ExpertArgs {
    /// The experts are the K units with the highest AP [default: 50].
    #[arg(long, value_name = "K", conflicts_with = "min_ap")]
    pub(crate) top: Option<u32>,
    /// The experts are all units with at least this AP.
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = ap)]
    pub(crate) min_ap: Option<f32>,
}

impl ExpertArgs {
    pub(crate) fn resolve(&self) -> Experts {
        match self.min_ap {
            Some(least) => Experts::MinAp(least),
            None => Experts::Top(self.top.unwrap_or(50)),
        }
    }
}

/// An average precision.
pub(crate) fn ap(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("an average precision lies between 0 and 1".to_owned()),
    }
}

/// A job, as `job-7` or `7`.
pub(crate) fn job(text: &str) -> Result<JobId, BadId> {
    text.parse().map(JobId).or_else(|_| text.parse())
}

#[cfg(test)]
mod tests;
