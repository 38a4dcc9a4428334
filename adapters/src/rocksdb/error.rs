//! What can go wrong with the database? Opening it tells the path and the remedy; later faults become the broker's own error.

use std::io;
use std::path::PathBuf;

use crate::broker::Error;

/// Why the event store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another part of this one, has it open.
    #[error("the event store {} is in use: stop the daemon that holds it, or ask that daemon", path.display())]
    InUse {
        /// Its directory.
        path: PathBuf,
        /// What the database says.
        source: rocksdb::Error,
    },
    /// Its directory cannot be made.
    #[error("cannot make the directory {} for the event store", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its disk is full.
    #[error(
        "cannot open the event store {}: its disk is full; make room and start again, nothing that it holds is lost",
        path.display()
    )]
    NoSpace {
        /// Its directory.
        path: PathBuf,
        /// What the database says.
        source: rocksdb::Error,
    },
    /// It does not open.
    #[error(
        "cannot open the event store {}; if it is damaged, restore it from a backup, or move the directory away to begin with an empty one: \
         what was not yet handled is then lost",
        path.display()
    )]
    Open {
        /// Its directory.
        path: PathBuf,
        /// What the database says.
        source: rocksdb::Error,
    },
    /// It opens, but something in it cannot be read.
    #[error(
        "the event store {} is damaged: {what}; restore it from a backup, or move the directory away to begin with an empty one: \
         what was not yet handled is then lost",
        path.display()
    )]
    Damaged {
        /// Its directory.
        path: PathBuf,
        /// What cannot be read.
        what: String,
    },
    /// A newer version of this program wrote it.
    #[error(
        "the event store {} has format {found} and this version reads up to {known}: run the version that wrote it, or a later one",
        path.display()
    )]
    NewerFormat {
        /// Its directory.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this version knows.
        known: u32,
    },
    /// A file beside the database cannot be used.
    #[error("cannot use the file {} of the event store", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start the thread `{name}` of the event store")]
    Thread {
        /// Which one.
        name: &'static str,
        /// What the system says.
        source: io::Error,
    },
}

/// Why the open database could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// RocksDB says no.
    #[error(transparent)]
    Database(#[from] rocksdb::Error),
    /// What stands there makes no sense.
    #[error("damaged: {0}")]
    Damaged(String),
    /// It is being opened again after a failure.
    #[error("{0}")]
    Down(String),
    /// The broker was closed.
    #[error("the event store is closed")]
    Closed,
}

impl Fault {
    /// Whether the data are wrong, so that trying again is of no use.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Database(error) => error.kind() == rocksdb::ErrorKind::Corruption,
            Self::Damaged(_) => true,
            Self::Down(_) | Self::Closed => false,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Unavailable(fault.to_string())
    }
}

pub(super) fn closed() -> Error {
    Fault::Closed.into()
}
