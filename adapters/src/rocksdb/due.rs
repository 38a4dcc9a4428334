//! Which publications are due? Rows sorted by their due time, read from the first that is known to be there.

use std::ops::ControlFlow;

use super::block::MAX_MESSAGES;
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
    /// When its dedupe window ends, in nanoseconds since 1970.
    pub(super) window_end: u64,
    pub(super) envelope: Envelope,
    pub(super) bytes: u64,
}

/// Reads from `first` on what is due at `now`, at most a block of it. Returns the first row that is left.
pub(super) fn read(database: &Database, first: Due, now: u64, rows: &mut Vec<Row>) -> Result<Option<Due>, Fault> {
    let mut next = None;
    database.scan(DUE, (&due_key(first), None), |key, value| {
        let key = split_due(key).ok_or_else(|| damaged("the key of a message that is not yet due"))?;
        if key.0 > now || rows.len() == MAX_MESSAGES {
            next = Some(key);
            return Ok(ControlFlow::Break(()));
        }
        let Some((DueHead { window_end }, envelope)) = decode_message(value) else {
            return Err(damaged("a message that is due now"));
        };
        rows.push(Row { key, window_end, envelope, bytes: value.len() as u64 });
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(next)
}
