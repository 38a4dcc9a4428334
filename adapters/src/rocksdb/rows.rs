//! What do keys and rows other than blocks look like? Keys sort as they are read; values carry a version and a checksum.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::codec::{Context, Reader, from_nanos, put_bytes, put_envelope, seal, to_nanos, unseal};
use super::progress::Progress;
use crate::broker::{History, Obituary, Subscription};
use crate::envelope::Envelope;

const VERSION: u8 = 1;

/// A subscription as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) subscription: Subscription,
    pub(super) declared: bool,
    pub(super) paused: bool,
    /// Nothing from this position on enters it. Set while it is retired.
    pub(super) end: Option<u64>,
    pub(super) progress: Progress,
}

/// A topic as it is stored. Its end matters when retention has removed all blocks: positions are never given twice.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct StoredTopic {
    pub(super) number: u32,
    pub(super) end: u64,
}

/// A row in `marks`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mark {
    history: History,
    /// [`History::not_before`] in nanoseconds since 1970.
    not_before: Option<u64>,
}

impl From<History> for Mark {
    fn from(history: History) -> Self {
        Self { history, not_before: history.not_before.map(to_nanos) }
    }
}

impl From<Mark> for History {
    fn from(Mark { history, not_before }: Mark) -> Self {
        Self { not_before: not_before.map(from_nanos), ..history }
    }
}

/// What stands before the message of a row in `due`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DueHead {
    /// Nanoseconds of its dedupe window, which begins when it is published, not when it becomes due.
    pub(super) window_end: u64,
}

/// What stands before the message of a row in `returned`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReturnedHead {
    pub(super) history: History,
}

/// What stands before the message of a row in `dead`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeadHead {
    pub(super) subscription: Subscription,
    pub(super) obituary: Obituary,
    /// What was to be relayed: it waits in the outbox again once it is redriven.
    pub(super) relay: Option<Relay>,
}

/// How a publication is to be made elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Relay {
    /// When it is due, in nanoseconds since 1970.
    pub(super) due: Option<u64>,
    /// Nanoseconds of its dedupe window.
    pub(super) window: u64,
}

/// What stands before the message of a row in `outbox`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OutboxHead {
    /// When it was put there, in nanoseconds since 1970.
    pub(super) since: u64,
    pub(super) relay: Relay,
}

pub(super) fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    seal(postcard::to_extend(row, vec![VERSION]).expect("a vector takes everything"))
}

/// `None` when it is damaged.
pub(super) fn decode<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    let body = unseal(value)?.strip_prefix(&[VERSION])?;
    postcard::from_bytes(body).ok()
}

/// A row that holds one message.
pub(super) fn encode_message<H: Serialize>(head: &H, envelope: &Envelope) -> Vec<u8> {
    let mut out = Vec::with_capacity(envelope.data.len() + 160);
    out.push(VERSION);
    let mut out = postcard::to_extend(head, out).expect("a vector takes everything");
    put_bytes(&mut out, envelope.event.as_bytes());
    out.extend_from_slice(envelope.id.as_bytes());
    put_envelope(&mut out, &mut Context::default(), envelope);
    seal(out)
}

/// `None` when it is damaged.
pub(super) fn decode_message<H: DeserializeOwned>(value: &[u8]) -> Option<(H, Envelope)> {
    let body = unseal(value)?.strip_prefix(&[VERSION])?;
    let (head, rest) = postcard::take_from_bytes(body).ok()?;
    let mut reader = Reader::new(rest);
    let event: Arc<str> = reader.text()?.into();
    let id = reader.id()?;
    let envelope = reader.envelope(&mut Context::default(), id, &event)?;
    reader.is_empty().then_some((head, envelope))
}

/// Key of a block or a span.
pub(super) fn log_key(topic: u32, position: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&topic.to_be_bytes());
    key[4..].copy_from_slice(&position.to_be_bytes());
    key
}

/// The position in a key of `log` or `spans`.
pub(super) fn position(key: &[u8]) -> Option<u64> {
    key.get(4..)?.try_into().ok().map(u64::from_be_bytes)
}

/// Key of a row in `marks`.
pub(super) fn mark_key(subscription: u32, tag: u64) -> [u8; 12] {
    log_key(subscription, tag)
}

/// Subscription and tag of a key of `marks`.
pub(super) fn split_mark(key: &[u8]) -> Option<(u32, u64)> {
    let (subscription, tag) = key.split_first_chunk()?;
    Some((u32::from_be_bytes(*subscription), u64::from_be_bytes(tag.try_into().ok()?)))
}

/// Key of a row in `notes`.
pub(super) fn note_key(subscription: u32, id: Uuid) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&subscription.to_be_bytes());
    key[4..].copy_from_slice(id.as_bytes());
    key
}

/// Subscription and id of a key of `notes`.
pub(super) fn split_note(key: &[u8]) -> Option<(u32, Uuid)> {
    let (subscription, id) = key.split_first_chunk()?;
    Some((u32::from_be_bytes(*subscription), Uuid::from_slice(id).ok()?))
}

/// Key of a row that waits: when it is due and its sequence number.
pub(super) fn due_key((due, sequence): (u64, u64)) -> [u8; 16] {
    ((u128::from(due) << 64) | u128::from(sequence)).to_be_bytes()
}

pub(super) fn split_due(key: &[u8]) -> Option<(u64, u64)> {
    let (due, sequence) = key.split_first_chunk()?;
    Some((u64::from_be_bytes(*due), u64::from_be_bytes(sequence.try_into().ok()?)))
}

/// Key of a row in `returned`.
pub(super) fn returned_key(subscription: u32, due: (u64, u64)) -> [u8; 20] {
    let mut key = [0; 20];
    key[..4].copy_from_slice(&subscription.to_be_bytes());
    key[4..].copy_from_slice(&due_key(due));
    key
}

/// Subscription, due time and sequence number of a key of `returned`.
pub(super) fn split_returned(key: &[u8]) -> Option<(u32, (u64, u64))> {
    let (subscription, due) = key.split_first_chunk()?;
    Some((u32::from_be_bytes(*subscription), split_due(due)?))
}

/// Key of an event's row in `meta`.
pub(super) fn topic_key(event: &str) -> Vec<u8> {
    [TOPIC_PREFIX, event.as_bytes()].concat()
}

/// Key of the time of the last commit in `meta`.
pub(super) const CLOCK_KEY: &[u8] = b"clock";

pub(super) const TOPIC_PREFIX: &[u8] = b"topic/";

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_mark_keeps_all_of_a_history() {
        let not_before = Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789));
        let history = History { attempts: 4, deaths: 3, deaths_alone: 2, endings: 1, not_before };
        let mark: Mark = decode(&encode(&Mark::from(history))).unwrap();
        assert_eq!(History::from(mark), history);
    }

    proptest! {
        #[test]
        fn keys_sort_by_due_time_then_sequence(one: (u64, u64), other: (u64, u64), number: u32) {
            prop_assert_eq!(one.cmp(&other), due_key(one).cmp(&due_key(other)));
            prop_assert_eq!(split_due(&due_key(one)), Some(one));
            prop_assert_eq!(split_returned(&returned_key(number, one)), Some((number, one)));
        }

        #[test]
        fn log_keys_sort_by_topic_then_position(one: (u32, u64), other: (u32, u64)) {
            prop_assert_eq!(one.cmp(&other), log_key(one.0, one.1).cmp(&log_key(other.0, other.1)));
            prop_assert_eq!(position(&log_key(one.0, one.1)), Some(one.1));
            prop_assert_eq!(split_mark(&mark_key(one.0, one.1)), Some(one));
            let id = Uuid::from_u128(one.1.into());
            prop_assert_eq!(split_note(&note_key(one.0, id)), Some((one.0, id)));
        }
    }
}
