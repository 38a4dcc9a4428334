//! What is an event while it travels? A CloudEvents 1.0 envelope, immutable from the moment it is built.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use uuid::Uuid;

/// One event on its way. Names follow CloudEvents 1.0; the extensions are `traceparent`, `causationid`, `rohasversion` and `rohashops`.
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// `id`: UUIDv7 for a root event; for an emit a UUIDv5 of its cause, so that running a handler again yields the same id.
    pub id: Uuid,
    /// `source`: the project and the handler that emitted it.
    pub source: Arc<str>,
    /// `type`: the event's name.
    pub event: Arc<str>,
    /// `subject`: events of one key are handled in order.
    pub key: Option<Arc<str>>,
    /// `time`: when it was published.
    pub time: SystemTime,
    /// `data`: the payload as JSON, already checked against the schema.
    pub data: Bytes,
    /// `traceparent`: the trace it belongs to and the span that caused it.
    pub trace: TraceContext,
    /// `causationid`: the id of the event or request that caused it.
    pub causation: Option<Uuid>,
    /// `rohasversion`: the version of the event's declaration.
    pub version: u32,
    /// `rohashops`: how many events lie between the root stimulus and this one.
    pub hops: u32,
}

impl Envelope {
    /// Bytes that it takes up in memory, about: what bounds of queues count.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.data.len() + self.key.as_ref().map_or(0, |key| key.len())
    }
}

/// W3C trace context: which trace, and which span is the parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// Trace id, never all zero.
    pub trace_id: [u8; 16],
    /// Id of the span under which new spans are to be placed; all zero at the root.
    pub parent: [u8; 8],
}

impl TraceContext {
    /// A context below the same trace with another parent span.
    #[must_use]
    pub fn child_of(self, span: [u8; 8]) -> Self {
        Self { parent: span, ..self }
    }

    /// Reads a `traceparent` header: `00-<trace id>-<parent id>-<flags>`. `None` when it is malformed, as the W3C
    /// recommendation asks for: the receiver then starts a trace of its own.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        Self::parse_or_root(header).filter(|context| context.parent != [0; 8])
    }

    /// As [`TraceContext::parse`], and what [`Display`](fmt::Display) writes at the root, where nothing is the parent. Others pass over that.
    #[must_use]
    pub fn parse_or_root(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known_length = version != "00" || parts.next().is_none();
        if version.len() != 2 || version == "ff" || flags.len() != 2 || !known_length {
            return None;
        }
        let context = Self { trace_id: from_hex(trace)?, parent: from_hex(parent)? };
        (context.trace_id != [0; 16]).then_some(context)
    }
}

/// Writes the `traceparent` header; every trace is recorded, so the sampled flag is set.
impl fmt::Display for TraceContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{}-{}-01", Hex(&self.trace_id), Hex(&self.parent))
    }
}

/// Bytes as lower-case hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for byte in self.0 {
            formatter.write_char(char::from(DIGITS[usize::from(byte >> 4)]))?;
            formatter.write_char(char::from(DIGITS[usize::from(byte & 15)]))?;
        }
        Ok(())
    }
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn traceparent_survives_a_round_trip() {
        assert_eq!(TraceContext::parse(HEADER).unwrap().to_string(), HEADER);
    }

    #[test]
    fn malformed_traceparents_are_refused() {
        for header in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
            "00-ébf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(header), None, "{header}");
        }
    }

    #[test]
    fn the_root_of_a_trace_survives_a_round_trip() {
        let root = TraceContext { trace_id: [1; 16], parent: [0; 8] };
        assert_eq!(TraceContext::parse_or_root(&root.to_string()), Some(root));
        assert_eq!(TraceContext::parse(&root.to_string()), None, "nothing for a request to be below");
        assert_eq!(TraceContext::parse_or_root("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
    }

    #[test]
    fn later_versions_may_carry_more() {
        assert!(TraceContext::parse("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").is_some());
    }
}
