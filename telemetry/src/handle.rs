//! How does the daemon record and ask? Through a handle that is cheap to clone; recording never waits, asking may.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::service::Shared;
use crate::store::Store;
use crate::{Error, Filter, Listing, Options, Record, Removed, TraceId, Tree};

/// Records and queries; clones share one writer.
///
/// Queries read the disk: call them on a thread that may block. They see everything that was recorded before, because they first have the
/// writer store it.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    traces: bool,
    logs: bool,
}

/// What became of the records since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Records on the disk.
    pub written: u64,
    /// Records that were dropped because the writer was too far behind.
    pub dropped: u64,
    /// Records that the disk refused.
    pub failed: u64,
    /// What the retention removed.
    pub removed: Removed,
    /// Size of all stored blocks, older ones included.
    pub stored_bytes: u64,
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, options: &Options) -> Self {
        Self { shared, traces: options.traces, logs: options.logs }
    }

    /// Hands a record to the writer. Never blocks: when the writer is too far behind, the record is dropped and counted.
    pub fn record(&self, record: Record) {
        if self.traces {
            self.shared.inbox.push(record);
        }
    }

    /// Whether anything is recorded; when not, nothing need be collected.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.traces
    }

    /// Whether log lines are recorded.
    #[must_use]
    pub fn keeps_logs(&self) -> bool {
        self.traces && self.logs
    }

    /// How many records were dropped since the start because the writer was too far behind.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.inbox.dropped()
    }

    /// What became of the records since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            written: read(&self.shared.counters.written),
            dropped: self.dropped(),
            failed: read(&self.shared.counters.failed),
            removed: Removed {
                blocks: read(&self.shared.counters.removed_blocks),
                records: read(&self.shared.counters.removed_records),
                bytes: read(&self.shared.counters.removed_bytes),
            },
            stored_bytes: self.shared.slot.with(Store::bytes).unwrap_or_default(),
        }
    }

    /// Waits until everything that was recorded before is written.
    ///
    /// # Errors
    /// [`Error::Closed`] after the shutdown.
    pub fn flush(&self) -> Result<(), Error> {
        self.shared.inbox.request_flush().recv().map_err(|_closed| Error::Closed)
    }

    /// The newest entries that pass the filter.
    ///
    /// # Errors
    /// [`Error::Read`] when the list of blocks cannot be read, [`Error::Closed`] after the shutdown.
    pub fn list(&self, filter: &Filter) -> Result<Listing, Error> {
        self.flush()?;
        self.shared.slot.with(|store| store.list(filter))?
    }

    /// Everything that is recorded of one trace; the tree is empty when there is nothing.
    ///
    /// # Errors
    /// As [`Handle::list`].
    pub fn trace(&self, id: TraceId) -> Result<Tree, Error> {
        self.flush()?;
        self.shared.slot.with(|store| store.trace(id))?
    }

    /// The one trace whose id begins with `prefix`, at least four hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::InvalidPrefix`], [`Error::UnknownTrace`] and [`Error::AmbiguousTrace`] when there is no such one; else as [`Handle::list`].
    pub fn find(&self, prefix: &str) -> Result<TraceId, Error> {
        self.flush()?;
        self.shared.slot.with(|store| store.find(prefix))?
    }
}
