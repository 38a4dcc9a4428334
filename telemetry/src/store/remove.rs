//! How does the disk become free again? Whole files of old blocks are dropped; only what is left at the edge is compacted.

use std::ops::AddAssign;

use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::{FAMILIES, Key, Store};
use crate::Error;
use crate::block::Meta;

/// What the retention has removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Number of blocks.
    pub blocks: u64,
    /// Number of records in them.
    pub records: u64,
    /// Their size.
    pub bytes: u64,
}

impl AddAssign for Removed {
    fn add_assign(&mut self, other: Self) {
        self.blocks += other.blocks;
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

impl Store {
    /// Removes a run of neighbouring blocks. Files that held nothing else are gone at once; [`Store::compact`] frees the rest.
    pub(crate) fn remove(&self, run: &[(Key, Meta)]) -> Result<Removed, Error> {
        let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { return Ok(Removed::default()) };
        let (from, to) = (first.to_bytes(), last.successor().to_bytes());
        let mut batch = WriteBatch::default();
        for name in FAMILIES {
            batch.delete_range_cf(self.family(name), from, to);
        }
        self.db.write(batch).map_err(|source| self.unwritable(source))?;
        for name in FAMILIES {
            let freed = self.db.delete_file_in_range_cf(self.family(name), from, to);
            freed.map_err(|source| self.unwritable(source))?;
        }
        let mut removed = Removed::default();
        for (key, meta) in run {
            removed += Removed { blocks: 1, records: u64::from(meta.records), bytes: meta.bytes };
            self.tail.remove(*key);
        }
        self.subtract(removed.bytes);
        Ok(removed)
    }

    /// Frees the disk space of removed blocks that shared a file with others. May take seconds.
    pub(crate) fn compact(&self, first: Key, last: Key) {
        for name in FAMILIES {
            let (from, to) = (first.to_bytes(), last.successor().to_bytes());
            self.db.compact_range_cf(self.family(name), Some(from), Some(to));
        }
    }
}
