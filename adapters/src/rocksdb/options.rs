//! How is an event store opened?

use std::path::PathBuf;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// When a publication is confirmed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the disk: it survives a crash of the machine.
    #[default]
    Disk,
    /// When the operating system has it: it survives the end of the process.
    Process,
}

/// Settings of an event store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Its directory; made when it is missing.
    pub path: PathBuf,
    /// When a publication is confirmed. Acks wait for the operating system only: a message whose ack was lost is handed out again.
    pub durability: Durability,
    /// How many bytes are kept. Handled messages leave to make room; when what is not handled, dead letters and what waits for its time have so many by themselves, publishers wait.
    pub max_bytes: u64,
    /// How long handled messages are kept, for replay; at least as long as `dedupe`.
    pub retention: Duration,
    /// How far back ids are looked up when the store is opened: the window of a publication that asks for more ends here after a restart. At most
    /// 1,000,000 ids are known; beyond that the oldest are forgotten before their window has ended.
    pub dedupe: Duration,
    /// How many bytes of the newest messages stay in memory.
    pub cache_bytes: u64,
}

impl Options {
    /// The defaults: confirmed on the disk, 1 GiB, kept for 7 days, ids for 24 hours, 32 MiB in memory.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::Disk,
            max_bytes: 1 << 30,
            retention: 7 * DAY,
            dedupe: DAY,
            cache_bytes: 32 << 20,
        }
    }
}
