//! What are the bytes of a block? All messages of one event that one commit wrote, each by itself, with their ids in front.
//!
//! Version, commit time, number of messages, their ids, their dedupe windows, their envelopes, CRC-32. Ids and windows stand in front so that
//! opening the store reads them without decoding the messages.

use std::sync::Arc;

use uuid::Uuid;

use super::codec::{Context, Reader, put_envelope, put_number, seal, unseal};
use crate::envelope::Envelope;

const VERSION: u8 = 1;
/// A block holds at most so many messages.
pub(super) const MAX_MESSAGES: usize = 500;
/// A block that has so many bytes takes no more messages.
pub(super) const MAX_BYTES: u64 = 1 << 20;

/// What a block is known by without decoding its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// When it was committed, in nanoseconds since 1970; later blocks have later times.
    pub(super) time: u64,
    pub(super) count: u64,
}

/// A message and its dedupe window in nanoseconds.
pub(super) type Message = (Arc<Envelope>, u64);

pub(super) fn encode(time: u64, messages: &[Message]) -> Vec<u8> {
    let weight: usize = messages.iter().map(|(envelope, _)| envelope.data.len() + 128).sum();
    let mut out = Vec::with_capacity(weight + 64);
    out.push(VERSION);
    out.extend_from_slice(&time.to_le_bytes());
    put_number(&mut out, messages.len() as u64);
    for (envelope, _) in messages {
        out.extend_from_slice(envelope.id.as_bytes());
    }
    put_windows(&mut out, messages);
    let mut context = Context::default();
    for (envelope, _) in messages {
        put_envelope(&mut out, &mut context, envelope);
    }
    seal(out)
}

/// One window when all are the same, as they mostly are, else one for each.
fn put_windows(out: &mut Vec<u8>, messages: &[Message]) {
    let windows = messages.iter().map(|(_, window)| *window);
    let first = windows.clone().next().unwrap_or(0);
    if windows.clone().all(|window| window == first) {
        out.push(1);
        return put_number(out, first);
    }
    out.push(0);
    windows.for_each(|window| put_number(out, window));
}

fn read_windows(reader: &mut Reader<'_>, count: usize) -> Option<Vec<u64>> {
    let [same] = reader.array()?;
    if same == 1 {
        return Some(vec![reader.number()?; count]);
    }
    (0..count).map(|_| reader.number()).collect()
}

/// Reads the beginning only, without the checksum.
pub(super) fn head(value: &[u8]) -> Option<Head> {
    read_head(&mut Reader::new(value))
}

fn read_head(reader: &mut Reader<'_>) -> Option<Head> {
    let [version] = reader.array()?;
    let head = Head { time: reader.fixed()?, count: reader.number()? };
    (version == VERSION && head.count <= MAX_MESSAGES as u64).then_some(head)
}

/// The messages of a block of event `event`; `None` when it is damaged.
pub(super) fn decode(value: &[u8], event: &Arc<str>) -> Option<(Head, Vec<Arc<Envelope>>)> {
    let (head, ids, mut reader) = front(value)?;
    let mut context = Context::default();
    let mut messages = Vec::with_capacity(ids.len());
    for (id, _) in ids {
        messages.push(Arc::new(reader.envelope(&mut context, id, event)?));
    }
    reader.is_empty().then_some((head, messages))
}

/// Ids with the end of their dedupe window, in nanoseconds since 1970; `None` when the block is damaged.
pub(super) fn ids(value: &[u8]) -> Option<Vec<(Uuid, u64)>> {
    let (head, ids, _) = front(value)?;
    Some(ids.into_iter().map(|(id, window)| (id, head.time.saturating_add(window))).collect())
}

type Front<'a> = (Head, Vec<(Uuid, u64)>, Reader<'a>);

/// Everything before the envelopes, and a reader that stands at the first of them.
fn front(value: &[u8]) -> Option<Front<'_>> {
    let mut reader = Reader::new(unseal(value)?);
    let head = read_head(&mut reader)?;
    let count = usize::try_from(head.count).ok()?;
    let mut ids = Reader::new(reader.take(count * 16)?);
    let windows = read_windows(&mut reader, count)?;
    let ids = windows.into_iter().map(|window| Some((ids.id()?, window))).collect::<Option<_>>()?;
    Some((head, ids, reader))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::TraceContext;

    fn envelope() -> impl Strategy<Value = Envelope> {
        let texts = ("[a-c]{0,3}", prop::option::of(".{0,5}"), prop::collection::vec(any::<u8>(), 0..40));
        let numbers = (any::<u32>(), any::<u32>(), any::<[u8; 16]>(), any::<[u8; 8]>());
        let ids = (any::<u128>(), prop::option::of(any::<u128>()), 0_u64..u64::MAX / 2);
        (texts, numbers, ids).prop_map(|((source, key, data), (version, hops, trace_id, parent), (id, cause, time))| {
            Envelope {
                id: Uuid::from_u128(id),
                source: source.into(),
                event: "Ünïcode".into(),
                key: key.map(Into::into),
                time: SystemTime::UNIX_EPOCH + Duration::from_nanos(time),
                data: Bytes::from(data),
                trace: TraceContext { trace_id, parent },
                causation: cause.map(Uuid::from_u128),
                version,
                hops,
            }
        })
    }

    proptest! {
        #[test]
        fn a_block_survives_a_round_trip(
            envelopes in prop::collection::vec((envelope(), prop_oneof![Just(0_u64), any::<u64>()]), 0..20),
            time: u64,
            damage: prop::sample::Index,
        ) {
            let messages: Vec<Message> =
                envelopes.into_iter().map(|(envelope, window)| (Arc::new(envelope), window)).collect();
            let event = "Ünïcode".into();
            let mut value = encode(time, &messages);
            let head = Head { time, count: messages.len() as u64 };
            prop_assert_eq!(super::head(&value), Some(head));
            let ids: Vec<_> =
                messages.iter().map(|(envelope, window)| (envelope.id, time.saturating_add(*window))).collect();
            prop_assert_eq!(super::ids(&value), Some(ids));
            let envelopes = messages.into_iter().map(|(envelope, _)| envelope).collect();
            prop_assert_eq!(decode(&value, &event), Some((head, envelopes)));
            let byte = damage.index(value.len());
            value[byte] ^= 1;
            prop_assert_eq!(decode(&value, &event), None);
        }
    }

    #[test]
    fn what_ends_early_is_damaged() {
        assert_eq!(head(&[VERSION, 0, 0]), None);
        assert_eq!(decode(&[], &"E".into()), None);
    }
}
