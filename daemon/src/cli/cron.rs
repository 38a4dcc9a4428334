//! `rohas cron`: when is each job due, how did it last go, and to run one now.

use anyhow::anyhow;
use clap::Subcommand;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rohas_config::schema::Schema;
use rohas_config::schema::model::Cron;
use rohas_config::schema::timing::Timing;
use rohas_telemetry::{Entry, Kind, render};
use serde::Serialize;

use crate::cli::table::table;
use crate::cli::{Common, Failure, Outcome, block_on, list, print_json, traces};
use crate::control::{Client, TraceQuery};
use crate::trigger::cron::Ledger;

/// How many of the next runs are shown.
const NEXT_RUNS: usize = 3;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Every job with its schedule, its last run and when it is due next
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a job now, whenever it is due; it stands in line behind a run of it that goes on
    Run {
        /// Name of the job
        name: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// A job as it is shown.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    schedule: &'a str,
    timezone: &'a str,
    /// What is recorded of the last run; `None` when nothing is.
    last: Option<Entry>,
    /// The next slots, earliest first, without jitter.
    next: Vec<Timestamp>,
}

pub(super) fn run(common: &Common, command: Command) -> Outcome {
    match command {
        Command::List { json } => show(common, json),
        Command::Run { name, json } => run_now(common, &name, json),
    }
}

fn show(common: &Common, json: bool) -> Outcome {
    let schema: Schema = list::declared(common)?;
    let ledger = Ledger::open(&common.root()?)?;
    let shown = schema.crons.values().map(|cron| shown(common, cron, &ledger));
    let shown: Vec<Shown<'_>> = shown.collect::<Result<_, Failure>>()?;
    if json {
        return print_json(&shown);
    }
    if shown.is_empty() {
        outln!("the schema declares no cron jobs");
        return Ok(());
    }
    let rows: Vec<[String; 5]> = shown.iter().map(row).collect();
    out!("{}", table(["JOB", "SCHEDULE", "ZONE", "LAST RUN", "NEXT RUNS"], &rows));
    Ok(())
}

fn shown<'a>(common: &Common, cron: &'a Cron, ledger: &Ledger) -> Result<Shown<'a>, Failure> {
    let timezone = cron.timezone.as_deref();
    let timing = Timing::parse(&cron.schedule, timezone)?;
    let now = Timestamp::now();
    let decided = ledger.known(&cron.name, &cron.schedule, timezone, now).unwrap_or(now);
    let query =
        TraceQuery { limit: 1, kinds: vec![Kind::CronRun], name: Some(cron.name.clone()), ..TraceQuery::default() };
    let last = if traces::any(common)? { traces::list(common, query)?.entries.into_iter().next() } else { None };
    Ok(Shown {
        name: &cron.name,
        schedule: &cron.schedule,
        timezone: timezone.unwrap_or("UTC"),
        last,
        next: timing.times_after(now.max(decided)).take(NEXT_RUNS).collect(),
    })
}

fn row(shown: &Shown<'_>) -> [String; 5] {
    let zone = TimeZone::get(shown.timezone).unwrap_or(TimeZone::UTC);
    let in_zone = |time: &Timestamp| time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string();
    let last = shown.last.as_ref().map_or_else(
        || "-".to_owned(),
        |entry| {
            let nanos = i128::from(entry.started_at.as_nanos());
            let began = Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::MAX);
            format!("{} {} {}", in_zone(&began), entry.status, render::human(entry.duration))
        },
    );
    let next: Vec<String> = shown.next.iter().map(in_zone).collect();
    [shown.name.to_owned(), shown.schedule.to_owned(), shown.timezone.to_owned(), last, next.join(", ")]
}

fn run_now(common: &Common, name: &str, json: bool) -> Outcome {
    let root = common.root()?;
    let published = block_on(async {
        let client = Client::connect(&root).await?;
        let mut client =
            client.ok_or_else(|| anyhow!("no daemon runs this project; start `rohas dev` or `rohas run`"))?;
        Ok::<_, anyhow::Error>(client.run_cron(name).await?)
    })??;
    if json {
        return print_json(&published);
    }
    outln!("{name} is to run; its trace is {}", published.trace_id);
    Ok(())
}
