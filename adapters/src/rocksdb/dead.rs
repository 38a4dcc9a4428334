//! Which dead letters are there? Their ids sort by time, so the newest are read first.

use std::ops::ControlFlow;
use std::sync::Arc;

use uuid::Uuid;

use super::database::{DEAD, Database};
use super::error::Fault;
use super::rows::{DeadHead, decode_message};
use crate::broker::{DeadLetter, DeadLetterFilter};

/// What one call lists takes up no more memory than this and one more of them.
const MAX_BYTES: usize = 8 << 20;

/// At most `limit` and about [`MAX_BYTES`], newest first. One that cannot be read is reported and passed over.
pub(super) fn list(database: &Database, filter: &DeadLetterFilter, limit: usize) -> Result<Vec<DeadLetter>, Fault> {
    let mut letters = Vec::new();
    let mut bytes = 0;
    let before = filter.before.map(Uuid::into_bytes);
    database.scan_back(DEAD, before.as_ref().map(|id| &id[..]), |key, value| {
        if letters.len() >= limit || bytes >= MAX_BYTES {
            return Ok(ControlFlow::Break(()));
        }
        match read(key, value) {
            Some(letter) if matches(filter, &letter) => {
                bytes += value.len();
                letters.push(letter);
            }
            Some(_) => {}
            None => tracing::error!(key = ?key, "a dead letter of the event store cannot be read and is passed over"),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(letters)
}

fn read(key: &[u8], value: &[u8]) -> Option<DeadLetter> {
    let id = Uuid::from_slice(key).ok()?;
    let (DeadHead { subscription, obituary, .. }, envelope) = decode_message(value)?;
    Some(DeadLetter { id, envelope: Arc::new(envelope), subscription, obituary })
}

fn matches(filter: &DeadLetterFilter, letter: &DeadLetter) -> bool {
    let event = filter.event.as_deref().is_none_or(|event| event == &*letter.subscription.event);
    let handler = filter.handler.as_deref().is_none_or(|handler| handler == &*letter.subscription.handler);
    event && handler
}
