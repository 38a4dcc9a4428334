//! What has been published of one event lately? Its newest blocks are in memory, older ones are read from the log.

use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::block;
use super::database::{Database, LOG};
use super::error::Fault;
use super::rows::{log_key, position};
use crate::envelope::Envelope;

/// A reader gets about so many bytes at once.
pub(super) const PAGE_BYTES: usize = 1 << 20;
const PAGE_MESSAGES: usize = 2_000;

/// One event's log, as consumers see it.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) number: u32,
    pub(super) event: Arc<str>,
    /// Behind the last position that is visible. The writer moves it, consumers read it.
    end: AtomicU64,
    /// Guards the newest blocks; held to copy references in or out.
    recent: Mutex<VecDeque<Recent>>,
}

/// A block in memory.
#[derive(Debug)]
pub(super) struct Recent {
    pub(super) first: u64,
    pub(super) messages: Vec<Arc<Envelope>>,
}

/// Neighbouring messages from the log.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) first: u64,
    pub(super) messages: Vec<Arc<Envelope>>,
    /// Commit time of its first block, in nanoseconds since 1970.
    pub(super) time: u64,
}

impl Page {
    pub(super) fn get(&self, position: u64) -> Option<&Arc<Envelope>> {
        let index = usize::try_from(position.checked_sub(self.first)?).ok()?;
        self.messages.get(index)
    }
}

/// What reading the log found.
#[derive(Debug)]
pub(super) enum Found {
    /// Messages, the wanted one first or among them.
    Page(Page),
    /// The block with the wanted message cannot be read, for this reason. Where the next one begins, if that is known.
    Unreadable(String, Option<u64>),
    /// There is none at this position any more. Where the next one begins, or behind all that were there when it was looked for.
    Gone(u64),
}

impl Topic {
    pub(super) fn new(number: u32, event: Arc<str>, end: u64) -> Self {
        Self { number, event, end: AtomicU64::new(end), recent: Mutex::default() }
    }

    pub(super) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Makes a written block visible.
    pub(super) fn push(&self, block: Recent) {
        let end = block.first + block.messages.len() as u64;
        self.recent().push_back(block);
        self.end.store(end, Ordering::Release);
    }

    /// Forgets the oldest block in memory.
    pub(super) fn forget_oldest(&self) {
        self.recent().pop_front();
    }

    /// Begins anew from what the database has.
    pub(super) fn reset(&self, end: u64) {
        self.recent().clear();
        self.end.store(end, Ordering::Release);
    }

    /// Copies those of `range` that are in memory, beginning with its first, to `out`. Returns how many.
    pub(super) fn copy_recent(&self, range: Range<u64>, out: &mut Vec<Arc<Envelope>>) -> u64 {
        let recent = self.recent();
        let before = out.len();
        let mut from = range.start;
        let index = recent.partition_point(|block| block.first + block.messages.len() as u64 <= from);
        for block in recent.iter().skip(index) {
            if from >= range.end || block.first > from {
                break;
            }
            let skip = usize::try_from(from - block.first).unwrap_or(usize::MAX);
            let most = usize::try_from(range.end - from).unwrap_or(usize::MAX);
            out.extend(block.messages.iter().skip(skip).take(most).cloned());
            from = range.start + (out.len() - before) as u64;
        }
        (out.len() - before) as u64
    }

    fn recent(&self) -> MutexGuard<'_, VecDeque<Recent>> {
        // Nothing in a critical section panics half-way through a change, so a poisoned lock still guards whole state.
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the block with `wanted` and those behind it from the database.
    pub(super) fn read(&self, database: &Database, wanted: u64) -> Result<Found, Fault> {
        self.read_about(database, wanted, PAGE_BYTES)
    }

    /// Reads the block with `wanted` alone.
    pub(super) fn read_block(&self, database: &Database, wanted: u64) -> Result<Found, Fault> {
        self.read_about(database, wanted, 0)
    }

    fn read_about(&self, database: &Database, wanted: u64, most_bytes: usize) -> Result<Found, Fault> {
        // Before looking: what is published meanwhile is there and must not be taken for gone.
        let end = self.end();
        let prefix = self.number.to_be_bytes();
        let key = log_key(self.number, wanted);
        let found = match database.at_or_before(LOG, &prefix, &key) {
            Ok(found) => found,
            Err(fault) if fault.is_damage() => return Ok(Found::Unreadable(fault.to_string(), None)),
            Err(fault) => return Err(fault),
        };
        let start = found.and_then(|(key, value)| {
            let first = position(&key)?;
            let count = block::head(&value).map_or(1, |head| head.count);
            (wanted < first + count || block::head(&value).is_none()).then_some(first)
        });
        match start {
            Some(first) => self.read_page(database, first, end, most_bytes),
            None => Ok(Found::Gone(self.first_at(database, wanted)?.unwrap_or(end))),
        }
    }

    /// Where the first block at or behind `position` begins.
    fn first_at(&self, database: &Database, from: u64) -> Result<Option<u64>, Fault> {
        let mut first = None;
        let bounds = (&log_key(self.number, from)[..], Some(&log_key(self.number, u64::MAX)[..]));
        database.scan(LOG, bounds, |key, _| {
            first = position(key);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(first)
    }

    fn read_page(&self, database: &Database, first: u64, end: u64, most_bytes: usize) -> Result<Found, Fault> {
        let mut page = Page { first, ..Page::default() };
        let mut bytes = 0;
        let mut unreadable = None;
        let bounds = (&log_key(self.number, first)[..], Some(&log_key(self.number, u64::MAX)[..]));
        let result = database.scan(LOG, bounds, |key, value| {
            if position(key) != Some(first + page.messages.len() as u64) {
                return Ok(ControlFlow::Break(()));
            }
            let Some((head, messages)) = block::decode(value, &self.event) else {
                unreadable = Some("its checksum is wrong".to_owned());
                return Ok(ControlFlow::Break(()));
            };
            if page.messages.is_empty() {
                page.time = head.time;
            }
            page.messages.extend(messages);
            bytes += value.len();
            let full = bytes >= most_bytes || page.messages.len() >= PAGE_MESSAGES;
            Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        match (result, unreadable) {
            _ if !page.messages.is_empty() => Ok(Found::Page(page)),
            (Err(fault), _) if fault.is_damage() => Ok(Found::Unreadable(fault.to_string(), None)),
            (Err(fault), _) => Err(fault),
            (Ok(()), Some(why)) => Ok(Found::Unreadable(why, self.first_at(database, first + 1)?)),
            (Ok(()), None) => Ok(Found::Gone(self.first_at(database, first)?.unwrap_or(end))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;
    use uuid::Uuid;

    use super::*;
    use crate::envelope::TraceContext;

    fn message(number: u64) -> Arc<Envelope> {
        Arc::new(Envelope {
            id: Uuid::from_u128(number.into()),
            source: "test".into(),
            event: "E".into(),
            key: None,
            time: SystemTime::UNIX_EPOCH,
            data: Bytes::new(),
            trace: TraceContext { trace_id: [1; 16], parent: [0; 8] },
            causation: None,
            version: 1,
            hops: 0,
        })
    }

    fn copied(topic: &Topic, range: Range<u64>) -> Vec<u64> {
        let mut out = Vec::new();
        topic.copy_recent(range, &mut out);
        out.iter().map(|envelope| u64::try_from(envelope.id.as_u128()).unwrap()).collect()
    }

    #[test]
    fn recent_messages_are_copied_from_the_first_wanted_one_on() {
        let topic = Topic::new(1, "E".into(), 10);
        for first in [10, 13, 16] {
            topic.push(Recent { first, messages: (first..first + 3).map(message).collect() });
        }
        assert_eq!(topic.end(), 19);
        assert_eq!(copied(&topic, 11..15), [11, 12, 13, 14]);
        assert_eq!(copied(&topic, 18..30), [18]);
        assert_eq!(copied(&topic, 9..30), [] as [u64; 0], "the first is not there, so none is");
        topic.forget_oldest();
        assert_eq!(copied(&topic, 12..14), [] as [u64; 0]);
        assert_eq!(copied(&topic, 13..14), [13]);
    }
}
