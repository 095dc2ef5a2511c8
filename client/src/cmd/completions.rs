//! `lode completions`: scripts for shells.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::output::write;

/// Write a completion script for a shell to stdout
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  lode completions bash > ~/.local/share/bash-completion/completions/lode
  lode completions fish > ~/.config/fish/completions/lode.fish
  lode completions zsh  > \"${fpath[1]}/_lode\"")]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::args::Args::command(), "lode", &mut script);
    write(&String::from_utf8(script)?)
}
