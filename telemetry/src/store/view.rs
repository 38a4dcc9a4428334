//! What does a query see? The database at one moment, block by block, without those that are damaged.

use std::sync::Arc;

use rocksdb::{DBRawIterator, ReadOptions, Snapshot};
use serde::{Deserialize, Serialize};

use super::{BY_TIME, Key, Store, TRACE_IDS, TRACES};
use crate::block::index::IdRange;
use crate::block::{Malformed, Meta, decode};
use crate::{Error, Record, Timestamp, json};

/// A block that could not be read; its records are missing from the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// The block's key in the database, in hexadecimal.
    pub key: String,
    /// When it was written.
    #[serde(with = "json::timestamp")]
    pub written_at: Timestamp,
    /// What is wrong with it.
    pub reason: String,
}

impl Damage {
    fn new(key: Key, error: &dyn std::error::Error) -> Self {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        let key_text = format!("{:016x}", key.0);
        tracing::warn!(key = key_text, reason, "a telemetry block is damaged and passed over");
        Self { key: key_text, written_at: key.latest(), reason }
    }
}

/// One moment of the database.
pub(crate) struct View<'a> {
    store: &'a Store,
    snapshot: Snapshot<'a>,
}

impl<'a> View<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, snapshot: store.db.snapshot() }
    }

    /// What the blocks are known by, newest first.
    pub(crate) fn newest_first(&self) -> Blocks<'_> {
        let mut rows = self.rows();
        rows.seek_to_last();
        Blocks { store: self.store, rows, step: DBRawIterator::prev }
    }

    /// What the blocks are known by, oldest first.
    pub(crate) fn oldest_first(&self) -> Blocks<'_> {
        let mut rows = self.rows();
        rows.seek_to_first();
        Blocks { store: self.store, rows, step: DBRawIterator::next }
    }

    /// The records of a block, from memory when they are there. None when the retention has just removed it.
    pub(crate) fn records(&self, key: Key) -> Result<Arc<[Record]>, Damage> {
        if let Some(records) = self.store.tail.get(key) {
            return Ok(records);
        }
        let value = self.get(TRACES, key).map_err(|error| Damage::new(key, &error))?;
        let Some(value) = value else { return Ok(Arc::default()) };
        let records = decode(&value).map_err(|error: Malformed| Damage::new(key, &error))?;
        Ok(records.into())
    }

    /// Whether one of these traces may be in a block. An index that cannot be read excludes nothing.
    pub(crate) fn may_hold(&self, key: Key, ids: &IdRange) -> bool {
        match self.get(TRACE_IDS, key) {
            Ok(Some(index)) => ids.may_occur(&index),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// The sum of all blocks' sizes.
    pub(super) fn sum(&self) -> Result<u64, Error> {
        self.oldest_first().try_fold(0, |sum, block| Ok(sum + block?.1.bytes))
    }

    fn get(&self, family: &'static str, key: Key) -> Result<Option<rocksdb::DBPinnableSlice<'_>>, rocksdb::Error> {
        self.snapshot.get_pinned_cf_opt(self.store.family(family), key.to_bytes(), reading())
    }

    fn rows(&self) -> DBRawIterator<'_> {
        self.snapshot.raw_iterator_cf_opt(self.store.family(BY_TIME), reading())
    }
}

/// A query walks over much that it will not see again; the cache is for what is read often.
fn reading() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options
}

/// Keys of blocks and what they are known by.
pub(crate) struct Blocks<'a> {
    store: &'a Store,
    rows: DBRawIterator<'a>,
    step: fn(&mut DBRawIterator<'a>),
}

impl Iterator for Blocks<'_> {
    type Item = Result<(Key, Meta), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some((key, value)) = self.rows.item() {
            let block = Key::from_bytes(key).map(|key| {
                // The block itself decides what is in it when this row does not tell.
                (key, postcard::from_bytes(value).unwrap_or_else(|_| Meta::unknown(key.latest())))
            });
            (self.step)(&mut self.rows);
            if block.is_some() {
                return block.map(Ok);
            }
        }
        self.rows.status().err().map(|source| Err(self.store.unreadable(source)))
    }
}

impl std::fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View").field("path", &self.store.path).finish_non_exhaustive()
    }
}
