//! Which publications are due? Rows sorted by their due time, read from the first that is known to be there.

use std::ops::ControlFlow;

use super::block::{MAX_BYTES, MAX_MESSAGES};
use super::cursor::Due;
use super::database::{DUE, Database};
use super::error::Fault;
use super::load::damaged;
use super::rows::{DueHead, decode_message, due_key, split_due};
use crate::envelope::Envelope;

/// A publication that waited.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: Due,
    pub(super) bytes: u64,
    /// The message and when its dedupe window ends, in nanoseconds since 1970; `None` when it cannot be read.
    pub(super) message: Option<(u64, Envelope)>,
}

/// Reads from `first` on what is due at `now`, at most about as much as a block holds. Returns the first row that is left.
pub(super) fn read(database: &Database, first: Due, now: u64, rows: &mut Vec<Row>) -> Result<Option<Due>, Fault> {
    let mut next = None;
    let mut bytes = 0;
    database.scan(DUE, (&due_key(first), None), |key, value| {
        let key = split_due(key).ok_or_else(|| damaged("the key of a message that is not yet due"))?;
        if key.0 > now || rows.len() == MAX_MESSAGES || bytes >= MAX_BYTES {
            next = Some(key);
            return Ok(ControlFlow::Break(()));
        }
        let message = decode_message(value).map(|(DueHead { window_end }, envelope)| (window_end, envelope));
        if message.is_none() {
            tracing::error!(
                due_at = key.0,
                "a message of the event store that is due now cannot be read and is passed over; restore the directory from a backup to get it back"
            );
        }
        bytes += value.len() as u64;
        rows.push(Row { key, message, bytes: value.len() as u64 });
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(next)
}
