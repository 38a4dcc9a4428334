//! `rohas traces`: what happened, newest first, and one trace as a tree.

use clap::Subcommand;
use rohas_config::settings::Settings;
use rohas_telemetry::{Filter, Listing, Store, Tree, render};

use crate::cli::{Common, Failure, Outcome, block_on, print_json};
use crate::control::Client;
use crate::environment;
use crate::project::Unsound;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The newest entries: one line per request and delivery
    List {
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One trace with everything that it caused
    Show {
        /// The trace's id, or its first characters (at least 4)
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(common: &Common, command: Command) -> Outcome {
    match command {
        Command::List { limit, json } => {
            let listing = list(common, limit)?;
            if json {
                return print_json(&listing);
            }
            print!("{}", render::list(&listing, &style()));
        }
        Command::Show { id, json } => {
            let tree = show(common, &id)?;
            if json {
                return print_json(&tree);
            }
            print!("{}", render::tree(&tree, &style()));
        }
    }
    Ok(())
}

fn style() -> render::Style {
    render::Style::local(environment::color(&std::io::stdout()))
}

fn list(common: &Common, limit: usize) -> Result<Listing, Failure> {
    let root = common.root()?;
    let asked = block_on(async {
        match Client::connect(&root).await? {
            Some(mut client) => client.traces(limit).await.map(Some),
            None => Ok(None),
        }
    })??;
    match asked {
        Some(listing) => Ok(listing),
        None => Ok(store(common)?.list(&Filter { limit, ..Filter::default() })?),
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

/// Without a daemon the store itself is read.
fn store(common: &Common) -> Result<Store, Failure> {
    let root = common.root()?;
    let loaded = Settings::load(&root, &environment::overrides())
        .map_err(|error| Failure::Invalid(Unsound::Settings(error).render(environment::color(&std::io::stderr()))))?;
    Ok(Store::open_read_only(loaded.settings.telemetry.directory(&root))?)
}
