//! One file a command: its flags, what it asks, how it answers.

pub(crate) mod agreement;
pub(crate) mod bench;
pub(crate) mod cancel;
pub(crate) mod chat;
pub(crate) mod completions;
pub(crate) mod concepts;
pub(crate) mod demo;
pub(crate) mod eval;
pub(crate) mod export;
mod findings;
mod follow;
pub(crate) mod generate;
pub(crate) mod jobs;
pub(crate) mod lint;
pub(crate) mod mine;
pub(crate) mod nearest;
pub(crate) mod overlap;
pub(crate) mod report;
mod samples;
pub(crate) mod score;
mod session;
pub(crate) mod status;
pub(crate) mod units;
pub(crate) mod up;
pub(crate) mod watch;

use crate::args::{Args, Command};

/// Runs what was typed.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let global = args.global;
    match args.command {
        Command::Demo(args) => demo::run(&global, args).await,
        Command::Up(args) => up::run(&global, args).await,
        Command::Lint(args) => lint::run(&global, args).await,
        Command::Mine(args) => mine::run(&global, args).await,
        Command::Jobs(args) => jobs::run(&global, args).await,
        Command::Watch(args) => watch::run(&global, args).await,
        Command::Cancel(args) => cancel::run(&global, args).await,
        Command::Status(args) => status::run(&global, args).await,
        Command::Concepts(args) => concepts::run(&global, args).await,
        Command::Units(command) => units::run(&global, command).await,
        Command::Overlap(args) => overlap::run(&global, args).await,
        Command::Nearest(args) => nearest::run(&global, args).await,
        Command::Export(args) => export::run(&global, args).await,
        Command::Generate(args) => generate::run(&global, args).await,
        Command::Chat(args) => chat::run(&global, args).await,
        Command::Score(args) => score::run(&global, args).await,
        Command::Eval(command) => eval::run(&global, command).await,
        Command::Report(args) => report::run(&global, args).await,
        Command::Bench(command) => bench::run(&global, command).await,
        Command::Completions(args) => completions::run(&args),
    }
}
