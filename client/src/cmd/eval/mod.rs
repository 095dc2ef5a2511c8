//! `lode eval`: the paper's experiments, each by one command.

mod baselines;
mod cells;
mod experts;
mod lists;
mod method;
mod outcome;
mod parity;
mod sentences;
mod settings;
mod store;
mod stream;
mod strength;
mod sweep;
mod tcav;
mod writing;

use clap::Subcommand;

pub(crate) use self::experts::{Experts, add_to as add_experts};
pub(crate) use self::outcome::{Outcome, command_line};
use crate::args::Global;

/// Every evaluation.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Sweep(sweep::Args),
    Parity(parity::Args),
    Tcav(tcav::Args),
}

pub(crate) async fn run(global: &Global, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Sweep(args) => sweep::run(global, args).await,
        Command::Parity(args) => parity::run(global, args).await,
        Command::Tcav(args) => tcav::run(global, args).await,
    }
}
