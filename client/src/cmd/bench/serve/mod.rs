//! `lode bench serve`: text generated for many at once.

mod load;
mod summary;
mod work;

use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use anyhow::Context as _;
use lode_domain::concept::ConceptId;

use self::{
    load::{Limit, Load, Pace},
    summary::report,
    work::{Shape, Work},
};
use crate::{
    args::{Global, ModelArg},
    cmd::session::on_workers,
    output::{note, print},
};

/// Measure how fast a cluster generates for many at once
///
/// Sends requests over gRPC and times their tokens. Closed loop (--concurrency): so many requests are always under way. Open loop
/// (--rate): requests come at random times, however busy the cluster is, and wait from the moment they were due. Seeds are fixed, so
/// two runs ask for the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode bench serve --model gpt2 --concurrency 64 --requests 512
  lode bench serve --model gpt2 --concurrency 64 --requests 512 --conditions 64 --k 50 --out conditioned.json
  lode bench serve --model gpt2 --rate 20 --duration 60 --concept sense/bank --format json")]
pub(crate) struct Args {
    /// The model: its name in the cluster; with --embedded NAME=PATH_OR_HUB_ID.
    #[arg(long, value_name = "NAME")]
    model: ModelArg,
    /// Closed loop: requests under way at any time [default: 8].
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    concurrency: Option<NonZeroU32>,
    /// Open loop: requests a second, at random times.
    #[arg(long, value_name = "R", value_parser = rate)]
    rate: Option<f64>,
    /// Requests in all [default: 128, unless there is a --duration].
    #[arg(long, value_name = "N")]
    requests: Option<NonZeroU32>,
    /// Seconds after which no more requests are sent.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    duration: Option<u64>,
    /// Requests that are sent first and not counted.
    #[arg(long, value_name = "N", default_value_t = 8)]
    warm_up: u32,
    /// File of prompts, one a line, taken in turn [default: a few neutral ones].
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Tokens generated at most, of each continuation.
    #[arg(long, value_name = "N", default_value_t = 32)]
    max_new_tokens: u32,
    /// Continuations of each request.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    num: u32,
    /// Distinct conditions that requests take in turn: concepts of the model by rank and value.
    #[arg(long, value_name = "N", default_value_t = 0)]
    conditions: u32,
    /// A concept that conditions are made of [default: all that were mined in the model]. May be repeated.
    #[arg(long = "concept", value_name = "GROUP/NAME")]
    concepts: Vec<ConceptId>,
    /// Units that each condition forces.
    #[arg(long, value_name = "K", default_value_t = 50)]
    k: u32,
    /// Softmax temperature.
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    temperature: f32,
    /// Seed of the draws, of the tokens' and of the times at which requests come.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
    /// File to write the report to, as JSON.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(rate),
        _ => Err("a rate is a number above 0".to_owned()),
    }
}

pub(crate) async fn run(global: &Global, args: Args) -> anyhow::Result<()> {
    let prompts = match &args.prompts {
        None => work::neutral_prompts(),
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            work::prompts_of(&text).with_context(|| format!("{} is no file of prompts", path.display()))?
        }
    };
    let pace = match (args.rate, args.concurrency) {
        (Some(rate), _) => Pace::Open(rate),
        (None, concurrency) => Pace::Closed(concurrency.map_or(8, NonZeroU32::get)),
    };
    let limit = match (args.requests, args.duration) {
        (None, None) => Limit { requests: 128, time: None },
        (requests, seconds) => {
            Limit { requests: requests.map_or(u32::MAX, NonZeroU32::get), time: seconds.map(Duration::from_secs) }
        }
    };
    let shape = Shape {
        model: args.model.name().clone(),
        samples: args.num,
        max_new_tokens: args.max_new_tokens,
        temperature: args.temperature,
        seed: args.seed,
        k: args.k,
    };
    on_workers(global, &args.model, async |client| {
        let work = Work::prepare(&client, shape, prompts, (&args.concepts, args.conditions)).await?;
        if args.warm_up > 0 {
            let first = Limit { requests: args.warm_up, time: None };
            Load { client: &client, work: &work, pace: Pace::Closed(args.warm_up.min(64)), limit: first }
                .run("warming up")
                .await?;
        }
        let measured = Load { client: &client, work: &work, pace, limit }.run("serving").await?;
        let report = report(&work, pace, &measured);
        if let Some(path) = &args.out {
            std::fs::write(path, report.json()?).with_context(|| format!("cannot write {}", path.display()))?;
            note(format_args!("report written to {}", path.display()));
        }
        print(&report, global.format())
    })
    .await
}
