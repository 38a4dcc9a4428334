//! `rohas events`: publish an event by hand, watch events as they pass, hand them to a handler once more.

use std::io::Read as _;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Subcommand};
use rohas_config::settings;
use rohas_telemetry::render;

use crate::cli::desk::Desk;
use crate::cli::table::{counted, local};
use crate::cli::{Common, Outcome, block_on, print_json, when};
use crate::control::PublishOptions;
use crate::control::requests::{Name, Replay, Watch, nanos};
use crate::control::view::{Message, Missed, Seen};
use crate::signals::Signals;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Publish one event
    Publish(Publish),
    /// Show events as they are published, until Ctrl-C
    ///
    /// It slows nobody down: when it is read too slowly it says how many events it left out.
    Tail(TailArguments),
    /// Hand what was published since a time to one handler once more
    ///
    /// Also what the handler has handled before. Needs an adapter that keeps handled events; memory does not.
    Replay(ReplayArguments),
}

#[derive(Debug, Args)]
pub(super) struct Publish {
    /// Name of the event
    event: String,
    /// Payload as JSON; `-` reads it from stdin
    #[arg(default_value = "{}")]
    payload: String,
    /// Key that decides on the order, instead of the field that the schema names
    #[arg(long)]
    key: Option<String>,
    /// Publish it only after this time: `30s`, `10m`, `1h30m`
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "0s", hide_default_value = true)]
    delay: Duration,
    /// Print the event's ids as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TailArguments {
    /// Only those of this name
    event: Option<String>,
    /// Begin with those published then or later: `10m`, `2h`, `1d` ago, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: Option<SystemTime>,
    /// End after so many
    #[arg(short = 'n', long = "limit", value_name = "N")]
    limit: Option<u64>,
    /// Print a line of JSON for each
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    /// Name of the event
    event: String,
    /// The handler that gets it
    #[arg(long, value_name = "HANDLER")]
    handler: String,
    /// Those published then or later: `10m`, `2h`, `1d` ago, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: SystemTime,
    /// Print the count as JSON
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    settings::parse_duration(text).ok_or_else(|| "write a number and a unit: `500ms`, `30s`, `10m`, `1h30m`".to_owned())
}

pub(super) fn run(common: &Common, command: Command) -> Outcome {
    block_on(async {
        let desk = Desk::open(common).await?;
        let outcome = match command {
            Command::Publish(arguments) => publish(&desk, arguments).await,
            Command::Tail(arguments) => tail(&desk, arguments).await,
            Command::Replay(arguments) => replay(&desk, arguments).await,
        };
        desk.close().await?;
        outcome
    })?
}

async fn publish(desk: &Desk, arguments: Publish) -> Outcome {
    let Publish { event, payload, key, delay, json } = arguments;
    let payload = if payload == "-" { from_stdin()? } else { payload };
    let options = PublishOptions { key, delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX) };
    let published = desk.publish(&event, Bytes::from(payload), &options).await?;
    if json {
        return print_json(&published);
    }
    outln!("published {} {}\ntrace {}", published.event, published.id, published.trace_id);
    Ok(())
}

fn from_stdin() -> Result<String, anyhow::Error> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read the payload from stdin")?;
    Ok(text)
}

async fn tail(desk: &Desk, arguments: TailArguments) -> Outcome {
    let TailArguments { event, since, limit, json } = arguments;
    let watch = Watch { event, since: since.map(nanos) };
    let mut seeing = desk.watch(&watch).await?;
    let mut signals = Signals::new()?;
    tracing::debug!("watching");
    let mut left = limit.unwrap_or(u64::MAX);
    while left > 0 {
        let seen = tokio::select! {
            seen = seeing.next() => seen?,
            () = signals.stop() => return Ok(()),
        };
        let Some(seen) = seen else { return Ok(seeing.ended()?) };
        print(&seen, json)?;
        left -= u64::from(matches!(seen, Seen::Message(_)));
    }
    Ok(())
}

fn print(seen: &Seen, json: bool) -> Outcome {
    if json {
        outln!("{}", serde_json::to_string(seen)?);
        return Ok(());
    }
    match seen {
        Seen::Message(message) => outln!("{}", line(message)),
        Seen::Missed(Missed { missed }) => {
            eprintln!("{} left out, since they came too fast", counted(*missed, "event"))
        }
    }
    Ok(())
}

fn line(message: &Message) -> String {
    let key = message.subject.as_deref().map(|key| format!(" key={key}")).unwrap_or_default();
    let text = format!("{} {} {}{key} {}", local(&message.time), message.event, message.id, message.data.get());
    render::line(&text).into_owned()
}

async fn replay(desk: &Desk, arguments: ReplayArguments) -> Outcome {
    let ReplayArguments { event, handler, since, json } = arguments;
    let replayed = desk.ask(Replay { subscription: Name { event, handler }, since: nanos(since) }).await?;
    if json {
        return print_json(&replayed);
    }
    outln!("{} for {}--{}", counted(replayed.messages, "message"), replayed.event, replayed.handler);
    Ok(())
}
