//! What stands in the compressed part of a block? One vector per field, and rows of what few records have.
//!
//! Positions: `traces` 0 is a trace not seen before in the block, `n` the n-th latest one. `parents` 0 is none, odd codes the zigzag
//! distance to a row of the block, even ones a place in the table of foreign spans. Names are places in the table of texts plus 1, 0 is none.
//! Event ids: see [`EventCode`].

use serde::{Deserialize, Serialize};

/// Fields that every record has.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Columns {
    pub(super) traces: Vec<u32>,
    pub(super) parents: Vec<u64>,
    pub(super) kinds: Vec<u8>,
    pub(super) names: Vec<u32>,
    pub(super) handlers: Vec<u32>,
    pub(super) attempts: Vec<u32>,
    pub(super) statuses: Vec<u8>,
    /// Distance to the row before; the first counts from 1970.
    pub(super) starts: Vec<i64>,
    pub(super) durations: Vec<u64>,
    pub(super) methods: Vec<u32>,
    /// For rows with a method only.
    pub(super) paths: Vec<u32>,
    /// For rows with a method only.
    pub(super) answers: Vec<u16>,
    pub(super) events: Vec<EventCode>,
    pub(super) span_counts: Vec<u32>,
    pub(super) span_phases: Vec<u8>,
    pub(super) span_names: Vec<u32>,
    /// Distance between the end of the part before (the record's beginning for the first) and this one's beginning.
    pub(super) span_gaps: Vec<i64>,
    pub(super) span_durations: Vec<u64>,
}

/// 0: none; 1: the next id of the table; 2: an id of the table that follows; 3: a text that follows.
/// Ids mostly come in the order in which they entered the table, so that this column is nearly all the same.
pub(super) type EventCode = u8;

/// Fields that few records have, each with the row it belongs to, and the tables.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Details<'a> {
    /// Every name in the block, once.
    #[serde(borrow)]
    pub(super) texts: Vec<&'a str>,
    /// Number of ids in the table of traces.
    pub(super) traces: u32,
    /// Number of ids in the table of foreign spans.
    pub(super) foreign: u32,
    /// Number of ids in the table of events.
    pub(super) uuids: u32,
    /// Places in the table of events that are out of order, in the order in which they are needed.
    pub(super) places: Vec<u32>,
    /// Ids of events that are no UUIDs, in the order in which they are needed.
    #[serde(borrow)]
    pub(super) event_texts: Vec<&'a str>,
    #[serde(borrow)]
    pub(super) errors: Vec<ErrorRow<'a>>,
    #[serde(borrow)]
    pub(super) logs: Vec<LogRow<'a>>,
    pub(super) emits: Vec<EmitRow>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ErrorRow<'a> {
    pub(super) row: u32,
    pub(super) kind: u32,
    pub(super) message: &'a str,
    pub(super) traceback: Option<&'a str>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LogRow<'a> {
    pub(super) row: u32,
    pub(super) offset: u64,
    pub(super) level: u8,
    pub(super) message: &'a str,
    pub(super) fields: Option<&'a str>,
}

/// Stands behind the columns, in blocks that have cron runs; those of before it was recorded end with the columns.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CronRow {
    pub(super) row: u32,
    pub(super) schedule: u32,
    pub(super) slot: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EmitRow {
    pub(super) row: u32,
    pub(super) event: u32,
    pub(super) id: EventCode,
}
