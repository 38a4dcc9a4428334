//! How does `rohas traces show` look? Each record below its parent, with what took how long, what was logged and what went wrong.

use super::{Style, damaged, duration, pad, push, text};
use crate::record::{Level, Log};
use crate::{Node, Record, Status, Timestamp, Tree};

/// Deeper records are indented no further, so that a long chain stays readable and small.
const MAX_DEPTH: usize = 24;
/// The times stand no further to the right, however long a name is.
const MAX_TITLE: usize = 100;

/// The tree with durations, logs, errors and emitted events.
#[must_use]
pub fn tree(tree: &Tree, style: &Style) -> String {
    let mut out = String::new();
    if tree.is_empty() {
        push(&mut out, &format!("nothing is recorded of trace {}", tree.trace_id));
    } else {
        heading(&mut out, tree, style);
        records(&mut out, tree, style);
    }
    damaged(&mut out, &tree.damaged, style);
    out
}

fn heading(out: &mut String, tree: &Tree, style: &Style) {
    let failures = tree.records.iter().filter(|node| node.record.status != Status::Ok).count();
    let count = match tree.records.len() {
        1 => "1 record".to_owned(),
        many => format!("{many} records"),
    };
    let failures = if failures > 0 { format!(", {failures} not ok") } else { String::new() };
    push(out, &format!("{} {}", style.dim("trace"), style.bold(tree.trace_id)));
    push(out, &format!("{}, {}, {count}{failures}", style.time(tree.started_at), duration::human(tree.duration)));
    push(out, "");
}

fn records(out: &mut String, tree: &Tree, style: &Style) {
    let branches = branches(&tree.records);
    let titles: Vec<Title> = tree.records.iter().map(|node| Title::of(&node.record, style)).collect();
    let lefts = branches.iter().zip(&titles).map(|(branch, title)| branch.first.chars().count() + title.width());
    let width = lefts.filter(|width| *width <= MAX_TITLE).max().unwrap_or_default();
    for ((node, branch), title) in tree.records.iter().zip(&branches).zip(&titles) {
        let record = &node.record;
        let left = pad(
            &format!("{}{}", branch.first, title.plain),
            &format!("{}{}", style.dim(&branch.first), title.painted),
            width,
        );
        let offset = format!("+{}", duration::human(since(tree.started_at, record.started_at)));
        let took = duration::human(record.duration);
        push(out, &format!("{left}  {took:>8}  {}", style.dim(offset)));
        for line in details(record, style) {
            push(out, &format!("{}{line}", style.dim(&branch.rest)));
        }
    }
}

fn since(start: Timestamp, time: Timestamp) -> std::time::Duration {
    std::time::Duration::from_nanos(time.as_nanos().saturating_sub(start.as_nanos()))
}

/// The lines that join a record to its parent, and those that pass by its details.
struct Branch {
    first: String,
    rest: String,
}

fn branches(nodes: &[Node]) -> Vec<Branch> {
    let lasts = last_of_siblings(nodes);
    // Whether a line goes on at each depth below the roots.
    let mut open: Vec<bool> = Vec::new();
    let mut branches = Vec::with_capacity(nodes.len());
    for (place, node) in nodes.iter().enumerate() {
        open.truncate(node.depth.saturating_sub(1));
        let above: String = open.iter().take(MAX_DEPTH).map(|open| if *open { "│  " } else { "   " }).collect();
        let has_children = nodes.get(place + 1).is_some_and(|next| next.depth > node.depth);
        let below = if has_children { "│  " } else { "   " };
        branches.push(match (node.depth, lasts[place]) {
            (0, _) => Branch { first: String::new(), rest: below.to_owned() },
            (_, true) => Branch { first: format!("{above}└─ "), rest: format!("{above}   {below}") },
            (_, false) => Branch { first: format!("{above}├─ "), rest: format!("{above}│  {below}") },
        });
        if node.depth > 0 {
            open.push(!lasts[place]);
        }
    }
    branches
}

/// Whether no record with the same parent follows.
fn last_of_siblings(nodes: &[Node]) -> Vec<bool> {
    let mut follows: Vec<bool> = Vec::new();
    let mut lasts: Vec<bool> = nodes
        .iter()
        .rev()
        .map(|node| {
            follows.resize(node.depth + 1, false);
            !std::mem::replace(&mut follows[node.depth], true)
        })
        .collect();
    lasts.reverse();
    lasts
}

/// `✓ request CreateUser › create_user  POST /users 201`
struct Title {
    plain: String,
    painted: String,
}

impl Title {
    fn of(record: &Record, style: &Style) -> Self {
        Self {
            plain: title(record, &Style { color: false, zone: jiff::tz::TimeZone::UTC }),
            painted: title(record, style),
        }
    }

    fn width(&self) -> usize {
        self.plain.chars().count()
    }
}

fn title(record: &Record, style: &Style) -> String {
    let mark = match record.status {
        Status::Ok => "✓",
        Status::Rejected | Status::Cancelled | Status::Busy => "!",
        Status::Retrying => "↻",
        Status::Failed | Status::TimedOut | Status::Crashed => "✗",
    };
    let mut title = format!(
        "{} {} {}",
        style.status(record.status, mark),
        style.dim(record.kind),
        style.bold(text::line(&record.name))
    );
    if let Some(handler) = &record.handler {
        title = format!("{title} {} {}", style.dim("›"), text::line(handler));
    }
    if record.attempt > 1 {
        title = format!("{title}  attempt {}", record.attempt);
    }
    if let Some(http) = &record.http {
        title = format!("{title}  {} {} {}", text::line(&http.method), text::line(&http.path), http.status);
    }
    if record.status != Status::Ok {
        title = format!("{title}  {}", style.status(record.status, record.status.as_str().replace('_', " ")));
    }
    title
}

fn details(record: &Record, style: &Style) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(cron) = &record.cron {
        let schedule = text::line(&cron.schedule);
        lines.push(style.dim(format!("schedule {schedule} · slot {}", style.time(cron.slot))));
    }
    if let Some(id) = &record.event_id {
        lines.push(style.dim(format!("event {}", text::line(&id.to_string()))));
    }
    if !record.spans.is_empty() {
        lines.push(style.dim(parts(record)));
    }
    lines.extend(record.logs.iter().flat_map(|log| log_lines(log, style)));
    if let Some(error) = &record.error {
        let message = format!("{}: {}", error.kind, error.message);
        lines.extend(text::lines(&message).map(|line| style.status(Status::Failed, line)));
        let traceback = error.traceback.as_deref().unwrap_or_default();
        lines.extend(text::lines(traceback).map(|line| style.dim(format!("  {line}"))));
    }
    lines.extend(
        record
            .emits
            .iter()
            .map(|emit| format!("→ {}  {}", text::line(&emit.event), style.dim(text::line(&emit.id.to_string())))),
    );
    lines
}

/// `validate 310µs · middleware auth 1.20ms · handler 11.2ms`
fn parts(record: &Record) -> String {
    let part = |span: &crate::Span| {
        let name = span.name.as_deref().map(|name| format!(" {}", text::line(name))).unwrap_or_default();
        format!("{}{name} {}", span.phase, duration::human(span.duration))
    };
    record.spans.iter().map(part).collect::<Vec<_>>().join(" · ")
}

/// The first line has time and level; further ones stand below its message.
fn log_lines(log: &Log, style: &Style) -> Vec<String> {
    let level = format!("{:<6}", log.level.as_str().to_uppercase());
    let level = match log.level {
        Level::Error | Level::Stderr => style.status(Status::Failed, level),
        Level::Warn => style.status(Status::Rejected, level),
        _ => style.dim(level),
    };
    let time = format!("{:>9}", format!("+{}", duration::human(log.offset)));
    let fields = log.fields.as_deref().map(|json| format!("  {}", style.dim(text::fields(json)))).unwrap_or_default();
    let mut message = text::lines(&log.message);
    let first = message.next().unwrap_or_default();
    let mut lines = vec![format!("{}  {level} {first}{fields}", style.dim(time))];
    lines.extend(message.map(|line| format!("{:18}{line}", "")));
    lines
}
