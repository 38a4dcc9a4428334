//! `rohas traces`: what happened, newest first, and one trace as a tree.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use rohas_config::settings::Settings;
use rohas_telemetry::{Kind, Listing, Status, Store, Timestamp, Tree, render};

use crate::cli::{Common, Failure, Outcome, block_on, print_json, when};
use crate::control::{Client, TraceQuery};
use crate::environment;
use crate::project::Unsound;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The newest entries: one line per request and delivery
    List(List),
    /// One trace with everything that it caused
    Show {
        /// The trace's id, or its first characters (at least 4)
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// At most so many
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// Only those that ended so; several with commas
    #[arg(long, value_delimiter = ',', value_parser = statuses())]
    status: Vec<Status>,
    /// Only those of this kind; several with commas
    #[arg(long, value_delimiter = ',', value_parser = kinds())]
    kind: Vec<Kind>,
    /// Only those of the api, event or handler of exactly this name
    #[arg(long)]
    name: Option<String>,
    /// Only those that began then or later: `10m`, `2h`, `1d` ago, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: Option<SystemTime>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl List {
    fn query(&self) -> TraceQuery {
        TraceQuery {
            limit: self.limit,
            statuses: self.status.clone(),
            kinds: self.kind.clone(),
            name: self.name.clone(),
            since: self.since.map(|since| Timestamp::from(since).as_nanos()),
        }
    }
}

fn statuses() -> impl TypedValueParser<Value = Status> {
    let names = Status::ALL.iter().map(|status| status.as_str());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Status>())
}

fn kinds() -> impl TypedValueParser<Value = Kind> {
    let names = Kind::ALL.iter().filter(|kind| kind.is_entry()).map(|kind| kind.as_str());
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Kind>())
}

pub(super) fn run(common: &Common, command: Command) -> Outcome {
    match command {
        Command::List(arguments) => {
            let listing = list(common, arguments.query())?;
            if arguments.json {
                return print_json(&listing);
            }
            out!("{}", render::list(&listing, &style()));
        }
        Command::Show { id, json } => {
            let tree = show(common, &id)?;
            if json {
                return print_json(&tree);
            }
            out!("{}", render::tree(&tree, &style()));
        }
    }
    Ok(())
}

fn style() -> render::Style {
    render::Style::local(environment::color(&std::io::stdout()))
}

/// The newest entries of a query, asked of the daemon, or read while none runs.
pub(super) fn list(common: &Common, query: TraceQuery) -> Result<Listing, Failure> {
    let root = common.root()?;
    let asked = block_on(async {
        match Client::connect(&root).await? {
            Some(mut client) => client.traces(&query).await.map(Some),
            None => Ok(None),
        }
    })??;
    match asked {
        Some(listing) => Ok(listing),
        None => Ok(store(common)?.list(&query.into())?),
    }
}

fn show(common: &Common, id: &str) -> Result<Tree, Failure> {
    let root = common.root()?;
    let asked = block_on(async {
        match Client::connect(&root).await? {
            Some(mut client) => client.trace(id).await.map(Some),
            None => Ok(None),
        }
    })??;
    if let Some(tree) = asked {
        return Ok(tree);
    }
    let store = store(common)?;
    Ok(store.trace(store.find(id)?)?)
}

/// Whether anything was ever recorded.
pub(super) fn any(common: &Common) -> Result<bool, Failure> {
    Ok(directory(common)?.is_dir())
}

/// Without a daemon the store itself is read.
fn store(common: &Common) -> Result<Store, Failure> {
    Ok(Store::open_read_only(directory(common)?)?)
}

fn directory(common: &Common) -> Result<PathBuf, Failure> {
    let root = common.root()?;
    let loaded = Settings::load(&root, &environment::overrides())
        .map_err(|error| Failure::Invalid(Unsound::Settings(error).render(environment::color(&std::io::stderr()))))?;
    Ok(loaded.settings.telemetry.directory(&root))
}
