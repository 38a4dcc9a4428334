//! How does `rohas traces list` look? One line per entry under a heading, columns as wide as their texts.

use std::borrow::Cow;

use super::{Style, damaged, duration, pad, push, text};
use crate::{Entry, Listing};

const COLUMNS: usize = 7;
const HEADING: [&str; COLUMNS] = ["STARTED", "STATUS", "TOOK", "KIND", "NAME", "HANDLER", "TRACE"];

/// The entries as a table.
#[must_use]
pub fn list(listing: &Listing, style: &Style) -> String {
    let mut out = String::new();
    if listing.entries.is_empty() {
        push(&mut out, "no traces found");
    } else {
        table(&mut out, &listing.entries, style);
    }
    damaged(&mut out, &listing.damaged, style);
    out
}

fn table(out: &mut String, entries: &[Entry], style: &Style) {
    let rows: Vec<[Cow<'_, str>; COLUMNS]> = entries.iter().map(|entry| cells(entry, style)).collect();
    let width = |column: usize| {
        let texts = rows.iter().map(|row| &*row[column]).chain([HEADING[column]]);
        texts.map(|text| text.chars().count()).max().unwrap_or_default()
    };
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let heading = HEADING.iter().zip(widths).map(|(text, width)| pad(text, &style.dim(text), width));
    push(out, &heading.collect::<Vec<_>>().join("  "));
    for (entry, row) in entries.iter().zip(&rows) {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (text, width))| {
            let painted = paint(column, text, entry, style);
            pad(text, &painted, width)
        });
        push(out, &cells.collect::<Vec<_>>().join("  "));
    }
}

fn cells<'a>(entry: &'a Entry, style: &Style) -> [Cow<'a, str>; COLUMNS] {
    [
        style.time(entry.started_at).into(),
        status(entry).into(),
        duration::human(entry.duration).into(),
        entry.kind.as_str().into(),
        text::line(&entry.name),
        entry.handler.as_deref().map_or("-".into(), text::line),
        entry.trace_id.to_string().into(),
    ]
}

/// The status, the HTTP status, and the attempt when it was not the first.
fn status(entry: &Entry) -> String {
    let mut status = entry.status.to_string();
    if let Some(http) = &entry.http {
        status = format!("{status} {}", http.status);
    }
    if entry.attempt > 1 {
        status = format!("{status} #{}", entry.attempt);
    }
    status
}

fn paint(column: usize, text: &str, entry: &Entry, style: &Style) -> String {
    match column {
        1 => style.status(entry.status, text),
        4 => style.bold(text),
        0 | 3 => style.dim(text),
        _ => text.to_owned(),
    }
}
