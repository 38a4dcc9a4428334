//! By what is a message known again that its broker hands out twice?
//!
//! Within its dedupe window by its id, and longer by the broker's own name of it. Without a window only by that name, for another message of its id is no copy.

use std::time::{Duration, UNIX_EPOCH};

use uuid::Uuid;

use super::wire::Incoming;
use crate::envelope::Envelope;
use crate::rocksdb::Identity;

/// Under which id something is kept of a message, and how it is known again, if it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) note: Uuid,
    pub(super) identity: Option<Identity>,
}

/// The broker's own name of a message, with when it took it in: a stream or topic that was made anew counts from the beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin(Option<[u64; 2]>);

impl Origin {
    pub(super) fn of(incoming: &Incoming) -> Self {
        let hashes = incoming.place.as_ref().map(|place| {
            let time = incoming.time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
            let time = time.as_nanos().to_be_bytes();
            [1, 2].map(|seed| fnv(place.bytes().chain(time), seed))
        });
        Self(hashes)
    }
}

/// FNV-1a with a seed: the same in every version of this program, because it is stored.
fn fnv(bytes: impl Iterator<Item = u8>, seed: u64) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.fold(0xcbf2_9ce4_8422_2325 ^ seed, step)
}

impl Known {
    pub(super) fn new(envelope: &Envelope, dedupe: Option<Duration>, origin: Origin) -> Self {
        let window = dedupe.unwrap_or_default();
        let id = match origin.0 {
            _ if !window.is_zero() => Some(envelope.id),
            Some(hashes) => Some(Uuid::new_v5(&envelope.id, &hashes.map(u64::to_be_bytes).concat())),
            None => None,
        };
        // Zero stands for none.
        let place = origin.0.map_or(0, |[hash, _]| hash | 1);
        Self { note: id.unwrap_or(envelope.id), identity: id.map(|id| Identity { id, window, place }) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::*;
    use crate::envelope::TraceContext;

    fn known(id: u128, dedupe: u64, place: Option<&str>) -> Known {
        let envelope = Envelope {
            id: Uuid::from_u128(id),
            source: "test".into(),
            event: "E".into(),
            key: None,
            time: SystemTime::UNIX_EPOCH,
            data: Bytes::from_static(b"1"),
            trace: TraceContext { trace_id: [1; 16], parent: [0; 8] },
            causation: None,
            version: 1,
            hops: 0,
        };
        let incoming = Incoming { place: place.map(Into::into), ..Incoming::default() };
        Known::new(&envelope, Some(Duration::from_secs(dedupe)), Origin::of(&incoming))
    }

    #[test]
    fn with_a_window_the_id_counts_and_without_one_the_place() {
        let (here, there) = (known(1, 60, Some("s/1")).identity.unwrap(), known(1, 60, Some("s/2")).identity.unwrap());
        assert_eq!((here.id, here.window), (there.id, Duration::from_mins(1)));
        assert_ne!(here.place, there.place);
        let (here, there) = (known(1, 0, Some("s/1")), known(1, 0, Some("s/2")));
        assert_ne!(here.identity, there.identity);
        assert_eq!(here, known(1, 0, Some("s/1")));
        assert_ne!(here, known(2, 0, Some("s/1")));
    }

    #[test]
    fn without_window_and_place_it_is_not_known_again() {
        assert_eq!(known(1, 0, None), Known { note: Uuid::from_u128(1), identity: None });
        assert_eq!(known(1, 60, None).identity.unwrap().place, 0);
    }
}
