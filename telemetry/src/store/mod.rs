//! Where are the blocks? In three column families of one RocksDB under the same time-ordered keys.
//!
//! `traces` has the blocks, `by_time` what each is known by (small, so that lists and retention read nothing else), and
//! `trace_ids` the sorted trace-id array of each. All three are written in one batch. Writes are not synced: a killed process
//! loses nothing that was written, a crash of the machine may lose the last seconds.

mod open;
mod remove;
mod tail;
mod view;

pub use view::Damage;
pub(crate) use view::View;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::{ColumnFamily, DB, WriteBatch};

use crate::block::{Encoded, Meta};
use crate::{Error, Record, Timestamp};
use tail::Tail;

pub use remove::Removed;

const TRACES: &str = "traces";
const BY_TIME: &str = "by_time";
const TRACE_IDS: &str = "trace_ids";
const FAMILIES: [&str; 3] = [TRACES, BY_TIME, TRACE_IDS];

/// A block's key: when it was written, in nanoseconds since 1970, or one more than the key before if that is later. So keys are unique and
/// ordered whatever the clock does, and no record in a block began after its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Key(u64);

impl Key {
    /// The key of a block that is written now, after `self`.
    pub(crate) fn next(self) -> Self {
        Self(Timestamp::now().as_nanos().max(self.successor().0))
    }

    /// No record in this block or an older one began later.
    pub(crate) fn latest(self) -> Timestamp {
        Timestamp::from_nanos(self.0)
    }

    /// The first key after this one.
    const fn successor(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// `None` when it is not a key of ours.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(|bytes| Self(u64::from_be_bytes(bytes)))
    }
}

/// A telemetry database. One process at a time can open it for writing; any number can read it besides.
#[derive(Debug)]
pub struct Store {
    db: DB,
    path: PathBuf,
    /// The newest blocks, decoded; the writer puts them in, queries read them.
    tail: Tail,
    /// Sum of the stored blocks' sizes; the writer and the retention keep it.
    bytes: AtomicU64,
}

impl Store {
    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many bytes the stored blocks have.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The key of the newest block, `Key::default()` without one.
    pub(crate) fn last_key(&self) -> Result<Key, Error> {
        Ok(self.view().newest_first().next().transpose()?.map_or_else(Key::default, |(key, _)| key))
    }

    /// Stores a block in place of smaller ones that hold the same records.
    pub(crate) fn write(&self, key: Key, block: &Encoded, replaced: &[(Key, Meta)]) -> Result<(), Error> {
        let mut batch = WriteBatch::default();
        let meta = postcard::to_stdvec(&block.meta).expect("a vector takes everything");
        batch.put_cf(self.family(TRACES), key.to_bytes(), &block.value);
        batch.put_cf(self.family(BY_TIME), key.to_bytes(), meta);
        batch.put_cf(self.family(TRACE_IDS), key.to_bytes(), &block.index);
        for (old, _) in replaced {
            for family in FAMILIES {
                batch.delete_cf(self.family(family), old.to_bytes());
            }
        }
        self.db.write(batch).map_err(|source| self.unwritable(source))?;
        let gone: u64 = replaced.iter().map(|(_, meta)| meta.bytes).sum();
        self.bytes.fetch_add(block.meta.bytes, Ordering::Relaxed);
        self.subtract(gone);
        Ok(())
    }

    /// Keeps a block's records in memory as long as they are among the newest.
    pub(crate) fn remember(&self, key: Key, records: Vec<Record>) {
        self.tail.insert(key, records);
    }

    /// Brings everything to the disk, so that opening it again has nothing to replay.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        let mut options = rocksdb::FlushOptions::default();
        options.set_wait(true);
        let families = FAMILIES.map(|family| self.family(family));
        self.db.flush_cfs_opt(&families.each_ref(), &options).map_err(|source| self.unwritable(source))?;
        self.db.flush_wal(true).map_err(|source| self.unwritable(source))
    }

    fn family(&self, name: &'static str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("opening fails without it")
    }

    fn subtract(&self, bytes: u64) {
        // Saturating: a block whose size was unreadable when it was counted must not wrap the sum around.
        let result =
            self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| Some(sum.saturating_sub(bytes)));
        debug_assert!(result.is_ok(), "the closure always returns a value");
    }

    fn unreadable(&self, source: rocksdb::Error) -> Error {
        Error::Read { path: self.path.clone(), source }
    }

    fn unwritable(&self, source: rocksdb::Error) -> Error {
        Error::Write { path: self.path.clone(), source }
    }
}
