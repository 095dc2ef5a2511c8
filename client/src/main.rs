//! `lode`: the command line.

mod args;
mod cmd;
mod export;
mod output;
mod progress;

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use self::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    // A server tells what it does; a command only what goes wrong.
    let default_level = if matches!(args.command, Command::Up(_)) { "info" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| default_level.into());
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(progress::LogWriter).init();

    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failure(&anyhow::anyhow!("cannot start: {error}")),
    };
    match runtime.block_on(cmd::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failure(&error),
    }
}

fn failure(error: &anyhow::Error) -> ExitCode {
    output::note(format_args!("error: {error:#}"));
    ExitCode::FAILURE
}
