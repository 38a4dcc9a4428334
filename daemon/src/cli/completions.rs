//! `rohas completions`: a script that completes commands and flags in a shell.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::cli::{Cli, Outcome};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "rohas", &mut script);
    out!("{}", String::from_utf8_lossy(&script));
    Ok(())
}
