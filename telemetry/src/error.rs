//! What can go wrong with telemetry? Told with the database's path and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::TraceId;

/// Why telemetry could not be opened, written or queried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process, or another part of this one, has it open.
    #[error("the telemetry database {} is in use: stop the daemon that holds it, or ask that daemon", path.display())]
    InUse {
        /// Its directory.
        path: PathBuf,
        /// What the database says.
        source: rocksdb::Error,
    },
    /// There is nothing to read.
    #[error("there is no telemetry database in {}: nothing has been recorded yet", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Its directory cannot be made.
    #[error("cannot make the directory {} for the telemetry database", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It does not open.
    #[error(
        "cannot open the telemetry database {}; if it is damaged, move the directory away and a new one is made",
        path.display()
    )]
    Open {
        /// Its directory.
        path: PathBuf,
        /// What the database says.
        source: rocksdb::Error,
    },
    /// The list of blocks cannot be read.
    #[error("cannot read the telemetry database {}", path.display())]
    Read {
        /// Its directory.
        path: PathBuf,
        /// What the database says.
        source: rocksdb::Error,
    },
    /// Records cannot be stored or removed.
    #[error("cannot write to the telemetry database {}; is the disk full?", path.display())]
    Write {
        /// Its directory.
        path: PathBuf,
        /// What the database says.
        source: rocksdb::Error,
    },
    /// A thread could not be started.
    #[error("cannot start the telemetry thread `{name}`")]
    Thread {
        /// Which one.
        name: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// It has been shut down.
    #[error("telemetry has been shut down")]
    Closed,
    /// A thread ended by a panic.
    #[error("the telemetry thread `{name}` has panicked")]
    Panicked {
        /// Which one.
        name: &'static str,
    },
    /// The beginning of a trace id that is none.
    #[error("`{prefix}` is not the beginning of a trace id: give 4 to 32 hexadecimal digits")]
    InvalidPrefix {
        /// What was given.
        prefix: String,
    },
    /// No trace begins so.
    #[error("no trace begins with `{prefix}`: see the ids in `rohas traces list`, or it is older than the retention")]
    UnknownTrace {
        /// What was given.
        prefix: String,
    },
    /// Several traces begin so.
    #[error("several traces begin with `{prefix}`: {}; give more digits", join(candidates))]
    AmbiguousTrace {
        /// What was given.
        prefix: String,
        /// Some of those that begin with it.
        candidates: Vec<TraceId>,
    },
}

fn join(ids: &[TraceId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
