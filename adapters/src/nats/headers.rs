//! What does an event look like as a message of NATS? CloudEvents in binary mode: attributes are headers that begin with `ce-`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::header::{HeaderMap, NATS_MESSAGE_ID};
use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderValue, Message};

use crate::broker::{DeadLetter, Failure};
use crate::remote::wire::{self, Incoming, Outgoing};

const CONTENT_TYPE: &str = "content-type";

/// Headers must stay far below what a message may have in all.
const LONGEST_REASON: usize = 1024;

/// The message of an event. Its id lets the server drop copies, unless copies are wanted.
pub(super) fn message(outgoing: &Outgoing) -> PublishMessage {
    let mut headers = attributes(outgoing);
    if !outgoing.dedupe.is_zero() {
        headers.insert(NATS_MESSAGE_ID, value(&outgoing.envelope.id.to_string()));
    }
    PublishMessage::build().payload(outgoing.envelope.data.clone()).headers(headers)
}

/// The message of a dead letter: that of its event, and why it is dead.
pub(super) fn dead(letter: &DeadLetter) -> PublishMessage {
    let outgoing = Outgoing { envelope: (*letter.envelope).clone(), dedupe: Duration::ZERO };
    let mut headers = attributes(&outgoing);
    let Failure { code, message, .. } = &letter.obituary.last;
    headers.insert(NATS_MESSAGE_ID, value(&letter.id.to_string()));
    headers.insert("Rohas-Dead-Letter", value(&letter.id.to_string()));
    headers.insert("Rohas-Handler", value(&letter.subscription.handler));
    headers.insert("Rohas-Attempts", value(&letter.obituary.history.attempts.to_string()));
    headers.insert("Rohas-Code", value(code));
    headers.insert("Rohas-Reason", value(beginning(message)));
    PublishMessage::build().payload(outgoing.envelope.data).headers(headers)
}

fn attributes(outgoing: &Outgoing) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, text) in wire::attributes(outgoing) {
        headers.insert(format!("ce-{name}"), value(&text));
    }
    headers.insert(CONTENT_TYPE, wire::JSON);
    headers
}

/// Encoded text has no line ends, so it is always a value.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from(&*wire::encoded(text))
}

fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_REASON)]
}

/// A message that a consumer has handed out, without what it was handed out as.
pub(super) fn incoming(event: Arc<str>, message: Message, mark: Option<&Mark>) -> Incoming {
    let mut incoming = Incoming {
        event,
        body: message.payload,
        time: mark.map(|mark| mark.time),
        place: mark.map(|mark| mark.place.as_str().into()),
        ..Incoming::default()
    };
    for (name, values) in message.headers.iter().flat_map(HeaderMap::iter) {
        let name: &str = name.as_ref();
        if name.eq_ignore_ascii_case(CONTENT_TYPE) {
            incoming.content_type = values.first().map(|value| value.as_str().into());
        } else if let Some(attribute) = attribute(name) {
            let values = values.iter().map(|value| (attribute.clone(), wire::decoded(value.as_str()).into()));
            incoming.attributes.extend(values);
        }
    }
    incoming
}

fn attribute(header: &str) -> Option<Box<str>> {
    let (prefix, name) = header.split_at_checked(3)?;
    prefix.eq_ignore_ascii_case("ce-").then(|| name.to_ascii_lowercase().into())
}

/// What the server says of a message that it hands out, in the subject where it wants to hear of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its stream and its number there.
    pub(super) place: String,
    /// When it was published.
    pub(super) time: SystemTime,
    /// How many come after it.
    pub(super) pending: u64,
}

impl Mark {
    /// `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>`, or with a domain and an account before the stream, as newer
    /// servers may have it.
    pub(super) fn read(reply: &str) -> Option<Self> {
        let tokens: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
        let tokens = match tokens.len() {
            7 => tokens.as_slice(),
            9.. => &tokens[2..],
            _ => return None,
        };
        let &[stream, _, _, sequence, _, time, pending, ..] = tokens else { return None };
        Some(Self {
            place: format!("{stream}/{sequence}"),
            time: UNIX_EPOCH + Duration::from_nanos(time.parse().ok()?),
            pending: pending.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_in_both_forms() {
        let mark = Mark { place: "S/100".to_owned(), time: UNIX_EPOCH + Duration::from_nanos(17), pending: 42 };
        assert_eq!(Mark::read("$JS.ACK.S.c.3.100.7.17.42"), Some(mark));
        assert_eq!(Mark::read("$JS.ACK._.hash.S.c.3.100.7.17.42").map(|mark| mark.place).as_deref(), Some("S/100"));
        assert_eq!(Mark::read("$JS.ACK.hub.hash.S.c.3.100.7.17.42.random").map(|mark| mark.pending), Some(42));
        assert_eq!(Mark::read("$JS.ACK.S.c.3.100"), None);
        assert_eq!(Mark::read("_INBOX.x"), None);
    }

    #[test]
    fn attributes_are_known_in_any_case() {
        assert_eq!(attribute("Ce-Id").as_deref(), Some("id"));
        assert_eq!(attribute("ce-traceparent").as_deref(), Some("traceparent"));
        assert_eq!(attribute("cé"), None);
        assert_eq!(attribute("Nats-Msg-Id"), None);
    }
}
