//! How is the database opened? For the one writer with repairs, or for readers as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, IteratorMode, LogLevel,
    Options,
};

use super::{BY_TIME, FAMILIES, Key, Store, TRACE_IDS, Tail, View};
use crate::Error;
use crate::block::{Meta, decode};

const MIB: usize = 1 << 20;
/// More files than there will ever be.
const NEVER: i32 = 1 << 30;

impl Store {
    /// Opens the database for writing; makes it when it is missing. `cached` records stay decoded in memory.
    pub(crate) fn open(path: &Path, cached: usize) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(|source| Error::Directory { path: path.to_owned(), source })?;
        let db = DB::open_cf_descriptors(&database(), path, families()).map_err(|source| refused(path, source))?;
        let mut store = Self::around(db, path.to_owned(), cached);
        let sum = store.view().sum();
        let bytes = match sum {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the list of telemetry blocks is damaged and made anew");
                store.rebuild_list()?
            }
        };
        store.bytes = AtomicU64::new(bytes);
        Ok(store)
    }

    /// Opens the database for queries only, whether or not a daemon is writing to it. What the daemon writes afterwards is not seen.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none, [`Error::Open`] when it cannot be read.
    pub fn open_read_only(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let path = path.into();
        if !path.join("CURRENT").exists() {
            return Err(Error::Missing { path });
        }
        let db = DB::open_cf_descriptors_read_only(&database(), &path, families(), false)
            .map_err(|source| refused(&path, source))?;
        Ok(Self::around(db, path, 0))
    }

    fn around(db: DB, path: PathBuf, cached: usize) -> Self {
        Self { db, path, tail: Tail::new(cached), bytes: AtomicU64::new(0) }
    }

    /// Makes `by_time` from the blocks and returns the sum of their sizes.
    fn rebuild_list(&mut self) -> Result<u64, Error> {
        let unwritable = |source| Error::Write { path: self.path.clone(), source };
        self.db.drop_cf(BY_TIME).map_err(unwritable)?;
        self.db.create_cf(BY_TIME, &family()).map_err(unwritable)?;
        let mut sum = 0;
        for item in self.db.iterator_cf(self.family(TRACE_IDS), IteratorMode::Start) {
            let (key, index) = item.map_err(|source| self.unreadable(source))?;
            let Some(key) = Key::from_bytes(&key) else { continue };
            let meta = self.meta(key, index.len());
            let value = postcard::to_stdvec(&meta).expect("a vector takes everything");
            self.db.put_cf(self.family(BY_TIME), key.to_bytes(), value).map_err(unwritable)?;
            sum += meta.bytes;
        }
        Ok(sum)
    }

    fn meta(&self, key: Key, index: usize) -> Meta {
        let value = self.db.get_pinned_cf(self.family(super::TRACES), key.to_bytes()).ok().flatten();
        let records = value.as_ref().and_then(|value| decode(value).ok());
        match (value, records) {
            (Some(value), Some(records)) => Meta::of(&records, value.len() + index),
            _ => Meta::unknown(key.latest()),
        }
    }

    /// The database as it is now.
    pub(crate) fn view(&self) -> View<'_> {
        View::new(self)
    }
}

fn refused(path: &Path, source: rocksdb::Error) -> Error {
    let path = path.to_owned();
    // RocksDB has no code of its own for this; the lock file's name is in the message for both kinds of owner.
    let locked = source.kind() == rocksdb::ErrorKind::IOError && source.as_ref().contains("LOCK");
    if locked { Error::InUse { path, source } } else { Error::Open { path, source } }
}

fn database() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // After a crash everything up to the first damaged log entry is there and the database opens.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // A compaction that meets a damaged block must not make the whole database refuse writes; reads check their checksums all the same.
    options.set_paranoid_checks(false);
    options.set_max_total_wal_size(32 * MIB as u64);
    options.set_max_background_jobs(2);
    options.set_max_open_files(128);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(MIB);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options
}

fn families() -> Vec<ColumnFamilyDescriptor> {
    FAMILIES.iter().map(|name| ColumnFamilyDescriptor::new(*name, family())).collect()
}

/// Blocks are compressed by us and read once; neither a second compression nor much of a cache would help.
fn family() -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(MIB));
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::None);
    options.set_write_buffer_size(4 * MIB);
    options.set_target_file_size_base(8 * MIB as u64);
    // Keys only grow, so files hardly overlap and there is nothing to gain by rewriting old ones or by waiting for compactions.
    options.set_ttl(0);
    options.set_level_zero_slowdown_writes_trigger(NEVER);
    options.set_level_zero_stop_writes_trigger(NEVER);
    options.set_soft_pending_compaction_bytes_limit(0);
    options.set_hard_pending_compaction_bytes_limit(0);
    options
}
