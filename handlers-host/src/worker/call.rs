//! What does the pool remember of a call until it is answered?

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::host::Error as HostError;
use crate::invocation::Invocation;
use crate::outcome::{Finished, LogLevel, LogLine, Outcome};

/// How many lines of one call are kept for its record.
const MAX_LOG_LINES: usize = 1000;
/// How many bytes of one call's lines are kept for its record.
const MAX_LOG_BYTES: usize = 256 << 10;

/// A call, from its arrival in the pool until its answer.
pub(super) struct Call {
    /// Its name at the worker that has it now; 0 while it waits.
    pub(super) id: u64,
    pub(super) invocation: Invocation,
    /// Gone once the caller has its answer; the worker may still be busy with the call.
    pub(super) reply: Option<oneshot::Sender<Finished>>,
    /// When the present worker was given it, if one has it.
    pub(super) offered: Option<Instant>,
    /// It was taken back from a worker that did not begin it in time.
    pub(super) was_slow: bool,
    /// When the caller was told that it took too long.
    pub(super) expired: Option<Instant>,
    logs: Vec<LogLine>,
    log_bytes: usize,
    dropped_logs: u64,
}

impl Call {
    pub(super) fn new(invocation: Invocation, reply: oneshot::Sender<Finished>) -> Self {
        Self {
            id: 0,
            invocation,
            reply: Some(reply),
            offered: None,
            was_slow: false,
            expired: None,
            logs: Vec::new(),
            log_bytes: 0,
            dropped_logs: 0,
        }
    }

    pub(super) fn log(&mut self, level: LogLevel, message: String, fields: Option<String>) {
        let bytes = message.len() + fields.as_ref().map_or(0, String::len);
        if self.logs.len() >= MAX_LOG_LINES || self.log_bytes + bytes > MAX_LOG_BYTES {
            self.dropped_logs += 1;
            return;
        }
        self.log_bytes += bytes;
        self.logs.push(LogLine { at: now_nanos(), level, message, fields });
    }

    /// Answers the caller. A caller that went away is not an error: its request was run to the end all the same.
    pub(super) fn finish(&mut self, result: Result<Outcome, HostError>) {
        if let Some(reply) = self.reply.take() {
            let finished = Finished { result, logs: std::mem::take(&mut self.logs), dropped_logs: self.dropped_logs };
            drop(reply.send(finished));
        }
    }

    pub(super) fn answered(&self) -> bool {
        self.reply.is_none()
    }

    /// Puts its deadline off, if it is patient.
    pub(super) fn put_off(&mut self, now: Instant) -> bool {
        let Some(time) = self.invocation.patient else { return false };
        self.invocation.deadline = now + time;
        true
    }

    /// It runs, and no later than this it began: puts its deadline off for the last time, if it is patient.
    pub(super) fn put_off_end(&mut self, now: Instant) -> bool {
        let patient = self.put_off(now);
        self.invocation.patient = None;
        patient
    }

    /// Whether its deadline has come before its answer.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        !self.answered() && self.invocation.deadline <= now
    }
}

/// Calls that no worker has room for, oldest first.
pub(super) type Waiting = VecDeque<Call>;

fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
