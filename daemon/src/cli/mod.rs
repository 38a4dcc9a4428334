//! What can be asked of `rohas` on the command line? One file per command.
//!
//! Results go to stdout, logs and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the project is invalid.
#![expect(clippy::print_stderr, reason = "commands talk to the person who typed them")]

/// Prints a line of a command's result; [`put`] says what happens when nobody reads it.
macro_rules! outln {
    () => { $crate::cli::put(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::put(format_args!("{}\n", format_args!($($text)*))) };
}

/// Prints a part of a command's result.
macro_rules! out {
    ($($text:tt)*) => { $crate::cli::put(format_args!($($text)*)) };
}

mod codegen;
mod completions;
mod config;
mod cron;
mod daemon;
mod desk;
mod dlq;
mod doctor;
mod events;
mod fmt;
mod init;
mod list;
mod subscriptions;
mod table;
mod traces;
mod validate;
mod version;

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{Args, Parser, Subcommand, ValueEnum};
use rohas_config::settings::Overrides;
use tracing_subscriber::EnvFilter;

use crate::project::Project;
use crate::{environment, output};

/// Runs event-driven projects: HTTP requests and events go to typed handlers, every hop is recorded.
#[derive(Debug, Parser)]
#[command(name = "rohas", version, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Common {
    /// The project's directory
    #[arg(long, global = true, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    /// How log records on stderr look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// One line for people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new project
    Init(init::Arguments),
    /// Run a project and follow edits of its files
    Dev(daemon::Dev),
    /// Run a project in production: strict, without watcher and code generation
    Run(daemon::Run),
    /// Check the schema
    Validate(validate::Arguments),
    /// Generate code from the schema
    Codegen(codegen::Arguments),
    /// Print schema files the one canonical way
    Fmt(fmt::Arguments),
    /// List APIs, events, cron jobs and WebSockets with their handlers
    ListHandlers(list::Arguments),
    /// List events with payloads and handlers
    ListEvents(list::Arguments),
    /// Publish events, watch them pass, hand them out once more
    #[command(subcommand)]
    Events(events::Command),
    /// Look at dead letters: messages that a handler has given up
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Look at how far each handler is with its events, pause and resume it
    #[command(subcommand)]
    Subscriptions(subscriptions::Command),
    /// Look at cron jobs, run one now
    #[command(subcommand)]
    Cron(cron::Command),
    /// Look at what was recorded
    #[command(subcommand)]
    Traces(traces::Command),
    /// Look at the settings
    #[command(subcommand)]
    Config(config::Command),
    /// Check everything a project needs to run
    Doctor(doctor::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
    /// Print the version
    Version,
}

/// How a command ended, besides well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not be done.
    Failed(anyhow::Error),
    /// The project is invalid; this is the text that says so.
    Invalid(String),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

type Outcome = Result<(), Failure>;

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging(&cli);
    let (code, complaint) = match run(cli) {
        Ok(()) => (ExitCode::SUCCESS, String::new()),
        Err(Failure::Failed(error)) => (ExitCode::from(1), format!("error: {error:#}\n")),
        Err(Failure::Invalid(text)) => (ExitCode::from(3), text),
    };
    // A reader that has not taken the log records in time does not read; it must not keep the process from ending.
    if output::flush() {
        eprint!("{complaint}");
    }
    code
}

fn run(cli: Cli) -> Outcome {
    let common = &cli.common;
    match cli.command {
        Command::Init(arguments) => init::run(&arguments),
        Command::Dev(arguments) => daemon::dev(common, &arguments),
        Command::Run(arguments) => daemon::run(common, &arguments),
        Command::Validate(arguments) => validate::run(common, &arguments),
        Command::Codegen(arguments) => codegen::run(common, &arguments),
        Command::Fmt(arguments) => fmt::run(common, &arguments),
        Command::ListHandlers(arguments) => list::handlers(common, &arguments),
        Command::ListEvents(arguments) => list::events(common, &arguments),
        Command::Events(command) => events::run(common, command),
        Command::Dlq(command) => dlq::run(common, command),
        Command::Subscriptions(command) => subscriptions::run(common, command),
        Command::Cron(command) => cron::run(common, command),
        Command::Traces(command) => traces::run(common, command),
        Command::Config(command) => config::run(common, &command),
        Command::Doctor(arguments) => doctor::run(common, &arguments),
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Version => version::run(),
    }
}

fn start_logging(cli: &Cli) {
    let asked = environment::log_filter();
    let filter = asked.unwrap_or_else(|| "info".to_owned());
    let (filter, complaint) = match EnvFilter::try_new(&filter) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(output::stderr).log_internal_errors(false);
    match cli.common.log_format {
        LogFormat::Text => builder.with_ansi(environment::color(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    if let Some(error) = complaint {
        tracing::warn!(%error, "RUST_LOG cannot be read; records from info upwards are shown");
    }
}

impl Common {
    /// The project's directory as an absolute path.
    fn root(&self) -> Result<PathBuf, Failure> {
        let path = environment::absolute(&self.project)?;
        path.canonicalize().map_err(|error| {
            Failure::Failed(
                anyhow::Error::new(error).context(format!("cannot open the project directory {}", path.display())),
            )
        })
    }

    fn project(&self, schema: Option<&Path>, overrides: Overrides) -> Result<Project, Failure> {
        let root = self.root()?;
        let schema = match schema {
            Some(schema) => environment::absolute(schema)?,
            None => root.join("schema"),
        };
        Ok(Project { root, schema, overrides })
    }
}

/// A runtime for commands that talk to a daemon or are one.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T, std::io::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(future);
    // What still reads or writes files is not needed any more, and a disk that hangs would keep the process from ending.
    runtime.shutdown_background();
    Ok(outcome)
}

/// Writes a result to stdout. A reader that has seen enough, as `head` has, ends the command without a complaint.
#[expect(clippy::exit, reason = "a command that nobody reads has nothing left to do")]
fn put(text: std::fmt::Arguments<'_>) {
    let Err(error) = std::io::stdout().lock().write_fmt(text) else { return };
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        std::process::exit(0);
    }
    eprintln!("error: cannot write to stdout: {error}");
    std::process::exit(1);
}

/// Asks whether to do what cannot be undone. Where nobody can answer, having given the command is the answer.
fn confirm(question: &str) -> Outcome {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return Ok(());
    }
    write!(stderr, "{question} [y/N] ")?;
    let mut answer = String::new();
    stdin.read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(anyhow::anyhow!("nothing was done").into()),
    }
}

/// A point in time, given as such or as how long ago it was.
fn when(text: &str) -> Result<SystemTime, String> {
    let time = match humantime::parse_duration(text) {
        Ok(ago) => SystemTime::now().checked_sub(ago),
        Err(_no_duration) => humantime::parse_rfc3339_weak(text).ok(),
    };
    time.ok_or_else(|| "write how long ago, as 10m or 2h, or a time in UTC".to_owned())
}

/// Prints a value for programs.
fn print_json(value: &impl serde::Serialize) -> Outcome {
    outln!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests read files and ask whether to write them")]
mod tests {
    use std::fs;
    use std::path::Path;

    use clap::CommandFactory as _;

    use super::*;

    /// The reference page: the help of each command, as it is printed.
    fn reference() -> String {
        let mut page = "# Command line\n\nWhat each command says of itself with `--help`. Results go to stdout, logs and errors to stderr.\n\n\
            | exit code | |\n|---|---|\n| 0 | done |\n| 1 | it failed |\n| 2 | the command line is wrong |\n| 3 | the project is invalid |\n"
            .to_owned();
        let mut root = Cli::command().disable_help_subcommand(true).version("");
        root.build();
        describe(&mut page, &root, "");
        page
    }

    fn describe(page: &mut String, command: &clap::Command, parents: &str) {
        let name = format!("{parents}{}", command.get_name());
        let help = command.clone().term_width(100).render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        *page += &format!("\n## {name}\n\n```text\n{}\n```\n", lines.join("\n").trim_end());
        for child in command.get_subcommands().filter(|child| child.get_name() != "help") {
            describe(page, child, &format!("{name} "));
        }
    }

    #[test]
    fn the_reference_page_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/cli.md");
        let current = reference();
        if std::env::var_os("ROHAS_BLESS").is_some() {
            fs::write(&path, &current).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap_or_default();
        assert!(written == current, "docs/reference/cli.md is stale; ROHAS_BLESS=1 writes it");
    }

    #[test]
    fn the_commands_are_declared_soundly() {
        Cli::command().debug_assert();
    }
}
