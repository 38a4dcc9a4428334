//! What was recorded lately, and which trace is meant? Lists of entries, newest first, and look-ups by the beginning of an id.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::block::Meta;
use crate::block::index::IdRange;
use crate::store::{Damage, Store};
use crate::{Cron, Error, EventId, Failure, Http, Kind, Record, SpanId, Status, Timestamp, TraceId, Tree, json};

/// Fewer digits would match by accident.
const MIN_PREFIX: usize = 4;
/// An ambiguous prefix is answered with so many ids at most.
const MAX_CANDIDATES: usize = 5;
/// A trace is shown with so many records at most.
const MAX_TREE: usize = 10_000;

/// Which entries a list has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// At most so many.
    pub limit: usize,
    /// Only those that ended so; empty for all.
    pub statuses: Vec<Status>,
    /// Only those of these kinds; empty for all.
    pub kinds: Vec<Kind>,
    /// Only those whose name or handler is exactly this.
    pub name: Option<String>,
    /// Only those that began then or later.
    pub since: Option<Timestamp>,
    /// Only those that began before.
    pub until: Option<Timestamp>,
}

impl Default for Filter {
    /// The newest 20 entries.
    fn default() -> Self {
        Self { limit: 20, statuses: Vec::new(), kinds: Vec::new(), name: None, since: None, until: None }
    }
}

impl Filter {
    fn may_match(&self, meta: &Meta) -> bool {
        (self.statuses.is_empty() || meta.has_status(&self.statuses))
            && (self.kinds.is_empty() || meta.has_kind(&self.kinds))
            && self.since.is_none_or(|since| meta.last() >= since)
            && self.until.is_none_or(|until| meta.first() < until)
    }

    fn matches(&self, record: &Record) -> bool {
        let named = |name: &String| **name == *record.name || record.handler.as_deref() == Some(name);
        record.kind.is_entry()
            && (self.statuses.is_empty() || self.statuses.contains(&record.status))
            && (self.kinds.is_empty() || self.kinds.contains(&record.kind))
            && self.name.as_ref().is_none_or(named)
            && self.since.is_none_or(|since| record.started_at >= since)
            && self.until.is_none_or(|until| record.started_at < until)
    }
}

/// One line of the traces list: a request, delivery, cron run or WebSocket message.
///
/// Its serde shape is a line of `rohas traces list --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id within the trace.
    pub span_id: SpanId,
    /// What it was.
    pub kind: Kind,
    /// Name of the api, event, cron job or WebSocket.
    pub name: Arc<str>,
    /// The handler that ran or would have run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<Arc<str>>,
    /// Which attempt it was, counted from 1.
    pub attempt: u32,
    /// How it ended.
    pub status: Status,
    /// When it began.
    #[serde(with = "json::timestamp")]
    pub started_at: Timestamp,
    /// How long it took.
    #[serde(rename = "duration_ms", with = "json::milliseconds")]
    pub duration: Duration,
    /// The HTTP side of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// The schedule's side of a run of a cron job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<Cron>,
    /// The event that was delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    /// Why it did not end well, without the traceback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl From<&Record> for Entry {
    fn from(record: &Record) -> Self {
        Self {
            trace_id: record.trace_id,
            span_id: record.span_id,
            kind: record.kind,
            name: record.name.clone(),
            handler: record.handler.clone(),
            attempt: record.attempt,
            status: record.status,
            started_at: record.started_at,
            duration: record.duration,
            http: record.http.clone(),
            cron: record.cron.clone(),
            event_id: record.event_id.clone(),
            error: record.error.as_ref().map(|error| Failure { traceback: None, ..error.clone() }),
        }
    }
}

/// Entries, newest first, and what could not be read while looking for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Damaged blocks; their records are missing from the entries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<Damage>,
}

impl Store {
    /// The newest entries that pass the filter.
    ///
    /// # Errors
    /// [`Error::Read`] when the list of blocks cannot be read.
    pub fn list(&self, filter: &Filter) -> Result<Listing, Error> {
        let view = self.view();
        let mut newest = Newest::new(filter.limit);
        let mut damaged = Vec::new();
        for block in view.newest_first() {
            let (key, meta) = block?;
            if newest.excludes(key.latest()) || filter.since.is_some_and(|since| key.latest() < since) {
                break;
            }
            if newest.excludes(meta.last()) || !filter.may_match(&meta) {
                continue;
            }
            match view.records(key) {
                Ok(records) => {
                    records.iter().filter(|record| filter.matches(record)).for_each(|record| newest.add(record))
                }
                Err(damage) => damaged.push(damage),
            }
        }
        Ok(Listing { entries: newest.into_entries(), damaged })
    }

    /// Everything that is recorded of one trace; the tree is empty when there is nothing.
    ///
    /// # Errors
    /// [`Error::Read`] when the list of blocks cannot be read.
    pub fn trace(&self, id: TraceId) -> Result<Tree, Error> {
        let mut records = Vec::new();
        let damaged = self.search(&IdRange::one(id), |record| {
            // The newest come first: what is beyond the limit is the oldest, but never the root.
            if records.len() < MAX_TREE || record.parent.is_none() {
                records.push(record.clone());
            }
        })?;
        Ok(Tree::new(id, records, damaged))
    }

    /// The one trace whose id begins with `prefix`, at least four hexadecimal digits of either case.
    ///
    /// # Errors
    /// [`Error::InvalidPrefix`], [`Error::UnknownTrace`] and [`Error::AmbiguousTrace`] when there is no such one,
    /// [`Error::Read`] when the list of blocks cannot be read.
    pub fn find(&self, prefix: &str) -> Result<TraceId, Error> {
        let digits = prefix.to_ascii_lowercase();
        let ids = IdRange::starting_with(&digits).filter(|_| digits.len() >= MIN_PREFIX);
        let ids = ids.ok_or_else(|| Error::InvalidPrefix { prefix: prefix.to_owned() })?;
        let mut found = BTreeSet::new();
        self.search(&ids, |record| {
            if found.len() < MAX_CANDIDATES {
                found.insert(record.trace_id);
            }
        })?;
        match (found.len(), found.first()) {
            (1, Some(id)) => Ok(*id),
            (0, _) => Err(Error::UnknownTrace { prefix: prefix.to_owned() }),
            _ => Err(Error::AmbiguousTrace { prefix: prefix.to_owned(), candidates: found.into_iter().collect() }),
        }
    }

    /// Calls `found` for each record of these traces, newest block first.
    fn search(&self, ids: &IdRange, mut found: impl FnMut(&Record)) -> Result<Vec<Damage>, Error> {
        let view = self.view();
        let mut damaged = Vec::new();
        for block in view.newest_first() {
            let (key, _) = block?;
            if !view.may_hold(key, ids) {
                continue;
            }
            match view.records(key) {
                Ok(records) => records.iter().filter(|record| ids.contains(record.trace_id)).for_each(&mut found),
                Err(damage) => damaged.push(damage),
            }
        }
        Ok(damaged)
    }
}

/// The newest entries seen so far, at most `limit`.
struct Newest {
    limit: usize,
    /// The oldest one is on top.
    heap: BinaryHeap<Reverse<Ranked>>,
    seen: u64,
}

/// An entry in the order of its beginning; those that began together stay in the order in which they were found.
struct Ranked {
    rank: (Timestamp, Reverse<u64>),
    entry: Entry,
}

impl Newest {
    fn new(limit: usize) -> Self {
        Self { limit, heap: BinaryHeap::new(), seen: 0 }
    }

    /// Whether nothing that began by `time` gets in any more.
    fn excludes(&self, time: Timestamp) -> bool {
        self.heap.len() >= self.limit && self.heap.peek().is_none_or(|Reverse(oldest)| oldest.rank.0 >= time)
    }

    fn add(&mut self, record: &Record) {
        self.seen += 1;
        if self.excludes(record.started_at) {
            return;
        }
        let rank = (record.started_at, Reverse(self.seen));
        self.heap.push(Reverse(Ranked { rank, entry: record.into() }));
        if self.heap.len() > self.limit {
            self.heap.pop();
        }
    }

    fn into_entries(self) -> Vec<Entry> {
        self.heap.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked.entry).collect()
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}
