//! Which handled messages leave? Those that are old, and the oldest ones when there are too many bytes; never one that some subscription has not finished.

use std::time::Duration;

use rocksdb::WriteBatch;

use super::Options;
use super::codec::duration_nanos;
use super::database::{Database, LOG, META, SPANS};
use super::error::Fault;
use super::ledger::Ledger;
use super::rows::{StoredTopic, encode, log_key, topic_key};
use super::spans::{Limits, Span};

const LARGEST_SPAN: u64 = 256 << 10;
const SMALLEST_SPAN: u64 = 1 << 10;

/// When spans are closed, so that retention can be exact to a few percent of its bounds.
pub(super) fn limits(options: &Options) -> Limits {
    Limits {
        bytes: (options.max_bytes / 64).clamp(SMALLEST_SPAN, LARGEST_SPAN),
        age: duration_nanos(kept(options) / 32),
    }
}

/// How long to wait between two times.
pub(super) fn interval(options: &Options) -> Duration {
    (kept(options) / 32).clamp(Duration::from_millis(100), Duration::from_secs(60))
}

fn kept(options: &Options) -> Duration {
    options.retention.max(options.dedupe)
}

/// Removes what may leave. Whoever calls loads the ledger anew when it fails.
pub(super) fn apply(database: &Database, ledger: &mut Ledger, options: &Options) -> Result<(), Fault> {
    let mut batch = WriteBatch::default();
    let now = ledger.tick();
    close_old(database, ledger, &mut batch, now.saturating_sub(limits(options).age));
    let mut removed = expired(ledger, now.saturating_sub(duration_nanos(kept(options))));
    removed.extend(excess(ledger, options.max_bytes));
    for (index, span) in &removed {
        let topic = &ledger.topics[*index];
        let number = topic.shared.number;
        let row = StoredTopic { number, end: topic.next };
        database.put(&mut batch, META, &topic_key(&topic.shared.event), &encode(&row));
        for family in [LOG, SPANS] {
            database.delete_range(&mut batch, family, &log_key(number, span.first), &log_key(number, span.end));
        }
    }
    if batch.is_empty() {
        return Ok(());
    }
    database.write(batch)?;
    for (index, span) in &removed {
        let number = ledger.topics[*index].shared.number;
        database.drop_files(LOG, &log_key(number, span.first), &log_key(number, span.end))?;
    }
    Ok(())
}

/// Closes spans that no new block has closed in their time.
fn close_old(database: &Database, ledger: &mut Ledger, batch: &mut WriteBatch, before: u64) {
    for topic in &mut ledger.topics {
        if let Some(span) = topic.spans.close_older(before) {
            database.put(batch, SPANS, &log_key(topic.shared.number, span.first), &encode(&span));
        }
    }
}

fn expired(ledger: &mut Ledger, before: u64) -> Vec<(usize, Span)> {
    let mut removed = Vec::new();
    for index in 0..ledger.topics.len() {
        let floor = ledger.floor(index);
        let spans = &mut ledger.topics[index].spans;
        while let Some(span) = spans.removable(floor).filter(|span| span.last < before) {
            spans.pop();
            removed.push((index, span));
        }
        ledger.recount(index);
    }
    removed
}

/// The oldest spans of all topics without which there are at most `most` bytes.
fn excess(ledger: &mut Ledger, most: u64) -> Vec<(usize, Span)> {
    let mut removed = Vec::new();
    let mut bytes = ledger.bytes();
    while bytes > most {
        let oldest = (0..ledger.topics.len())
            .filter_map(|index| Some((index, ledger.topics[index].spans.removable(ledger.floor(index))?)))
            .min_by_key(|(_, span)| span.last);
        let Some((index, span)) = oldest else { break };
        ledger.topics[index].spans.pop();
        ledger.recount(index);
        bytes = bytes.saturating_sub(span.bytes);
        removed.push((index, span));
    }
    removed
}
