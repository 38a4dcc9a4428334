//! How is the database laid out and opened? One column family per kind of row, one owner, point-in-time recovery.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction,
    IteratorMode, LogLevel, ReadOptions, WriteBatch,
};

use super::error::{Fault, OpenError};

const MIB: usize = 1 << 20;
/// The format that this version writes. A change that an older version would misread needs the next number.
const FORMAT: u32 = 1;
const FORMAT_KEY: &[u8] = b"format";

/// Blocks of messages: topic number, first position.
pub(super) const LOG: &str = "log";
/// Closed spans of blocks: topic number, first position.
pub(super) const SPANS: &str = "spans";
/// How far a subscription has come: subscription number.
pub(super) const PROGRESS: &str = "progress";
/// What unfinished messages have been through: subscription number, tag.
pub(super) const MARKS: &str = "marks";
/// Publications that are not yet due: due time, sequence number.
pub(super) const DUE: &str = "due";
/// Messages that were put back with a delay or redriven: subscription number, due time, sequence number.
pub(super) const RETURNED: &str = "returned";
/// Dead letters: their id.
pub(super) const DEAD: &str = "dead";
/// What messages of another broker have been through: subscription number, the message's id.
pub(super) const NOTES: &str = "notes";
/// Ids of messages of another broker that were handled: subscription number, sequence number.
pub(super) const HANDLED: &str = "handled";
/// What is to be relayed to other brokers: name of the broker, zero, sequence number.
pub(super) const OUTBOX: &str = "outbox";
/// The format, and each topic's number and end by its event.
pub(super) const META: &str = "meta";

const FAMILIES: [&str; 11] = [LOG, SPANS, PROGRESS, MARKS, DUE, RETURNED, DEAD, NOTES, HANDLED, OUTBOX, META];

/// A key and its value.
pub(super) type Row = (Vec<u8>, Vec<u8>);

/// The open database.
#[derive(Debug)]
pub(super) struct Database {
    db: DB,
}

impl Database {
    /// Opens it, and makes it when it is missing.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        fs::create_dir_all(path).map_err(|source| OpenError::Directory { path: path.to_owned(), source })?;
        let families = FAMILIES.iter().map(|name| ColumnFamilyDescriptor::new(*name, family(name)));
        let db =
            DB::open_cf_descriptors(&database_options(), path, families).map_err(|source| refused(path, source))?;
        let database = Self { db };
        database.check_format(path)?;
        Ok(database)
    }

    fn check_format(&self, path: &Path) -> Result<(), OpenError> {
        let damaged = |what: String| OpenError::Damaged { path: path.to_owned(), what };
        let stored = self.get(META, FORMAT_KEY).map_err(|fault| damaged(fault.to_string()))?;
        let Some(stored) = stored else {
            let mut batch = WriteBatch::default();
            self.put(&mut batch, META, FORMAT_KEY, &FORMAT.to_le_bytes());
            return self.write(batch).map_err(|source| refused(path, source));
        };
        let found = stored.try_into().map(u32::from_le_bytes);
        let found = found.ok().ok_or_else(|| damaged("its format number cannot be read".to_owned()))?;
        if found > FORMAT {
            return Err(OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT });
        }
        Ok(())
    }

    fn family(&self, name: &'static str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("opening fails without it")
    }

    pub(super) fn put(&self, batch: &mut WriteBatch, family: &'static str, key: &[u8], value: &[u8]) {
        batch.put_cf(self.family(family), key, value);
    }

    pub(super) fn delete(&self, batch: &mut WriteBatch, family: &'static str, key: &[u8]) {
        batch.delete_cf(self.family(family), key);
    }

    /// Deletes from `from` to before `to`.
    pub(super) fn delete_range(&self, batch: &mut WriteBatch, family: &'static str, from: &[u8], to: &[u8]) {
        batch.delete_range_cf(self.family(family), from, to);
    }

    /// Drops whole files of a range that was deleted.
    pub(super) fn drop_files(&self, family: &'static str, from: &[u8], to: &[u8]) -> Result<(), rocksdb::Error> {
        self.db.delete_file_in_range_cf(self.family(family), from, to)
    }

    /// Writes without a sync: the batch then survives the end of this process.
    pub(super) fn write(&self, batch: WriteBatch) -> Result<(), rocksdb::Error> {
        self.db.write(batch)
    }

    /// Brings everything that was written so far to the disk. Writers need not wait meanwhile.
    pub(super) fn sync(&self) -> Result<(), rocksdb::Error> {
        self.db.flush_wal(true)
    }

    pub(super) fn get(&self, family: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.db.get_cf(self.family(family), key)?)
    }

    /// Visits the rows from `from` to before `to` in order, until `visit` breaks.
    pub(super) fn scan(
        &self,
        family: &'static str,
        (from, to): (&[u8], Option<&[u8]>),
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<(), Fault> {
        let mut options = ReadOptions::default();
        if let Some(to) = to {
            options.set_iterate_upper_bound(to);
        }
        let mode = IteratorMode::From(from, Direction::Forward);
        for row in self.db.iterator_cf_opt(self.family(family), options, mode) {
            let (key, value) = row?;
            if visit(&key, &value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Visits the rows before `before` (all without it), last first, until `visit` breaks.
    pub(super) fn scan_back(
        &self,
        family: &'static str,
        before: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, Fault>,
    ) -> Result<(), Fault> {
        let mut options = ReadOptions::default();
        if let Some(before) = before {
            options.set_iterate_upper_bound(before);
        }
        for row in self.db.iterator_cf_opt(self.family(family), options, IteratorMode::End) {
            let (key, value) = row?;
            if visit(&key, &value)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The last row at or before `key` that begins with `prefix`.
    pub(super) fn at_or_before(&self, family: &'static str, prefix: &[u8], key: &[u8]) -> Result<Option<Row>, Fault> {
        let mut iterator = self.db.raw_iterator_cf(self.family(family));
        iterator.seek_for_prev(key);
        iterator.status()?;
        let found = iterator.item().filter(|(found, _)| found.starts_with(prefix));
        Ok(found.map(|(key, value)| (key.to_vec(), value.to_vec())))
    }
}

fn refused(path: &Path, source: rocksdb::Error) -> OpenError {
    let path = path.to_owned();
    // RocksDB has no code of its own for these; the lock file's name is in the message for both kinds of owner.
    let failed_for = |cause: &str| source.kind() == rocksdb::ErrorKind::IOError && source.as_ref().contains(cause);
    if failed_for("No space left on device") {
        OpenError::NoSpace { path, source }
    } else if failed_for("LOCK") {
        OpenError::InUse { path, source }
    } else {
        OpenError::Open { path, source }
    }
}

fn database_options() -> rocksdb::Options {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // After a crash everything up to the first damaged log entry is there and the database opens.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // A compaction that meets a damaged block must not make the whole database refuse writes; reads check their checksums all the same.
    options.set_paranoid_checks(false);
    options.set_max_total_wal_size(64 * MIB as u64);
    options.set_max_background_jobs(2);
    options.set_max_open_files(256);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(MIB);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options
}

fn family(name: &str) -> rocksdb::Options {
    let mut table = BlockBasedOptions::default();
    // What is new is handed out from memory; what is read from the disk is read once.
    table.set_block_cache(&Cache::new_lru_cache(2 * MIB));
    let mut options = rocksdb::Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(if name == LOG { 16 * MIB } else { 4 * MIB });
    options
}
