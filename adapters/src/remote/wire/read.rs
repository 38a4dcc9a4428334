//! How does a message become an event? Whatever it is, and without ever failing.

use std::str::{self, Utf8Error};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::found::{self, Found, Meaning, UNKNOWN_SOURCE};
use super::name::{Name, TIMESTAMP, TOPIC};
use super::object::{self, Object, Text};
use super::{Incoming, time};
use crate::envelope::{Envelope, TraceContext};

/// A message that says nothing. It is for the dead letters.
#[derive(Debug, thiserror::Error)]
#[error("the message cannot be read: {reason}")]
pub struct Unreadable {
    /// Why.
    pub reason: Reason,
    /// What is to be kept: its data is the body as a JSON string, in base64 if it is no UTF-8.
    pub envelope: Envelope,
}

impl Unreadable {
    /// The code of such a dead letter.
    pub const CODE: &'static str = "unreadable";
}

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Neither the body nor its data is.
    #[error("it is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// Text is UTF-8.
    #[error("its text is not UTF-8: {0}")]
    NotText(#[from] Utf8Error),
    /// `data_base64` is wrong.
    #[error("data_base64 is not base64: {0}")]
    NotBase64(#[from] base64::DecodeError),
    /// Another version of CloudEvents, of which this is the beginning.
    #[error("specversion is {0:?}, only \"1.0\" is understood")]
    SpecVersion(String),
    /// CloudEvents asks for it.
    #[error("the attribute {0} is missing")]
    Missing(&'static str),
    /// Nobody can say which one holds.
    #[error("{0} is there twice")]
    Repeated(&'static str),
    /// Longer than [`MAX_ATTRIBUTE`](super::MAX_ATTRIBUTE).
    #[error("the attribute {name} has {length} bytes, the most is {}", super::MAX_ATTRIBUTE)]
    TooLong {
        /// Which.
        name: &'static str,
        /// In bytes.
        length: usize,
    },
    /// Of another type, or out of range.
    #[error("{name} is not {expected}")]
    Value {
        /// Of what.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Both `data` and `data_base64`.
    #[error("it has both data and data_base64")]
    TwoData,
    /// Batches and formats other than JSON.
    #[error("CloudEvents of this content type are not understood, only application/cloudevents+json is")]
    Format,
}

/// Makes an event of a message, and tells how long another one of its id is to be taken for a copy; `None` where nobody has said so.
///
/// # Errors
/// For messages that cannot be read; the error has what is to be kept of them.
pub fn read(incoming: Incoming, now: SystemTime) -> Result<(Envelope, Option<Duration>), Unreadable> {
    let (meaning, data) = match parse(&incoming) {
        Ok(parsed) => parsed,
        Err(reason) => return Err(Unreadable { reason, envelope: keepsake(incoming, now) }),
    };
    let id = meaning.id.unwrap_or_else(|| new_id(&incoming));
    let envelope = Envelope {
        id,
        source: meaning.source,
        key: meaning.key.or(incoming.key),
        time: meaning.time.or(incoming.time).unwrap_or(now),
        event: incoming.event,
        data,
        trace: meaning.trace.unwrap_or_else(|| root(id)),
        causation: meaning.causation,
        version: meaning.version,
        hops: meaning.hops,
    };
    Ok((envelope, meaning.dedupe))
}

fn parse(incoming: &Incoming) -> Result<(Meaning, Bytes), Reason> {
    let content_type = incoming.content_type.as_deref();
    match content_type.map(essence).as_deref().and_then(|essence| essence.strip_prefix("application/cloudevents")) {
        Some("+json") => return structured(&Object::parse(&incoming.body)?, &incoming.body),
        Some(_) => return Err(Reason::Format),
        None => {}
    }
    if incoming.attribute(Name::SpecVersion.as_str()).is_some() {
        return binary(incoming);
    }
    match Object::parse(&incoming.body) {
        Ok(object) if object.has(&["specversion", "id", "source", "type"]) => structured(&object, &incoming.body),
        Ok(object) if is_original(&object) => original(&object, &incoming.body, Found::default()),
        _ => Ok((Found::default().meaning()?, json(&incoming.body)?)),
    }
}

/// The body is the data, unless the original's `topic` stands beside the attributes and in the body.
fn binary(incoming: &Incoming) -> Result<(Meaning, Bytes), Reason> {
    let found = Found::in_headers(&incoming.attributes)?;
    if let Some(topic) = incoming.attribute(TOPIC)
        && let Ok(object) = Object::parse(&incoming.body)
        && is_original(&object)
        && object.get(TOPIC).is_some_and(|named| is_text(named, topic))
    {
        return original(&object, &incoming.body, found);
    }
    found.check()?;
    let content_type = incoming.content_type.as_deref().or(found.get(Name::DataContentType));
    let data = data(&incoming.body, content_type)?;
    Ok((found.meaning()?, data))
}

fn structured(object: &Object<'_>, body: &Bytes) -> Result<(Meaning, Bytes), Reason> {
    let found = Found::in_object(object)?;
    let given = |name: &str| object.get(name).filter(|value| value.get() != "null");
    let data = match (given("data"), given("data_base64")) {
        (Some(_), Some(_)) => return Err(Reason::TwoData),
        (Some(data), None) => part(body, data)?,
        (None, Some(encoded)) if object::is_string(encoded) => {
            let bytes = BASE64_STANDARD.decode(&*serde_json::from_str::<Text<'_>>(encoded.get())?.0)?;
            data(&bytes.into(), found.get(Name::DataContentType))?
        }
        (None, Some(_)) => return Err(Reason::Value { name: "data_base64", expected: "a string" }),
        (None, None) => NULL,
    };
    Ok((found.meaning()?, data))
}

/// Whether it is `{"topic", "payload", "timestamp"}`, with `metadata` or without.
fn is_original(object: &Object<'_>) -> bool {
    let is_time = |value: &RawValue| object::is_string(value) || object::is_number(value);
    object.get("payload").is_some()
        && object.get(TOPIC).is_some_and(object::is_string)
        && object.get(TIMESTAMP).is_some_and(is_time)
}

/// The attributes are those of the headers, completed by those in the metadata, if there are some.
fn original<'a>(object: &Object<'a>, body: &Bytes, mut found: Found<'a>) -> Result<(Meaning, Bytes), Reason> {
    let metadata = object.get("metadata").and_then(|metadata| Object::parse(metadata.get().as_bytes()).ok());
    if let Some(attributes) = metadata.filter(|metadata| metadata.has(&["specversion"])) {
        found.complete(Found::in_object(&attributes)?);
    }
    if found.get(Name::SpecVersion).is_some() {
        found.check()?;
    }
    let mut meaning = found.meaning()?;
    if meaning.time.is_none() {
        meaning.time = Some(timestamp(object)?);
    }
    Ok((meaning, object.get("payload").map_or(Ok(NULL), |payload| part(body, payload))?))
}

fn timestamp(object: &Object<'_>) -> Result<SystemTime, Reason> {
    let text = object.get(TIMESTAMP).map_or("", |timestamp| timestamp.get().trim_matches('"'));
    let expected = "the seconds since 1970 or a time as of RFC 3339";
    time::parse_original(text).ok_or(Reason::Value { name: TIMESTAMP, expected })
}

const NULL: Bytes = Bytes::from_static(b"null");

/// A body that is the data.
fn data(body: &Bytes, content_type: Option<&str>) -> Result<Bytes, Reason> {
    match content_type.map_or(Content::Json, Content::of) {
        Content::Json => json(body),
        Content::Text => Ok(string(str::from_utf8(body)?)),
        Content::Binary => Ok(string(&BASE64_STANDARD.encode(body))),
    }
}

fn json(body: &Bytes) -> Result<Bytes, Reason> {
    if body.is_empty() {
        return Ok(NULL);
    }
    object::check(body)?;
    // What stands around the value is none of it, and lost when it is a part of another document.
    Ok(body.slice_ref(body.trim_ascii()))
}

/// A value in a body, without a copy.
fn part(body: &Bytes, value: &RawValue) -> Result<Bytes, Reason> {
    json(&body.slice_ref(value.get().as_bytes()))
}

fn string(text: &str) -> Bytes {
    serde_json::Value::from(text).to_string().into()
}

/// What a content type says about data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Json,
    Text,
    Binary,
}

impl Content {
    fn of(content_type: &str) -> Self {
        let essence = essence(content_type);
        match essence.split_once('/') {
            _ if essence.is_empty() => Self::Json,
            Some((_, kind)) if kind == "json" || kind.ends_with("+json") => Self::Json,
            Some((family, kind)) if family == "text" || kind == "xml" || kind.ends_with("+xml") => Self::Text,
            _ => Self::Binary,
        }
    }
}

/// A content type without its parameters.
fn essence(content_type: &str) -> String {
    let essence = content_type.split_once(';').map_or(content_type, |(essence, _)| essence);
    essence.trim().to_ascii_lowercase()
}

fn is_text(value: &RawValue, text: &str) -> bool {
    serde_json::from_str::<Text<'_>>(value.get()).is_ok_and(|value| value.0 == text)
}

fn new_id(incoming: &Incoming) -> Uuid {
    incoming.place.as_ref().map_or_else(Uuid::now_v7, |place| found::of_place(&incoming.event, place))
}

/// A trace that begins here, the same one each time that the message is handed out.
fn root(id: Uuid) -> TraceContext {
    let id = if id.is_nil() { Uuid::now_v7() } else { id };
    TraceContext { trace_id: id.into_bytes(), parent: [0; 8] }
}

fn keepsake(incoming: Incoming, now: SystemTime) -> Envelope {
    let id = new_id(&incoming);
    let data = str::from_utf8(&incoming.body).map_or_else(|_| string(&BASE64_STANDARD.encode(&incoming.body)), string);
    Envelope {
        id,
        source: Arc::from(UNKNOWN_SOURCE),
        event: incoming.event,
        key: incoming.key,
        time: incoming.time.unwrap_or(now),
        data,
        trace: root(id),
        causation: None,
        version: 0,
        hops: 0,
    }
}

impl Incoming {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| **known == *name).map(|(_, value)| &**value)
    }
}
