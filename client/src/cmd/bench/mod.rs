//! `lode bench`: how fast things are on this machine.

mod memory;
mod mine;
mod sentences;
mod serve;
mod shape;

use clap::Subcommand;

use crate::args::Global;

/// Measurements.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Mine(mine::Args),
    Serve(serve::Args),
}

pub(crate) async fn run(global: &Global, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Mine(args) => mine::run(global, args).await,
        Command::Serve(args) => serve::run(global, args).await,
    }
}
