//! What can come of a call?

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::host::Error as HostError;

/// The end of a call, with what the handler wrote while it ran.
#[derive(Debug)]
pub struct Finished {
    /// What came of it, or why nothing came of it.
    pub result: Result<Outcome, HostError>,
    /// What it logged and printed, in order; bounded.
    pub logs: Vec<LogLine>,
    /// Lines left out of `logs` beyond its bound.
    pub dropped_logs: u64,
}

/// What came of a call.
#[derive(Debug)]
pub enum Outcome {
    /// The handler returned.
    Completed(Completed),
    /// The handler said that trying again makes no sense.
    Rejected(HandlerError),
    /// The handler raised an error.
    Failed(HandlerError),
    /// The handler asked to be run again.
    Retry {
        /// Not before this has passed.
        after: Duration,
        /// What it said.
        error: HandlerError,
    },
}

/// What a handler that returned has left.
#[derive(Debug, Default)]
pub struct Completed {
    /// HTTP status that the handler chose.
    pub status: Option<u16>,
    /// HTTP headers that the handler set.
    pub headers: Vec<(String, String)>,
    /// What it returned, as JSON unless [`Completed::is_binary`].
    pub reply: Bytes,
    /// Its calls of `trigger_event`, in order.
    pub emits: Vec<Emit>,
    /// Its last `set_payload` per event.
    pub sets: Vec<(String, Bytes)>,
    /// Whether this is another answer than the one that it was shown, for what runs after a handler.
    pub replaces: bool,
}

impl Completed {
    /// Whether a WebSocket's handler returned bytes, for a binary frame: the reply is those, and not JSON.
    #[must_use]
    pub fn is_binary(&self) -> bool {
        self.headers.iter().any(|(name, value)| name == "content-type" && value == "application/octet-stream")
    }
}

/// One call of `trigger_event`.
#[derive(Debug, Clone)]
pub struct Emit {
    /// Event name.
    pub event: String,
    /// Key given in the call.
    pub key: Option<String>,
    /// When it is to become visible, computed at the call; at once when this is `None` or past.
    pub due: Option<SystemTime>,
    /// Payload as JSON.
    pub payload: Bytes,
}

/// How an error of a handler is to be treated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// An event is tried again.
    #[default]
    Failed,
    /// An event goes to the dead letters at once.
    Rejected,
    /// Run again after `retry_after_ms`.
    Retry,
    /// The answer to a cancel.
    Cancelled,
}

/// An error that a handler raised, as its worker describes it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandlerError {
    /// How it is to be treated.
    pub class: Class,
    /// Stable code for programs, where the error has one.
    pub code: Option<String>,
    /// Name of the exception's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The exception's message.
    pub message: String,
    /// HTTP status, where the error has one.
    pub status: Option<u16>,
    /// Further particulars for the caller.
    pub details: Option<serde_json::Value>,
    /// Wait so long before the next try.
    pub retry_after_ms: Option<u64>,
    /// The handler meant the caller to see this message.
    pub expected: bool,
    /// Traceback in the language's own form.
    pub traceback: Option<String>,
    /// Project file in which it was raised.
    pub file: Option<String>,
    /// Line in that file.
    pub line: Option<u32>,
}

/// One line that a handler logged or printed.
#[derive(Debug, Clone, PartialEq)]
pub struct LogLine {
    /// When the daemon received it, in nanoseconds since the Unix epoch.
    pub at: u64,
    /// Severity, or the stream it was printed on.
    pub level: LogLevel,
    /// Text.
    pub message: String,
    /// JSON object with the fields given to the logger.
    pub fields: Option<String>,
}

/// Severity of a [`LogLine`], or the stream on which it was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// `logger.trace`
    Trace,
    /// `logger.debug`
    Debug,
    /// `logger.info`
    Info,
    /// `logger.warn`
    Warn,
    /// `logger.error`
    Error,
    /// Printed on standard output.
    Stdout,
    /// Printed on standard error.
    Stderr,
}

impl LogLevel {
    /// The word the worker protocol uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }

    /// Reads the word the worker protocol uses.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Stdout, Self::Stderr]
            .into_iter()
            .find(|level| level.as_str() == word)
    }
}
