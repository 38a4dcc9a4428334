//! What is emitted after a handler's success, and how? The only place that makes envelopes.
//!
//! Ids follow from the cause, so that running a handler again emits the same events: UUIDv5(cause, handler, event, n).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use rohas_adapters::broker::Publication;
use rohas_adapters::{Envelope, TraceContext};
use rohas_config::schema::shape::{Changed, Fault};
use rohas_handlers_host::Completed;
use rohas_telemetry::{Kind, TraceId};
use serde_json::Value;
use uuid::Uuid;

use crate::control::{PublishOptions, Published};
use crate::recorder::Recorder;
use crate::version::{EventRoute, EventRoutes, Version};

/// Beyond it a point in time could not be expressed everywhere.
const LONGEST_DELAY: Duration = Duration::from_hours(100 * 365 * 24);

/// The source of events that somebody publishes by hand.
const BY_HAND: &str = "rohas events publish";

/// What emits are caused by.
pub(crate) struct Cause<'a> {
    /// Id of the request or event that was handled.
    pub(crate) id: Uuid,
    /// The handler that emits.
    pub(crate) handler: &'a Arc<str>,
    /// The trace, with the handler's span as parent.
    pub(crate) trace: TraceContext,
    /// How many events lie before those emitted.
    pub(crate) hops: u32,
    /// The payload of the event that was handled; forwarded by a handler that returns nothing.
    pub(crate) incoming: Option<&'a Bytes>,
    /// When it happened, which is when the events did.
    pub(crate) time: SystemTime,
    pub(crate) of_nothing: OfNothing,
}

/// What the schema's `triggers:` emit for a handler that returns nothing and sets no payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OfNothing {
    /// `null`, or what was handled; where neither fits, the handler has failed.
    Something,
    /// `null` where it fits, else no event: for cron jobs.
    WhatFits,
    /// No event: for WebSockets.
    NoEvent,
}

/// Why a handler's emits cannot be published. The handler has failed then; nothing is emitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("unknown event {name}; the schema declares {known}")]
    Unknown { name: String, known: String },
    #[error("the payload for {event} does not fit its type: {}", faults_text(.faults))]
    Misfit { event: Arc<str>, faults: Vec<Fault> },
    #[error("the result does not fit the payload of {event}, which the schema triggers: {}; call state.set_payload(\"{event}\", ...) or return what fits", faults_text(.faults))]
    ResultMisfit { event: Arc<str>, faults: Vec<Fault> },
    #[error("the payload for {event} is not JSON: {source}")]
    NotJson { event: Arc<str>, source: serde_json::Error },
    #[error(
        "{hops} events in a row have caused each other, the limit is {limit}; raise events.hop_limit if this is no loop"
    )]
    TooManyHops { hops: u32, limit: u32 },
}

impl Error {
    /// The error body's code.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown_event",
            Self::Misfit { .. } | Self::ResultMisfit { .. } | Self::NotJson { .. } => "invalid_emit",
            Self::TooManyHops { .. } => "hop_limit",
        }
    }
}

fn faults_text(faults: &[Fault]) -> String {
    let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
    text.join("; ")
}

/// All that a handler's success emits: what it triggered itself, in call order, then what the schema triggers and it did not.
pub(crate) fn plan(
    version: &Version,
    completed: &Completed,
    triggers: &[Arc<str>],
    cause: &Cause<'_>,
) -> Result<Vec<Publication>, Error> {
    if completed.emits.is_empty() && triggers.is_empty() {
        return Ok(Vec::new());
    }
    let limit = version.settings.events.hop_limit.get();
    if cause.hops > limit {
        return Err(Error::TooManyHops { hops: cause.hops, limit });
    }
    let mut publications = Vec::with_capacity(completed.emits.len() + triggers.len());
    for emit in &completed.emits {
        let route = route(&version.events, &emit.event)?;
        let data = fit(route, &emit.payload)?;
        let envelope = envelope(route, data, emit.key.as_deref(), cause, publications.len());
        publications.push(publication(route, envelope, emit.due));
    }
    for event in triggers {
        if completed.emits.iter().any(|emit| *emit.event == **event) {
            continue;
        }
        let route = route(&version.events, event)?;
        let Some(data) = automatic_payload(route, completed, cause)? else { continue };
        let envelope = envelope(route, data, None, cause, publications.len());
        publications.push(publication(route, envelope, None));
    }
    Ok(publications)
}

/// An event that somebody publishes by hand.
pub(crate) struct ByHand {
    pub(crate) publication: Publication,
    /// What is said of it.
    pub(crate) published: Published,
    /// Its record, to be finished once it is published.
    pub(crate) recorder: Recorder,
}

/// One event published from outside of handlers; it begins a trace.
pub(crate) fn by_hand(
    routes: &EventRoutes,
    event: &str,
    payload: &Bytes,
    options: &PublishOptions,
) -> Result<ByHand, Error> {
    let route = route(routes, event)?;
    let data = fit(route, payload)?;
    let trace = TraceContext { trace_id: *TraceId::random().as_bytes(), parent: [0; 8] };
    let mut recorder = Recorder::begin(Kind::Publish, &route.name, trace);
    let handler = Arc::from(BY_HAND);
    let cause = Cause {
        id: Uuid::now_v7(),
        handler: &handler,
        trace: recorder.context(),
        hops: 0,
        incoming: None,
        time: SystemTime::now(),
        of_nothing: OfNothing::Something,
    };
    let envelope =
        Envelope { id: cause.id, causation: None, ..envelope(route, data, options.key.as_deref(), &cause, 0) };
    recorder.emits([(Arc::clone(&route.name), cause.id)]);
    let published = Published {
        id: cause.id.to_string(),
        event: event.to_owned(),
        trace_id: TraceId::from_bytes(trace.trace_id).to_string(),
    };
    let delay = Duration::from_millis(options.delay_ms).min(LONGEST_DELAY);
    let due = (!delay.is_zero()).then(|| envelope.time + delay);
    Ok(ByHand { publication: publication(route, envelope, due), published, recorder })
}

fn publication(route: &EventRoute, envelope: Envelope, due: Option<SystemTime>) -> Publication {
    Publication { envelope, due, dedupe: route.delivery.dedupe }
}

pub(crate) fn route<'a>(routes: &'a EventRoutes, name: &str) -> Result<&'a EventRoute, Error> {
    routes.get(name).map(AsRef::as_ref).ok_or_else(|| {
        let mut known: Vec<&str> = routes.keys().map(AsRef::as_ref).collect();
        known.sort_unstable();
        let known = if known.is_empty() { "no events".to_owned() } else { known.join(", ") };
        Error::Unknown { name: name.to_owned(), known }
    })
}

struct Payload {
    data: Bytes,
    value: Value,
}

/// Whether a handler returned nothing.
fn is_nothing(reply: &Bytes) -> bool {
    matches!(&reply[..], b"" | b"null")
}

/// The payload of an event that the schema triggers: `set_payload`'s, else the result as it is when it fits, else its `data`
/// member. A handler of an event that returns nothing passes on what it was given, if that fits. `None` when no event is to be emitted.
fn automatic_payload(route: &EventRoute, completed: &Completed, cause: &Cause<'_>) -> Result<Option<Payload>, Error> {
    if let Some((_, payload)) = completed.sets.iter().find(|(event, _)| **event == *route.name) {
        return fit(route, payload).map(Some);
    }
    // Only a WebSocket's handler returns bytes as they are; what others return is JSON, whatever header they set.
    let bytes = cause.of_nothing == OfNothing::NoEvent && completed.is_binary();
    if cause.of_nothing == OfNothing::NoEvent && !bytes && is_nothing(&completed.reply) {
        return Ok(None);
    }
    let result = if bytes { Value::String(STANDARD.encode(&completed.reply)) } else { parse(route, &completed.reply)? };
    let faults = match check(route, result.clone()) {
        Ok(payload) => return Ok(Some(payload)),
        Err(_) if result.is_null() && cause.of_nothing == OfNothing::WhatFits => return Ok(None),
        Err(faults) => faults,
    };
    let fallback = match (&result, cause.incoming) {
        (Value::Null, Some(incoming)) => Some(parse(route, incoming)?),
        (Value::Object(members), _) => members.get("data").cloned(),
        _ => None,
    };
    fallback
        .and_then(|value| check(route, value).ok())
        .map(Some)
        .ok_or_else(|| Error::ResultMisfit { event: Arc::clone(&route.name), faults })
}

/// What a delivery has, fitted to the event's declaration: for what was published under an older one, or by others. Unchanged data is not copied.
pub(crate) fn refit(route: &EventRoute, data: &Bytes) -> Result<Bytes, Error> {
    let Fitted { json, .. } = fitted(route, data)?;
    Ok(json.unwrap_or_else(|| data.clone()))
}

fn fit(route: &EventRoute, payload: &Bytes) -> Result<Payload, Error> {
    let Fitted { json, value } = fitted(route, payload)?;
    // Copied, because what it is a part of may be a large frame with many replies.
    Ok(Payload { data: json.unwrap_or_else(|| Bytes::copy_from_slice(payload)), value })
}

/// A payload that fits its type.
struct Fitted {
    /// What it has become; `None` when it is what it was.
    json: Option<Bytes>,
    value: Value,
}

/// Fits a payload to its type. Two habits of projects written for the original are understood: a scalar given as the
/// member `payload` or as the only member of an object, and snake_case names for camelCase fields.
fn fitted(route: &EventRoute, payload: &Bytes) -> Result<Fitted, Error> {
    let mut value = parse(route, payload)?;
    let faults = match route.payload.check(&mut value) {
        Ok(Changed::No) if !payload.is_empty() => return Ok(Fitted { json: None, value }),
        Ok(_) => return Ok(Fitted { json: Some(Bytes::from(value.to_string())), value }),
        Err(faults) => faults,
    };
    // The check may have changed parts of a value that does not fit as a whole.
    let other = match parse(route, payload)? {
        Value::Object(members) if route.structured => {
            let members = members.into_iter().map(|(name, value)| (camel_case(&name).into_owned(), value));
            Some(Value::Object(members.collect()))
        }
        Value::Object(mut members) => match members.remove("payload") {
            Some(value) => Some(value),
            None if members.len() == 1 => members.into_iter().next().map(|(_, value)| value),
            None => None,
        },
        _ => None,
    };
    let other = other.and_then(|value| check(route, value).ok());
    other
        .map(|Payload { data, value }| Fitted { json: Some(data), value })
        .ok_or_else(|| Error::Misfit { event: Arc::clone(&route.name), faults })
}

fn parse(route: &EventRoute, json: &Bytes) -> Result<Value, Error> {
    if json.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(json).map_err(|source| Error::NotJson { event: Arc::clone(&route.name), source })
}

fn check(route: &EventRoute, mut value: Value) -> Result<Payload, Vec<Fault>> {
    let _: Changed = route.payload.check(&mut value)?;
    let data = Bytes::from(value.to_string());
    Ok(Payload { data, value })
}

fn envelope(route: &EventRoute, payload: Payload, key: Option<&str>, cause: &Cause<'_>, nth: usize) -> Envelope {
    let name = [&**cause.handler, &*route.name, &*nth.to_string()].join("\n");
    let declared = || route.key.as_ref().and_then(|field| key_text(payload.value.get(field)?));
    Envelope {
        id: Uuid::new_v5(&cause.id, name.as_bytes()),
        source: Arc::clone(cause.handler),
        event: Arc::clone(&route.name),
        key: key.map(Into::into).or_else(declared),
        time: cause.time,
        data: payload.data,
        trace: cause.trace,
        causation: Some(cause.id),
        version: route.version,
        hops: cause.hops,
    }
}

fn key_text(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.as_str().into()),
        other => Some(other.to_string().into()),
    }
}

fn camel_case(name: &str) -> Cow<'_, str> {
    if !name.trim_start_matches('_').contains('_') {
        return Cow::Borrowed(name);
    }
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for character in name.chars() {
        if character == '_' && !camel.is_empty() {
            upper = true;
        } else if upper {
            camel.extend(character.to_uppercase());
            upper = false;
        } else {
            camel.push(character);
        }
    }
    Cow::Owned(camel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snake_case_becomes_camel_case() {
        for (snake, camel) in [("created_at", "createdAt"), ("id", "id"), ("_private", "_private"), ("a_b_c", "aBC")] {
            assert_eq!(camel_case(snake), camel);
        }
    }
}
