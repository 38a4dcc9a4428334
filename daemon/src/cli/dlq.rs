//! `rohas dlq`: look at dead letters, hand them out again, delete them.

use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use rohas_telemetry::render;
use serde::Serialize;
use tokio::time::{Interval, MissedTickBehavior};
use uuid::Uuid;

use crate::cli::desk::{Desk, all_available};
use crate::cli::table::{counted, local, short, table};
use crate::cli::{Common, Failure, Outcome, block_on, confirm, print_json};
use crate::control::requests::{Find, Identify, Ids, List, Purge, Redrive, Request, Selection};
use crate::control::view::{DeadLetter, DeadLetters, Failure as Attempt, Unavailable};
use crate::signals::Signals;

/// So many ids are asked for or acted on at once.
const BATCH: usize = 100;

/// Batches a second when a rate is kept, so that no burst is longer than a tenth of a second.
const BATCHES_PER_SECOND: f64 = 10.0;

/// Columns of a list that an error may take.
const ERROR_WIDTH: usize = 60;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The newest dead letters: one line per message that a handler has given up
    List(ListArguments),
    /// One dead letter with its event, its failures and their tracebacks
    Show {
        /// Its id, or the first characters of it (at least 4)
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Hand dead letters to their handlers once more, oldest first, each to its own handler only
    ///
    /// Their attempts begin anew. Each one moves in one step: a command that is stopped half-way has lost and doubled none, and can be given again.
    Redrive(RedriveArguments),
    /// Delete dead letters for good
    ///
    /// Asks before it does so on a terminal.
    Purge(PurgeArguments),
}

#[derive(Debug, Args)]
pub(super) struct ListArguments {
    /// Only those of this event
    #[arg(long, value_name = "EVENT")]
    event: Option<String>,
    /// Only those of this handler
    #[arg(long, value_name = "HANDLER")]
    handler: Option<String>,
    /// At most so many
    #[arg(short = 'n', long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct RedriveArguments {
    #[command(flatten)]
    which: Which,
    /// At most so many in a time: `50/s`, `100/m`
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<f64>,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct PurgeArguments {
    #[command(flatten)]
    which: Which,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
}

/// Which dead letters are meant; at least one of these must be said.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Which {
    /// Ids, or the first characters of them (at least 4)
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Those of this event
    #[arg(long, value_name = "EVENT", conflicts_with = "ids")]
    event: Option<String>,
    /// Those of this handler
    #[arg(long, value_name = "HANDLER", conflicts_with = "ids")]
    handler: Option<String>,
    /// All of them
    #[arg(long, conflicts_with_all = ["ids", "event", "handler"])]
    all: bool,
}

/// What became of a selection.
#[derive(Debug, Serialize)]
struct Counts {
    /// Those that were meant when the command began.
    selected: usize,
    /// Those that were handed out again or deleted.
    done: usize,
    /// Those that were gone, or whose subscription was.
    left_out: usize,
    /// Adapters whose dead letters could not be reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unavailable: Vec<Unavailable>,
}

pub(super) fn run(common: &Common, command: Command) -> Outcome {
    block_on(async {
        let desk = Desk::open(common).await?;
        let outcome = match command {
            Command::List(arguments) => list(&desk, arguments).await,
            Command::Show { id, json } => show(&desk, id, json).await,
            Command::Redrive(arguments) => redrive(&desk, arguments).await,
            Command::Purge(arguments) => purge(&desk, arguments).await,
        };
        desk.close().await?;
        outcome
    })?
}

async fn list(desk: &Desk, arguments: ListArguments) -> Outcome {
    let ListArguments { event, handler, limit, json } = arguments;
    let page = newest(desk, Selection { event, handler, limit, before: None }).await?;
    if json {
        return print_json(&page);
    }
    let DeadLetters { dead_letters, unavailable } = page;
    if dead_letters.is_empty() {
        outln!("no dead letters found");
    } else {
        let rows: Vec<[String; 6]> = dead_letters.iter().map(row).collect();
        out!("{}", table(["GIVEN UP", "EVENT", "HANDLER", "ATTEMPTS", "ID", "LAST ERROR"], &rows));
    }
    unavailable.iter().for_each(|unavailable| outln!("{}", render::line(&unavailable.to_string())));
    Ok(())
}

/// The dead letters of a selection, asked for in as many parts as they come in.
async fn newest(desk: &Desk, mut selection: Selection) -> Result<DeadLetters, Failure> {
    let most = selection.limit;
    let mut found = Vec::new();
    loop {
        selection.limit = most - found.len();
        let DeadLetters { dead_letters, unavailable } = desk.ask(List(selection.clone())).await?;
        selection.before = dead_letters.last().map(|last| last.id);
        found.extend(dead_letters);
        if selection.before.is_none() || found.len() >= most {
            return Ok(DeadLetters { dead_letters: found, unavailable });
        }
    }
}

fn row(letter: &DeadLetter) -> [String; 6] {
    [
        local(&letter.died_at),
        letter.event.clone(),
        letter.handler.clone(),
        letter.attempts.to_string(),
        letter.id.to_string(),
        short(&format!("{}: {}", letter.last.code, letter.last.message), ERROR_WIDTH),
    ]
}

async fn show(desk: &Desk, id: String, json: bool) -> Outcome {
    let letter = desk.ask(Find(id)).await?;
    if json {
        return print_json(&letter);
    }
    let message = &letter.message;
    let mut lines = vec![
        ("dead letter", letter.id.to_string()),
        ("event", format!("{} {}", letter.event, message.id)),
        ("handler", letter.handler.clone()),
        ("published", format!("{} by {}", local(&message.time), message.source)),
        ("given up", format!("{} after {}", local(&letter.died_at), counted(letter.attempts.into(), "attempt"))),
    ];
    if let Some(key) = &message.subject {
        lines.push(("key", key.clone()));
    }
    if letter.deaths > 0 {
        lines.push(("killed", counted(letter.deaths.into(), "worker")));
    }
    if let Some(trace) = message.trace_id() {
        lines.push(("trace", trace));
    }
    for (name, value) in lines {
        outln!("{name:<12} {}", render::line(&value));
    }
    if letter.first != letter.last {
        attempt("first error", &letter.first);
    }
    attempt("last error", &letter.last);
    let payload: serde_json::Value = serde_json::from_str(message.data.get())?;
    outln!("\npayload");
    render::lines(&serde_json::to_string_pretty(&payload)?).for_each(|line| outln!("  {line}"));
    Ok(())
}

fn attempt(name: &str, failure: &Attempt) {
    outln!("\n{name:<12} {} {}", local(&failure.at), render::line(&failure.code));
    let details = [Some(failure.message.as_str()), failure.traceback.as_deref()];
    details.into_iter().flatten().flat_map(render::lines).for_each(|line| outln!("  {line}"));
}

async fn redrive(desk: &Desk, arguments: RedriveArguments) -> Outcome {
    let selected = select(desk, arguments.which).await?;
    let counts = each(desk, selected, Pace::new(arguments.rate), Redrive).await?;
    report(&counts, "handed out again", arguments.json)
}

async fn purge(desk: &Desk, arguments: PurgeArguments) -> Outcome {
    let selected = select(desk, arguments.which).await?;
    if !selected.ids.is_empty() && !arguments.yes {
        let count = counted(u64::try_from(selected.ids.len()).unwrap_or(u64::MAX), "dead letter");
        confirm(&format!("Delete {count} for good?"))?;
    }
    let counts = each(desk, selected, Pace::new(None), Purge).await?;
    report(&counts, "deleted", arguments.json)
}

/// The ids that are meant, oldest first. Whatever dies after this is left alone, so that a command ends even when all fails again at once.
async fn select(desk: &Desk, which: Which) -> Result<Ids, Failure> {
    let mut ids = Vec::new();
    if !which.ids.is_empty() {
        for prefix in which.ids {
            let id = desk.ask(Find(prefix)).await?.id;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids.sort_unstable();
        return Ok(Ids { ids, unavailable: Vec::new() });
    }
    loop {
        let (event, handler, before) = (which.event.clone(), which.handler.clone(), ids.last().copied());
        let page = desk.ask(Identify(Selection { event, handler, before, limit: BATCH })).await?;
        let is_last = page.ids.len() < BATCH;
        ids.extend(page.ids);
        if is_last {
            ids.reverse();
            return Ok(Ids { ids, unavailable: page.unavailable });
        }
    }
}

/// Sends the ids away in batches until all are done or somebody presses Ctrl-C.
async fn each<R>(desk: &Desk, selected: Ids, mut pace: Pace, request: fn(Vec<Uuid>) -> R) -> Result<Counts, Failure>
where
    R: Request<Answer = Ids>,
{
    let Ids { ids, mut unavailable } = selected;
    let selected = ids.len();
    // Shows itself on a terminal only.
    let progress = ProgressBar::new(u64::try_from(selected).unwrap_or(u64::MAX));
    let mut signals = Signals::new()?;
    let mut done = 0;
    for (tried, batch) in (0..).step_by(pace.batch).zip(ids.chunks(pace.batch)) {
        let so_far =
            || format!("after {tried} of {selected}, of which {done} were; give the command again for the rest");
        let step = async {
            pace.next().await;
            desk.ask(request(batch.to_vec())).await
        };
        let moved: Ids = tokio::select! {
            () = signals.stop() => return Err(anyhow!("stopped {}", so_far()).into()),
            moved = step => moved.map_err(|error| error.context(format!("failed {}", so_far())))?,
        };
        done += moved.ids.len();
        for missing in moved.unavailable {
            if !unavailable.iter().any(|known| known.adapter == missing.adapter) {
                unavailable.push(missing);
            }
        }
        progress.inc(u64::try_from(batch.len()).unwrap_or(u64::MAX));
    }
    progress.finish_and_clear();
    Ok(Counts { selected, done, left_out: selected - done, unavailable })
}

fn report(counts: &Counts, done: &str, json: bool) -> Outcome {
    if json {
        print_json(counts)?;
    } else {
        outln!(
            "{} of {} {done}",
            counts.done,
            counted(u64::try_from(counts.selected).unwrap_or(u64::MAX), "dead letter")
        );
    }
    all_available(&counts.unavailable)?;
    if counts.left_out > 0 {
        let left_out = counts.left_out;
        return Err(anyhow!(
            "{left_out} left out: they were gone meanwhile, or their subscription is; see `rohas subscriptions list`"
        )
        .into());
    }
    Ok(())
}

/// How fast ids are sent away.
struct Pace {
    batch: usize,
    interval: Option<Interval>,
}

impl Pace {
    fn new(rate: Option<f64>) -> Self {
        let Some(rate) = rate else { return Self { batch: BATCH, interval: None } };
        let batch = (rate / BATCHES_PER_SECOND).floor().clamp(1.0, BATCH as f64);
        let mut interval = tokio::time::interval(Duration::from_secs_f64(batch / rate));
        // A slow batch must not be followed by a burst.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { batch: batch as usize, interval: Some(interval) }
    }

    async fn next(&mut self) {
        if let Some(interval) = &mut self.interval {
            interval.tick().await;
        }
    }
}

/// Messages per second.
fn rate(text: &str) -> Result<f64, String> {
    let read = || {
        let (count, unit) = text.split_once('/')?;
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        count.parse::<u32>().ok().filter(|&count| count > 0).map(|count| f64::from(count) / seconds)
    };
    read().ok_or_else(|| "write how many in a second, minute or hour: `50/s`, `100/m`, `5/h`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_count_and_a_unit() {
        for (text, per_second) in [("50/s", 50.0), ("120/m", 2.0), ("3600/h", 1.0)] {
            assert_eq!(rate(text), Ok(per_second), "{text}");
        }
        for text in ["", "50", "0/s", "-1/s", "1/d", "many/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_keeps_its_rate() {
        for (rate, count) in [(5.0, 10_usize), (250.0, 1000), (100_000.0, 200_000)] {
            let mut pace = Pace::new(Some(rate));
            let began = tokio::time::Instant::now();
            for _ in 0..count.div_ceil(pace.batch) {
                pace.next().await;
            }
            let took = began.elapsed().as_secs_f64();
            let least = (count - pace.batch) as f64 / rate;
            assert!(took >= least * 0.95 && took <= least * 1.1 + 0.01, "{count} at {rate}/s took {took} s");
        }
    }
}
