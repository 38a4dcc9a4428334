//! How are several hundred records one value? By columns, so that what is alike lies side by side.
//!
//! ```text
//! u8      version, 1
//! u32 LE  CRC-32 of all that follows
//! u32 LE  length of the ids
//! u32 LE  length of the columns before compression
//! ...     ids: span ids of all rows, then tables of trace ids, foreign parents and event ids (random bytes, so not compressed)
//! ...     columns: postcard, compressed with LZ4; they refer to the tables and to a table of names. What was added to the format
//!         stands behind them, so that whoever does not know it passes over it
//! ```
//!
//! Beside the value stand [`Meta`], by which most blocks are passed over unread, and the sorted trace-id array of [`index`].

mod columns;
mod decode;
mod encode;
pub(crate) mod index;

pub(crate) use decode::{Malformed, decode};
pub(crate) use encode::encode;

use serde::{Deserialize, Serialize};

use crate::{Kind, Record, Status, Timestamp};

const VERSION: u8 = 1;
/// Where the bytes begin that the checksum covers.
const CHECKED: usize = 5;
/// Length of everything before the ids.
const HEADER: usize = CHECKED + 8;

/// What a block is known by without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Stored bytes of the block and its index.
    pub(crate) bytes: u64,
    /// Number of records.
    pub(crate) records: u32,
    /// The earliest beginning of a record, in nanoseconds since 1970.
    first: u64,
    /// How much later the last one began.
    range: u64,
    /// A bit for each status that occurs.
    statuses: u16,
    /// A bit for each kind that occurs.
    kinds: u16,
}

/// A block as it is stored.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// The records.
    pub(crate) value: Vec<u8>,
    /// The sorted trace-id array.
    pub(crate) index: Vec<u8>,
    /// What it is known by.
    pub(crate) meta: Meta,
}

impl Meta {
    /// What a block with these records and this size is known by.
    pub(crate) fn of(records: &[Record], bytes: usize) -> Self {
        let starts = records.iter().map(|record| record.started_at.as_nanos());
        let first = starts.clone().min().unwrap_or_default();
        Self {
            bytes: bytes as u64,
            records: u32::try_from(records.len()).unwrap_or(u32::MAX),
            first,
            range: starts.max().unwrap_or_default() - first,
            statuses: records.iter().fold(0, |bits, record| bits | bit(record.status.code())),
            kinds: records.iter().fold(0, |bits, record| bits | bit(record.kind.code())),
        }
    }

    /// Excludes nothing: for a block that was written by `latest` and of which nothing else is known.
    pub(crate) const fn unknown(latest: Timestamp) -> Self {
        Self { bytes: 0, records: 0, first: 0, range: latest.as_nanos(), statuses: u16::MAX, kinds: u16::MAX }
    }

    /// When the first of its records began.
    pub(crate) fn first(&self) -> Timestamp {
        Timestamp::from_nanos(self.first)
    }

    /// When the last of its records began.
    pub(crate) fn last(&self) -> Timestamp {
        Timestamp::from_nanos(self.first.saturating_add(self.range))
    }

    /// Whether a record with one of these statuses is in it.
    pub(crate) fn has_status(&self, statuses: &[Status]) -> bool {
        statuses.iter().any(|status| self.statuses & bit(status.code()) != 0)
    }

    /// Whether a record of one of these kinds is in it.
    pub(crate) fn has_kind(&self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| self.kinds & bit(kind.code()) != 0)
    }
}

const fn bit(code: u8) -> u16 {
    1 << code
}

// A code beyond the bits of `Meta` would make blocks invisible to filters.
const _: () = assert!(Status::ALL.len() <= 16 && Kind::ALL.len() <= 16);

#[cfg(test)]
mod tests;
