//! What is recorded of one invocation? Everything a person asks about it afterwards.
//!
//! The serde shape of these types is the JSON of `rohas traces --json` and of the trace API; how they are stored is
//! `block`'s business. Names are `Arc<str>` because a daemon has few of them and records thousands a second.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::json;
use crate::{EventId, SpanId, TraceId};

/// A point in time: nanoseconds since 1970-01-01 in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The present, as the wall clock has it.
    #[must_use]
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    /// That many nanoseconds since 1970.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This point moved into the past; 1970 at the earliest.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// This point moved into the future.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl From<SystemTime> for Timestamp {
    /// Times before 1970 become 1970: a clock that wrong is no reason to lose the record.
    fn from(time: SystemTime) -> Self {
        Self(nanos(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

/// Whole nanoseconds; durations of more than 584 years are cut.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A name that none of the known values has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{name}`: expected one of {known}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    known: String,
}

/// An enum that is stored as its position and shown as its name. New values go to the end: stored blocks hold positions.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident, $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)+ }

        impl $name {
            /// All values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in JSON and on the command line.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            pub(crate) const fn code(self) -> u8 {
                self as u8
            }

            pub(crate) fn from_code(code: u8) -> Option<Self> {
                Self::ALL.get(usize::from(code)).copied()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(name: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name).ok_or_else(|| UnknownName {
                    what: $what,
                    name: name.to_owned(),
                    known: [$($text),+].join(", "),
                })
            }
        }
    };
}

named! {
    /// What caused an invocation.
    Kind, "kind" {
        /// An HTTP request to an api.
        Request = "request",
        /// An event that was delivered to one handler; each attempt is a record.
        Delivery = "delivery",
        /// A cron job that was due.
        CronRun = "cron_run",
        /// A client that opened a WebSocket.
        WebSocketConnect = "websocket_connect",
        /// A message from a WebSocket client.
        WebSocketMessage = "websocket_message",
        /// A WebSocket that was closed.
        WebSocketDisconnect = "websocket_disconnect",
        /// An event published from outside of handlers, as by `rohas events publish`: the root of its deliveries.
        Publish = "publish",
    }
}

impl Kind {
    /// Whether records of this kind are lines of the traces list.
    #[must_use]
    pub const fn is_entry(self) -> bool {
        !matches!(self, Self::Publish)
    }
}

named! {
    /// How an invocation ended.
    Status, "status" {
        /// It was done.
        Ok = "ok",
        /// It was refused, before the handler or by it, and trying again makes no sense: bad input, a typed error, `Reject`.
        Rejected = "rejected",
        /// The handler raised an exception, or what it returned could not be used.
        Failed = "failed",
        /// It missed its deadline.
        TimedOut = "timed_out",
        /// The worker died while running it.
        Crashed = "crashed",
        /// It was given up because its caller went away or the daemon stopped.
        Cancelled = "cancelled",
        /// The handler asked to be run again later.
        Retrying = "retrying",
        /// There was no room for it: limits or a full queue.
        Busy = "busy",
    }
}

named! {
    /// A part of the way that an invocation takes.
    Phase, "phase" {
        /// Waiting for a free slot, lane or worker.
        Queue = "queue",
        /// Checking and transforming the input.
        Validate = "validate",
        /// One middleware; the span has its name.
        Middleware = "middleware",
        /// The handler itself.
        Handler = "handler",
        /// Making what it emitted durable.
        Publish = "publish",
        /// Writing the answer.
        Reply = "reply",
    }
}

named! {
    /// How important a log line is, or where a printed line came from.
    Level, "level" {
        /// `state.logger.trace`
        Trace = "trace",
        /// `state.logger.debug`
        Debug = "debug",
        /// `state.logger.info`
        Info = "info",
        /// `state.logger.warn`
        Warn = "warn",
        /// `state.logger.error`
        Error = "error",
        /// The handler printed it.
        Stdout = "stdout",
        /// The handler wrote it to stderr.
        Stderr = "stderr",
    }
}

/// What is known of one invocation once it has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The record that caused it, which may be in another process or missing; `None` at a root.
    #[serde(rename = "parent_span_id", default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SpanId>,
    /// What caused it.
    pub kind: Kind,
    /// Name of the api, event, cron job or WebSocket.
    pub name: Arc<str>,
    /// The handler that ran or would have run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<Arc<str>>,
    /// Which attempt it was, counted from 1.
    pub attempt: u32,
    /// How it ended.
    pub status: Status,
    /// When it began.
    #[serde(with = "json::timestamp")]
    pub started_at: Timestamp,
    /// How long it took.
    #[serde(rename = "duration_ms", with = "json::milliseconds")]
    pub duration: Duration,
    /// The HTTP side of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// The schedule's side of a run of a cron job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<Cron>,
    /// The event that was delivered or published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
    /// Why it did not end well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    /// Its parts, in the order in which they began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// Its log lines, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<Log>,
    /// The events it emitted, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emits: Vec<Emit>,
}

impl Record {
    /// A first attempt that starts now and went well, to be filled in.
    #[must_use]
    pub fn new(kind: Kind, name: Arc<str>, trace_id: TraceId, span_id: SpanId) -> Self {
        Self {
            trace_id,
            span_id,
            parent: None,
            kind,
            name,
            handler: None,
            attempt: 1,
            status: Status::Ok,
            started_at: Timestamp::now(),
            duration: Duration::ZERO,
            http: None,
            cron: None,
            event_id: None,
            error: None,
            spans: Vec::new(),
            logs: Vec::new(),
            emits: Vec::new(),
        }
    }

    /// When it ended.
    #[must_use]
    pub fn ended_at(&self) -> Timestamp {
        self.started_at.after(self.duration)
    }

    /// About how many bytes it holds, without those that every record has: what user code can make large.
    pub(crate) fn weight(&self) -> usize {
        let logs =
            self.logs.iter().map(|log| log.message.len() + log.fields.as_ref().map_or(0, |text| text.len()) + 48);
        let error = self
            .error
            .as_ref()
            .map_or(0, |error| error.message.len() + error.traceback.as_ref().map_or(0, |text| text.len()));
        logs.sum::<usize>() + error + self.emits.len() * 40 + self.spans.len() * 40
    }
}

/// The HTTP side of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// `GET`, `POST`, ...
    pub method: Arc<str>,
    /// The path as declared, with its parameters' names (`/orders/{id}`); as requested when no api has it.
    pub path: Arc<str>,
    /// The answer's status.
    pub status: u16,
}

/// The schedule's side of a run of a cron job, whose name is the record's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cron {
    /// The schedule as declared.
    pub schedule: Arc<str>,
    /// The time for which it ran, which is not when it began.
    #[serde(with = "json::timestamp")]
    pub slot: Timestamp,
}

/// Why an invocation did not end well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The exception's class or our code (`ValueError`, `timeout`).
    #[serde(rename = "type")]
    pub kind: Arc<str>,
    /// What it says.
    pub message: Box<str>,
    /// Where it was raised, as the language prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceback: Option<Box<str>>,
}

/// One part of an invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Which part.
    pub phase: Phase,
    /// The middleware's name; `None` for parts that exist once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// When it began, counted from the record's beginning.
    #[serde(rename = "offset_ms", with = "json::milliseconds")]
    pub offset: Duration,
    /// How long it took.
    #[serde(rename = "duration_ms", with = "json::milliseconds")]
    pub duration: Duration,
}

/// One log line of a handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// When it was written, counted from the record's beginning.
    #[serde(rename = "offset_ms", with = "json::milliseconds")]
    pub offset: Duration,
    /// How important it is.
    pub level: Level,
    /// What it says.
    pub message: Box<str>,
    /// Its fields: a JSON object as text.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "json::embedded")]
    pub fields: Option<Box<str>>,
}

/// One event that an invocation emitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emit {
    /// The event's name.
    pub event: Arc<str>,
    /// Its id, which its deliveries have too.
    pub id: EventId,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Record {
        Record {
            parent: Some(SpanId::random()),
            handler: Some("create_user".into()),
            status: Status::Failed,
            started_at: Timestamp::from_nanos(1_790_000_000_123_456_789),
            duration: Duration::from_nanos(12_345_678),
            http: Some(Http { method: "POST".into(), path: "/users".into(), status: 500 }),
            cron: Some(Cron { schedule: "0 2 * * *".into(), slot: Timestamp::from_nanos(1_790_000_000_000_000_000) }),
            event_id: Some("order-7".into()),
            error: Some(Failure { kind: "ValueError".into(), message: "no".into(), traceback: Some("line 3".into()) }),
            spans: vec![Span {
                phase: Phase::Middleware,
                name: Some("auth".into()),
                offset: Duration::from_nanos(1),
                duration: Duration::from_micros(7),
            }],
            logs: vec![Log {
                offset: Duration::from_millis(3),
                level: Level::Warn,
                message: "slow".into(),
                fields: Some(r#"{"n":1}"#.into()),
            }],
            emits: vec![Emit { event: "UserCreated".into(), id: uuid::Uuid::nil().into() }],
            ..Record::new(Kind::Request, "CreateUser".into(), TraceId::random(), SpanId::random())
        }
    }

    #[test]
    fn json_loses_nothing() {
        let record = full();
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record, "{text}");
        let plain = Record::new(Kind::CronRun, "Nightly".into(), TraceId::random(), SpanId::random());
        let text = serde_json::to_string(&plain).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), plain, "{text}");
    }

    #[test]
    fn json_has_times_and_fields_that_programs_can_use() {
        let value = serde_json::to_value(full()).unwrap();
        assert_eq!(value["started_at"], "2026-09-21T14:13:20.123456789Z");
        assert_eq!(value["duration_ms"], 12.345_678);
        assert_eq!(value["logs"][0]["fields"]["n"], 1);
        assert_eq!(value["error"]["type"], "ValueError");
        assert_eq!(value["cron"], serde_json::json!({"schedule": "0 2 * * *", "slot": "2026-09-21T14:13:20Z"}));
    }

    #[test]
    fn names_parse_back_and_unknown_ones_list_the_known() {
        for kind in Kind::ALL {
            assert_eq!(kind.as_str().parse::<Kind>().as_ref(), Ok(kind));
            assert_eq!(Kind::from_code(kind.code()).as_ref(), Some(kind));
        }
        let error = "bad".parse::<Status>().unwrap_err().to_string();
        assert!(error.starts_with("unknown status `bad`: expected one of ok, rejected,"), "{error}");
    }
}
