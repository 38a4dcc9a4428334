//! How does the daemon record? Through a handle that is cheap to clone and never waits.

use std::sync::Arc;

use crate::Record;
use crate::inbox::Inbox;

/// Records and queries; clones share one writer.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) traces: bool,
    pub(crate) logs: bool,
}

impl Handle {
    /// Hands a record to the writer. Never blocks: when the writer is too far behind, the record is dropped and counted.
    pub fn record(&self, record: Record) {
        if self.traces {
            self.inbox.push(record);
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
        self.inbox.dropped()
    }
}
