//! How do records get onto the disk? One thread turns batches into blocks.
//!
//! A block is complete with 500 records. What is left over when nothing more comes is stored at once as a small block, so that a killed
//! process has lost 200 ms at most; later the small blocks are replaced by one complete block. So a quiet service needs as few bytes
//! per record as a busy one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::block::{Meta, encode};
use crate::limits;
use crate::retention::Retention;
use crate::service::Shared;
use crate::store::{Key, Store};
use crate::{Error, Record, Timestamp};

/// A block with so many records is complete.
const BLOCK_RECORDS: usize = 500;
/// A block with so many bytes of logs and errors is complete.
const BLOCK_WEIGHT: usize = 256 << 10;
/// How long a record waits for others before it is stored.
const LINGER: Duration = Duration::from_millis(200);
/// A block is complete after this time, however small.
const BLOCK_AGE: Duration = Duration::from_secs(60);
/// How often the retention looks for old blocks.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// What the writer has done, for [`crate::Stats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) written: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) removed_blocks: AtomicU64,
    pub(crate) removed_records: AtomicU64,
    pub(crate) removed_bytes: AtomicU64,
}

impl Drop for Writer {
    /// Also when it panics: whoever waits for a flush must not wait for ever.
    fn drop(&mut self) {
        self.shared.inbox.abandon();
    }
}

/// Owns the open block and everything that changes the store.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    retention: Retention,
    keeps_logs: bool,
    last_key: Key,
    /// The records of the open block; the first `stored` of them are in the blocks `small`.
    open: Vec<Record>,
    weight: usize,
    stored: usize,
    small: Vec<(Key, Meta)>,
    opened_at: Instant,
    /// Since when there are records that are not stored.
    waiting_since: Option<Instant>,
    retained_at: Instant,
    /// The disk refused the last write; it is reported once, not for each block.
    failing: bool,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, retention: Retention, last_key: Key, keeps_logs: bool) -> Self {
        let now = Instant::now();
        Self {
            shared,
            retention,
            keeps_logs,
            last_key,
            open: Vec::with_capacity(BLOCK_RECORDS),
            weight: 0,
            stored: 0,
            small: Vec::new(),
            opened_at: now,
            waiting_since: None,
            retained_at: now,
            failing: false,
        }
    }

    /// Writes until the inbox is closed, then stores what is left.
    pub(crate) fn run(mut self) -> Result<(), Error> {
        self.retain();
        loop {
            let taken = match self.waiting_since {
                Some(since) => self.shared.inbox.take_batch(LINGER.saturating_sub(since.elapsed())),
                None => self.shared.inbox.take_any(self.until_next_duty()),
            };
            for record in taken.records {
                self.add(record);
            }
            let due = self.waiting_since.is_some_and(|since| since.elapsed() >= LINGER);
            if due || taken.closed || !taken.flushes.is_empty() {
                self.store_rest();
            }
            if taken.closed || self.block_is_old() {
                self.complete();
            }
            if self.retained_at.elapsed() >= RETENTION_INTERVAL {
                self.retain();
            }
            for flush in taken.flushes {
                // Whoever asked may have given up waiting.
                flush.send(()).unwrap_or_default();
            }
            if taken.closed {
                return self.retention.stop();
            }
        }
    }

    fn until_next_duty(&self) -> Duration {
        let retention = RETENTION_INTERVAL.saturating_sub(self.retained_at.elapsed());
        if self.open.is_empty() { retention } else { retention.min(BLOCK_AGE.saturating_sub(self.opened_at.elapsed())) }
    }

    fn block_is_old(&self) -> bool {
        !self.open.is_empty() && self.opened_at.elapsed() >= BLOCK_AGE
    }

    fn add(&mut self, mut record: Record) {
        if !self.keeps_logs {
            record.logs = Vec::new();
        }
        limits::cut(&mut record);
        if self.open.is_empty() {
            self.opened_at = Instant::now();
        }
        self.waiting_since.get_or_insert_with(Instant::now);
        self.weight += record.weight();
        self.open.push(record);
        if self.open.len() >= BLOCK_RECORDS || self.weight >= BLOCK_WEIGHT {
            self.complete();
        }
    }

    /// Stores the records that are not yet stored as a small block.
    fn store_rest(&mut self) {
        self.waiting_since = None;
        if self.stored == self.open.len() {
            return;
        }
        let block = encode(&self.open[self.stored..]);
        let key = self.next_key();
        let result = self.shared.slot.with(|store| store.write(key, &block, &[]));
        let records = (self.open.len() - self.stored) as u64;
        if self.report(result.and_then(|written| written), records) {
            self.small.push((key, block.meta));
            self.stored = self.open.len();
        } else {
            self.open.truncate(self.stored);
        }
        self.retain_when_over();
    }

    /// Ends the open block: stores it whole, in place of the small blocks that have its records.
    fn complete(&mut self) {
        self.waiting_since = None;
        let records = std::mem::replace(&mut self.open, Vec::with_capacity(BLOCK_RECORDS));
        let small = std::mem::take(&mut self.small);
        let new = records.len() - std::mem::take(&mut self.stored);
        self.weight = 0;
        if records.is_empty() || (new == 0 && small.len() == 1) {
            return;
        }
        let block = encode(&records);
        let key = self.next_key();
        let result = self.shared.slot.with(|store| {
            store.write(key, &block, &small)?;
            store.remember(key, records);
            Ok(())
        });
        self.report(result.and_then(|written| written), new as u64);
        self.retain_when_over();
    }

    fn next_key(&mut self) -> Key {
        self.last_key = self.last_key.next();
        self.last_key
    }

    /// Counts what was written or lost; whether it was written.
    fn report(&mut self, result: Result<(), Error>, records: u64) -> bool {
        match result {
            Ok(()) => {
                self.failing = false;
                self.shared.counters.written.fetch_add(records, Ordering::Relaxed);
                true
            }
            Err(error) => {
                self.shared.counters.failed.fetch_add(records, Ordering::Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    let cause = std::error::Error::source(&error).map(tracing::field::display);
                    tracing::error!(%error, cause, records, "records are lost until writing succeeds again");
                }
                false
            }
        }
    }

    fn retain_when_over(&mut self) {
        if self.shared.slot.with(|store| self.retention.is_over(store)).unwrap_or(false) {
            self.retain();
        }
    }

    fn retain(&mut self) {
        self.retained_at = Instant::now();
        let retention = &mut self.retention;
        let result = self.shared.slot.with(|store: &Store| retention.apply(store, Timestamp::now()));
        match result.and_then(|removed| removed) {
            Ok(removed) => {
                self.shared.counters.removed_blocks.fetch_add(removed.blocks, Ordering::Relaxed);
                self.shared.counters.removed_records.fetch_add(removed.records, Ordering::Relaxed);
                self.shared.counters.removed_bytes.fetch_add(removed.bytes, Ordering::Relaxed);
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(tracing::field::display);
                tracing::error!(%error, cause, "old telemetry could not be removed");
            }
        }
    }
}
