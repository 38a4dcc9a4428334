//! How do messages, dead letters and subscriptions look to programs? The JSON of the commands' `--json`, described in `docs/reference/json.md`.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rohas_adapters::broker::{self, Status};
use rohas_adapters::{Envelope, TraceContext};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::outbox;

/// An event as CloudEvents 1.0 write it in JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) specversion: String,
    pub(crate) id: Uuid,
    pub(crate) source: String,
    /// The event's name.
    #[serde(rename = "type")]
    pub(crate) event: String,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    /// RFC 3339, in UTC.
    pub(crate) time: String,
    pub(crate) datacontenttype: String,
    pub(crate) traceparent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) causationid: Option<Uuid>,
    pub(crate) rohasversion: u32,
    pub(crate) rohashops: u32,
    pub(crate) data: Box<RawValue>,
}

impl From<&Envelope> for Message {
    fn from(envelope: &Envelope) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id: envelope.id,
            source: envelope.source.to_string(),
            event: envelope.event.to_string(),
            subject: envelope.key.as_deref().map(str::to_owned),
            time: rfc3339(envelope.time),
            datacontenttype: "application/json".to_owned(),
            traceparent: envelope.trace.to_string(),
            causationid: envelope.causation,
            rohasversion: envelope.version,
            rohashops: envelope.hops,
            data: json(&envelope.data),
        }
    }
}

impl Message {
    /// The id under which `rohas traces show` has what became of it.
    pub(crate) fn trace_id(&self) -> Option<String> {
        let trace = TraceContext::parse(&self.traceparent)?;
        Some(rohas_telemetry::TraceId::from_bytes(trace.trace_id).to_string())
    }
}

/// The payload as it is. It was checked when it was published; should it not be JSON after all, it is shown as text.
fn json(data: &[u8]) -> Box<RawValue> {
    let text = String::from_utf8_lossy(data);
    RawValue::from_string(text.clone().into_owned())
        .or_else(|_no_json| serde_json::value::to_raw_value(&text))
        .unwrap_or_default()
}

/// A message that was given up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeadLetter {
    pub(crate) id: Uuid,
    /// When it was given up; RFC 3339, in UTC.
    pub(crate) died_at: String,
    pub(crate) event: String,
    pub(crate) handler: String,
    /// Attempts that counted.
    pub(crate) attempts: u32,
    /// Workers that died while they ran it.
    pub(crate) deaths: u32,
    /// The first failure, of those that the last daemon saw.
    pub(crate) first: Failure,
    pub(crate) last: Failure,
    pub(crate) message: Message,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// RFC 3339, in UTC.
    pub(crate) at: String,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) traceback: Option<String>,
}

impl From<broker::DeadLetter> for DeadLetter {
    fn from(letter: broker::DeadLetter) -> Self {
        Self {
            id: letter.id,
            died_at: rfc3339(made_at(letter.id)),
            event: letter.subscription.event.to_string(),
            handler: letter.subscription.handler.to_string(),
            attempts: letter.obituary.history.attempts,
            deaths: letter.obituary.history.deaths,
            first: letter.obituary.first.into(),
            last: letter.obituary.last.into(),
            message: Message::from(&*letter.envelope),
        }
    }
}

impl From<broker::Failure> for Failure {
    fn from(failure: broker::Failure) -> Self {
        Self { at: rfc3339(failure.at), code: failure.code, message: failure.message, traceback: failure.traceback }
    }
}

/// The section of the settings that an adapter of this name has.
pub(crate) fn section(adapter: &str) -> String {
    if adapter.is_empty() { "adapter".to_owned() } else { format!("adapters.{adapter}") }
}

/// All subscriptions, and what waits to get to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Overview {
    /// By name.
    pub(crate) subscriptions: Vec<Subscription>,
    /// What waits for adapters that are not available, by adapter.
    pub(crate) outbox: Vec<Backlog>,
    /// Adapters whose subscriptions are missing above.
    pub(crate) unavailable: Vec<Unavailable>,
}

/// A page of dead letters.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DeadLetters {
    /// Newest first.
    pub(crate) dead_letters: Vec<DeadLetter>,
    /// Adapters whose dead letters are missing above.
    pub(crate) unavailable: Vec<Unavailable>,
}

/// An adapter that could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unavailable {
    /// Name of the adapter's section, `adapter` or `adapters.NAME`.
    pub(crate) adapter: String,
    pub(crate) reason: String,
}

impl Unavailable {
    pub(crate) fn new(adapter: &str, error: &broker::Error) -> Self {
        let reason = match error {
            broker::Error::Unavailable(cause) => cause.clone(),
            other => other.to_string(),
        };
        Self { adapter: section(adapter), reason }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[{}] is not available: {}", self.adapter, self.reason)
    }
}

/// What requests have emitted and a broker could not take yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backlog {
    /// Name of the adapter's section, `adapter` or `adapters.NAME`.
    pub(crate) adapter: String,
    /// Events that wait.
    pub(crate) length: u64,
    /// Since when the oldest of them waits, in milliseconds.
    pub(crate) age_ms: u64,
    /// Whether the settings have that section; otherwise the events wait until they do.
    pub(crate) configured: bool,
}

impl Backlog {
    pub(crate) fn new(backlog: &outbox::Backlog, now: SystemTime) -> Self {
        let outbox::Backlog { waiting, configured } = backlog;
        let age = now.duration_since(waiting.oldest).unwrap_or_default();
        Self {
            adapter: section(&waiting.broker),
            length: waiting.length,
            age_ms: u64::try_from(age.as_millis()).unwrap_or(u64::MAX),
            configured: *configured,
        }
    }

    pub(crate) fn age(&self) -> Duration {
        Duration::from_millis(self.age_ms)
    }
}

/// How a subscription stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscription {
    pub(crate) event: String,
    pub(crate) handler: String,
    /// Name of the adapter's section, `adapter` or `adapters.NAME`.
    pub(crate) adapter: String,
    /// Whether the schema declares it; otherwise nothing new enters it.
    pub(crate) declared: bool,
    pub(crate) paused: bool,
    /// Published and not yet handed out.
    pub(crate) waiting: u64,
    /// Not yet due.
    pub(crate) delayed: u64,
    /// Handed out and not yet finished.
    pub(crate) in_flight: u64,
    pub(crate) dead_letters: u64,
    /// When the oldest unfinished message was published; RFC 3339, in UTC.
    pub(crate) oldest: Option<String>,
    /// Age of that message, in milliseconds; 0 without one.
    pub(crate) lag_ms: u64,
}

impl Subscription {
    pub(crate) fn new(adapter: &str, status: &Status, now: SystemTime) -> Self {
        let lag = status.oldest.and_then(|oldest| now.duration_since(oldest).ok()).unwrap_or_default();
        Self {
            event: status.subscription.event.to_string(),
            handler: status.subscription.handler.to_string(),
            adapter: section(adapter),
            declared: status.declared,
            paused: status.paused,
            waiting: status.waiting,
            delayed: status.delayed,
            in_flight: status.in_flight,
            dead_letters: status.dead,
            oldest: status.oldest.map(rfc3339),
            lag_ms: u64::try_from(lag.as_millis()).unwrap_or(u64::MAX),
        }
    }

    pub(crate) fn lag(&self) -> Duration {
        Duration::from_millis(self.lag_ms)
    }

    /// Messages that it has not finished.
    pub(crate) fn unfinished(&self) -> u64 {
        self.waiting + self.delayed + self.in_flight
    }
}

/// A line of `rohas events tail --json`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Seen {
    Message(Box<Message>),
    Missed(Missed),
}

/// So many messages came faster than they were read.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Missed {
    pub(crate) missed: u64,
}

impl Seen {
    /// Reads a line; the derived way to read an untagged enum cannot keep a payload as it is.
    pub(crate) fn parse(line: &[u8]) -> serde_json::Result<Self> {
        match serde_json::from_slice::<Missed>(line) {
            Ok(missed) => Ok(Self::Missed(missed)),
            Err(_message) => serde_json::from_slice(line).map(Self::Message),
        }
    }
}

impl From<broker::Seen> for Seen {
    fn from(seen: broker::Seen) -> Self {
        match seen {
            broker::Seen::Message(envelope) => Self::Message(Box::new(Message::from(&*envelope))),
            broker::Seen::Missed(missed) => Self::Missed(Missed { missed }),
        }
    }
}

/// A time in UTC, to the microsecond.
pub(crate) fn rfc3339(time: SystemTime) -> String {
    humantime::format_rfc3339_micros(time).to_string()
}

/// When a UUIDv7 was made; 1970 for any other.
fn made_at(id: Uuid) -> SystemTime {
    let (seconds, nanos) = id.get_timestamp().map(|timestamp| timestamp.to_unix()).unwrap_or_default();
    UNIX_EPOCH + Duration::new(seconds, nanos)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;

    fn envelope(data: &'static str) -> Envelope {
        Envelope {
            id: Uuid::from_u128(7),
            source: "shop".into(),
            event: "Sold".into(),
            key: Some("k".into()),
            time: UNIX_EPOCH + Duration::from_secs(1),
            data: Bytes::from_static(data.as_bytes()),
            trace: TraceContext { trace_id: [1; 16], parent: [2; 8] },
            causation: None,
            version: 1,
            hops: 2,
        }
    }

    #[test]
    fn a_message_is_a_cloud_event_with_its_payload_untouched() {
        let message = Message::from(&envelope(r#"{"b": 1.10, "a": [1]}"#));
        let text = serde_json::to_string(&message).unwrap();
        assert!(text.ends_with(r#""rohashops":2,"data":{"b": 1.10, "a": [1]}}"#), "{text}");
        assert!(text.starts_with(r#"{"specversion":"1.0","id":"00000000-0000-0000-0000-000000000007","source":"shop","type":"Sold","subject":"k","time":"1970-01-01T00:00:01.000000Z""#), "{text}");
        let read: Message = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert_eq!(read.trace_id().unwrap(), "01".repeat(16));
    }

    #[test]
    fn what_is_not_json_is_shown_as_text() {
        assert_eq!(Message::from(&envelope("half \"")).data.get(), r#""half \"""#);
    }

    #[test]
    fn a_line_of_a_tail_is_told_apart() {
        let missed = Seen::parse(br#"{"missed":3}"#).unwrap();
        assert!(matches!(missed, Seen::Missed(Missed { missed: 3 })));
        let line = serde_json::to_string(&Seen::Message(Box::new(Message::from(&envelope("1"))))).unwrap();
        assert!(matches!(Seen::parse(line.as_bytes()).unwrap(), Seen::Message(_)), "{line}");
    }

    #[test]
    fn lag_is_the_age_of_the_oldest_unfinished_message() {
        let subscription = broker::Subscription { event: Arc::from("E"), handler: Arc::from("h") };
        let now = UNIX_EPOCH + Duration::from_secs(100);
        let mut status = Status {
            subscription,
            declared: true,
            paused: false,
            waiting: 1,
            delayed: 2,
            in_flight: 3,
            dead: 4,
            oldest: Some(now - Duration::from_millis(1500)),
        };
        let shown = Subscription::new("orders", &status, now);
        assert_eq!((shown.lag_ms, shown.unfinished(), shown.adapter.as_str()), (1500, 6, "adapters.orders"));
        status.oldest = None;
        assert_eq!(Subscription::new("", &status, now).lag_ms, 0);
    }
}
