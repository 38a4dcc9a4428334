//! How does an event become a message?

use std::array;
use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;

use super::name::{Name, PACKED, SPEC_VERSION, TIMESTAMP, TOPIC};
use super::{JSON, Outgoing, text, time};

/// The attributes of an event in binary mode.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(array::IntoIter<Option<(&'static str, Cow<'a, str>)>, 11>);

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'static str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.find_map(|attribute| attribute)
    }
}

/// The CloudEvents attributes by their names, each once: what a broker with headers has beside the data, whose content type is [`JSON`].
#[must_use]
pub fn attributes(outgoing: &Outgoing) -> Attributes<'_> {
    let Outgoing { envelope, dedupe } = outgoing;
    let owned = |name: Name, text: String| Some((name.as_str(), Cow::Owned(text)));
    let borrowed = |name: Name, text| Some((name.as_str(), Cow::Borrowed(text)));
    let all = [
        borrowed(Name::SpecVersion, SPEC_VERSION),
        owned(Name::Id, envelope.id.to_string()),
        Some((Name::Source.as_str(), source(outgoing))),
        borrowed(Name::Type, &envelope.event),
        envelope.key.as_deref().and_then(|key| borrowed(Name::Subject, key)),
        owned(Name::Time, time::rfc3339(envelope.time)),
        owned(Name::TraceParent, envelope.trace.to_string()),
        envelope.causation.and_then(|id| owned(Name::CausationId, id.to_string())),
        // What others sent stays theirs when it is passed on.
        (envelope.version > 0).then(|| envelope.version.to_string()).and_then(|version| owned(Name::Version, version)),
        owned(Name::Hops, envelope.hops.to_string()),
        milliseconds(*dedupe).and_then(|dedupe| owned(Name::Dedupe, dedupe)),
    ];
    Attributes(all.into_iter())
}

/// The same and the original's `topic` and `timestamp` as at most ten message attributes, by their whole names, for brokers that allow no more. The body
/// is that of [`original`]. None of them is empty; what their broker cannot carry may be left out: the body has it too.
#[must_use]
pub fn compact(outgoing: &Outgoing) -> Vec<(&'static str, Cow<'_, str>)> {
    let mut packed = String::new();
    let mut compact = vec![
        (TOPIC, Cow::Borrowed(&*outgoing.envelope.event)),
        (TIMESTAMP, Cow::Owned(time::seconds(outgoing.envelope.time).to_string())),
    ];
    for (name, value) in attributes(outgoing) {
        let whole = match name {
            "specversion" => "ce-specversion",
            "id" => "ce-id",
            "source" => "ce-source",
            "type" => "ce-type",
            "subject" => "ce-subject",
            "time" => "ce-time",
            "traceparent" => "traceparent",
            other => {
                let separator = if packed.is_empty() { "" } else { ";" };
                let other = other.strip_prefix(PACKED).unwrap_or(other);
                packed.extend([separator, other, "=", &value]);
                continue;
            }
        };
        if !value.is_empty() {
            compact.push((whole, value));
        }
    }
    compact.push((PACKED, Cow::Owned(packed)));
    compact
}

/// The event as one JSON document, for brokers without headers. Its content type is [`CLOUD_EVENTS_JSON`](super::CLOUD_EVENTS_JSON).
#[must_use]
pub fn structured(outgoing: &Outgoing) -> Bytes {
    let mut json = Json::with_room_for(outgoing);
    json.begin();
    json.attributes(outgoing);
    json.member(Name::DataContentType.as_str(), JSON);
    json.raw("data", data(outgoing));
    json.end()
}

/// The event as the original writes it, `{"topic", "payload", "timestamp", "metadata"}`, with the attributes as metadata.
#[must_use]
pub fn original(outgoing: &Outgoing) -> Bytes {
    let mut json = Json::with_room_for(outgoing);
    json.begin();
    json.member(TOPIC, &outgoing.envelope.event);
    json.raw("payload", data(outgoing));
    json.member(TIMESTAMP, &time::seconds(outgoing.envelope.time).to_string());
    json.name("metadata");
    json.begin();
    json.attributes(outgoing);
    json.0.push(b'}');
    json.end()
}

/// What others sent is passed on as it came; ours may be any text.
fn source(outgoing: &Outgoing) -> Cow<'_, str> {
    let source = &*outgoing.envelope.source;
    if outgoing.envelope.version == 0 { Cow::Borrowed(source) } else { text::uri(source) }
}

/// A window that is not zero is at least a millisecond.
fn milliseconds(window: Duration) -> Option<String> {
    (!window.is_zero()).then(|| window.as_millis().clamp(1, u64::MAX.into()).to_string())
}

fn data(outgoing: &Outgoing) -> &[u8] {
    if outgoing.envelope.data.is_empty() { b"null" } else { &outgoing.envelope.data }
}

/// Objects with text and with JSON that is there already.
struct Json(Vec<u8>);

impl Json {
    fn with_room_for(outgoing: &Outgoing) -> Self {
        Self(Vec::with_capacity(outgoing.envelope.size() + 512))
    }

    fn begin(&mut self) {
        self.0.push(b'{');
    }

    fn name(&mut self, name: &'static str) {
        if !self.0.ends_with(b"{") {
            self.0.push(b',');
        }
        self.text(name);
        self.0.push(b':');
    }

    fn member(&mut self, name: &'static str, value: &str) {
        self.name(name);
        self.text(value);
    }

    fn raw(&mut self, name: &'static str, json: &[u8]) {
        self.name(name);
        self.0.extend_from_slice(json);
    }

    fn attributes(&mut self, outgoing: &Outgoing) {
        for (name, value) in attributes(outgoing) {
            self.member(name, &value);
        }
    }

    fn text(&mut self, text: &str) {
        let written = text.serialize(&mut serde_json::Serializer::new(&mut self.0));
        debug_assert!(written.is_ok(), "text can always be written to memory");
    }

    fn end(mut self) -> Bytes {
        self.0.push(b'}');
        self.0.into()
    }
}
