//! How is telemetry kept? The part of the settings that this crate needs, already checked.

use std::path::PathBuf;
use std::time::Duration;

/// What to record, where, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Directory of the database; made when it is missing.
    pub path: PathBuf,
    /// How long records are kept; `None` for ever.
    pub retention: Option<Duration>,
    /// How many bytes of blocks are kept; the oldest go first. `None` for any number.
    pub max_bytes: Option<u64>,
    /// How many of the newest records stay decoded in memory, so that queries for them do not touch the disk.
    pub max_cache_size: usize,
    /// Whether anything is recorded. What was recorded before can be queried all the same.
    pub traces: bool,
    /// Whether records keep their log lines.
    pub logs: bool,
}

impl Options {
    /// Everything is recorded below `path` and kept for 30 days, up to 1 GiB.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            retention: Some(Duration::from_secs(30 * 24 * 60 * 60)),
            max_bytes: Some(1 << 30),
            max_cache_size: 1000,
            traces: true,
            logs: true,
        }
    }
}
