//! How are numbers, texts and envelopes written as bytes? Little: variable-length numbers, lengths before texts, flags for what is the same as before.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use uuid::Uuid;

use crate::envelope::{Envelope, TraceContext};

const HAS_KEY: u8 = 1;
const HAS_CAUSATION: u8 = 2;
const SAME_SOURCE: u8 = 4;

/// Nanoseconds since 1970; times before it count as 1970.
pub(super) fn to_nanos(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, duration_nanos)
}

pub(super) fn from_nanos(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}

pub(super) fn duration_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// About how many bytes an envelope takes when stored.
pub(super) fn weight(envelope: &Envelope) -> u64 {
    let texts = envelope.source.len() + envelope.event.len() + envelope.key.as_ref().map_or(0, |key| key.len());
    (envelope.data.len() + texts + 96) as u64
}

/// Adds the CRC-32 of everything written so far.
pub(super) fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// What was sealed, when the sum is right.
pub(super) fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (body, sum) = bytes.split_last_chunk::<4>()?;
    (crc32fast::hash(body) == u32::from_le_bytes(*sum)).then_some(body)
}

pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// What neighbouring envelopes mostly have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    source: Option<Arc<str>>,
}

/// Writes an envelope without its id and event, which stand elsewhere.
pub(super) fn put_envelope(out: &mut Vec<u8>, context: &mut Context, envelope: &Envelope) {
    let same_source = context.source.as_ref() == Some(&envelope.source);
    let mut flags = 0;
    for (flag, set) in
        [(HAS_KEY, envelope.key.is_some()), (HAS_CAUSATION, envelope.causation.is_some()), (SAME_SOURCE, same_source)]
    {
        flags |= if set { flag } else { 0 };
    }
    out.push(flags);
    if !same_source {
        put_bytes(out, envelope.source.as_bytes());
        context.source = Some(Arc::clone(&envelope.source));
    }
    if let Some(key) = &envelope.key {
        put_bytes(out, key.as_bytes());
    }
    if let Some(causation) = &envelope.causation {
        out.extend_from_slice(causation.as_bytes());
    }
    out.extend_from_slice(&to_nanos(envelope.time).to_le_bytes());
    out.extend_from_slice(&envelope.trace.trace_id);
    out.extend_from_slice(&envelope.trace.parent);
    put_number(out, envelope.version.into());
    put_number(out, envelope.hops.into());
    put_bytes(out, &envelope.data);
}

/// Bytes that are read from the front. Everything returns `None` at their end.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(super) fn fixed(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn id(&mut self) -> Option<Uuid> {
        self.array().map(Uuid::from_bytes)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Reads what [`put_envelope`] wrote.
    pub(super) fn envelope(&mut self, context: &mut Context, id: Uuid, event: &Arc<str>) -> Option<Envelope> {
        let [flags] = self.array()?;
        if flags & SAME_SOURCE == 0 {
            context.source = Some(self.text()?.into());
        }
        let key = if flags & HAS_KEY == 0 { None } else { Some(self.text()?.into()) };
        let causation = if flags & HAS_CAUSATION == 0 { None } else { Some(self.id()?) };
        Some(Envelope {
            id,
            source: Arc::clone(context.source.as_ref()?),
            event: Arc::clone(event),
            key,
            time: from_nanos(self.fixed()?),
            trace: TraceContext { trace_id: self.array()?, parent: self.array()? },
            causation,
            version: u32::try_from(self.number()?).ok()?,
            hops: u32::try_from(self.number()?).ok()?,
            // A copy, so that one message that is kept does not keep its whole block in memory.
            data: Bytes::copy_from_slice(self.bytes()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_survive_a_round_trip(number: u64) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_number_without_end_is_refused() {
        assert_eq!(Reader::new(&[0xff; 11]).number(), None);
        assert_eq!(Reader::new(&[0x80]).number(), None);
    }

    #[test]
    fn a_changed_byte_is_noticed() {
        let sealed = seal(b"some bytes".to_vec());
        assert_eq!(unseal(&sealed), Some(&b"some bytes"[..]));
        for index in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[index] ^= 0x20;
            assert_eq!(unseal(&damaged), None, "byte {index}");
        }
        assert_eq!(unseal(b"abc"), None);
    }
}
