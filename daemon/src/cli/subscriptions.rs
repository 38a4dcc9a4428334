//! `rohas subscriptions`: how far is each handler with its events, and is it to go on?

use anyhow::anyhow;
use clap::{Args, Subcommand};
use rohas_telemetry::render;

use crate::cli::desk::{Desk, all_available};
use crate::cli::table::{counted, table};
use crate::cli::{Common, Outcome, block_on, confirm, print_json};
use crate::control::requests::{Name, Pause, Prune, Subscriptions};
use crate::control::view::{Backlog, Overview, Subscription};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Every pair of event and handler with what waits for it and how old the oldest of it is
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Hand nothing out to a handler until it is resumed; what is published waits for it
    Pause(Which),
    /// Hand out again what waits
    Resume(Which),
    /// Remove subscriptions that the schema no longer declares, with the messages that wait in them; their dead letters stay
    ///
    /// Asks before it does so on a terminal.
    Prune(PruneArguments),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Name of the event
    event: String,
    /// Only this handler of it
    #[arg(long, value_name = "HANDLER")]
    handler: Option<String>,
    /// Print the names of the subscriptions as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct PruneArguments {
    /// Only those of this event
    #[arg(required_unless_present = "all")]
    event: Option<String>,
    /// Only this handler of it
    #[arg(long, value_name = "HANDLER", requires = "event")]
    handler: Option<String>,
    /// All that the schema no longer declares
    #[arg(long, conflicts_with = "event")]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Print what was removed as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, command: Command) -> Outcome {
    block_on(async {
        let desk = Desk::open(common).await?;
        let outcome = match command {
            Command::List { json } => list(&desk, json).await,
            Command::Pause(which) => set_paused(&desk, which, true).await,
            Command::Resume(which) => set_paused(&desk, which, false).await,
            Command::Prune(arguments) => prune(&desk, arguments).await,
        };
        desk.close().await?;
        outcome
    })?
}

async fn list(desk: &Desk, json: bool) -> Outcome {
    let overview = desk.ask(Subscriptions {}).await?;
    if json {
        return print_json(&overview);
    }
    let Overview { subscriptions, outbox, unavailable } = overview;
    if subscriptions.is_empty() && unavailable.is_empty() {
        outln!("no subscriptions yet; `rohas dev` or `rohas run` makes those that the schema declares");
    } else if !subscriptions.is_empty() {
        let rows: Vec<[String; 8]> = subscriptions.iter().map(row).collect();
        let heading = ["EVENT", "HANDLER", "STATE", "WAITING", "DELAYED", "IN FLIGHT", "DEAD", "LAG"];
        out!("{}", table(heading, &rows));
    }
    unavailable.iter().for_each(|unavailable| outln!("{}", render::line(&unavailable.to_string())));
    for backlog in &outbox {
        let Backlog { adapter, length, configured, .. } = backlog;
        let why = if *configured {
            "which is not available"
        } else {
            "which the settings do not name: put it back and they are relayed"
        };
        outln!("outbox: {length} for [{adapter}], {why}; the oldest waits for {}", render::human(backlog.age()));
    }
    Ok(())
}

fn row(subscription: &Subscription) -> [String; 8] {
    let lag = if subscription.oldest.is_some() { render::human(subscription.lag()) } else { "-".to_owned() };
    [
        subscription.event.clone(),
        subscription.handler.clone(),
        state(subscription).to_owned(),
        subscription.waiting.to_string(),
        subscription.delayed.to_string(),
        subscription.in_flight.to_string(),
        subscription.dead_letters.to_string(),
        lag,
    ]
}

fn state(subscription: &Subscription) -> &'static str {
    match (subscription.declared, subscription.paused) {
        (true, false) => "active",
        (true, true) => "paused",
        (false, _) => "not declared",
    }
}

async fn set_paused(desk: &Desk, which: Which, paused: bool) -> Outcome {
    let Which { event, handler, json } = which;
    let changed = desk.ask(Pause { event, handler, paused }).await?;
    if json {
        return print_json(&changed);
    }
    let done = if paused { "paused" } else { "resumed" };
    changed.iter().for_each(|name| outln!("{done} {name}"));
    Ok(())
}

async fn prune(desk: &Desk, arguments: PruneArguments) -> Outcome {
    let Overview { subscriptions: all, unavailable, .. } = desk.ask(Subscriptions {}).await?;
    let is_meant = |subscription: &&Subscription| {
        arguments.event.as_ref().is_none_or(|event| *event == subscription.event)
            && arguments.handler.as_ref().is_none_or(|handler| *handler == subscription.handler)
    };
    let meant: Vec<&Subscription> = all.iter().filter(is_meant).collect();
    let left: Vec<&Subscription> = meant.iter().copied().filter(|subscription| !subscription.declared).collect();
    if left.is_empty() && !arguments.all {
        all_available(&unavailable)?;
        return Err(nothing_to_prune(&meant, &all).into());
    }
    if !left.is_empty() && !arguments.yes {
        let names: Vec<String> = left.iter().map(|subscription| name(subscription).to_string()).collect();
        let messages: u64 = left.iter().map(|subscription| subscription.unfinished()).sum();
        confirm(&format!("Remove {} with {}?", names.join(", "), counted(messages, "unfinished message")))?;
    }
    let mut pruned = Vec::new();
    for subscription in left {
        pruned.push(desk.ask(Prune(name(subscription))).await?);
    }
    if arguments.json {
        print_json(&pruned)?;
        return all_available(&unavailable);
    }
    for gone in &pruned {
        outln!("removed {}--{} with {}", gone.event, gone.handler, counted(gone.messages, "unfinished message"));
    }
    if pruned.is_empty() {
        outln!("the schema declares every subscription; nothing to remove");
    }
    all_available(&unavailable)
}

fn nothing_to_prune(meant: &[&Subscription], all: &[Subscription]) -> anyhow::Error {
    let names = |subscriptions: &mut dyn Iterator<Item = &Subscription>| {
        let names: Vec<String> = subscriptions.map(|subscription| name(subscription).to_string()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    if meant.is_empty() {
        let undeclared = names(&mut all.iter().filter(|subscription| !subscription.declared));
        return anyhow!("there is no such subscription; those that the schema no longer declares: {undeclared}");
    }
    anyhow!(
        "the schema declares {}; only a subscription that it no longer declares can be removed",
        names(&mut meant.iter().copied())
    )
}

fn name(subscription: &Subscription) -> Name {
    Name { event: subscription.event.clone(), handler: subscription.handler.clone() }
}
