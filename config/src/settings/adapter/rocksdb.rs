//! Settings of the adapter type `rocksdb`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::BUFFER_SIZE;
use crate::settings::duration::{self, DurationText};
use crate::settings::reader::Section;
use crate::settings::size::ByteSize;
use crate::settings::value::{Fault, Value};

/// Settings of the adapter type `rocksdb`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct RocksDb {
    /// Most messages of a subscription that the daemon holds in memory at a time
    ///
    /// Nothing is dropped beyond it: a publisher to `memory` waits, others keep the rest. Of those that stay behind others of their key it holds as many again. Unit: messages, at least 1. Default: 1000.
    pub buffer_size: NonZeroU32,

    /// Directory of the store
    ///
    /// Relative paths count from the project's root. Every adapter needs a directory of its own. Default: `.rohas/events`.
    pub path: PathBuf,

    /// What an acknowledged event survives
    ///
    /// With `disk` a publisher is answered once the event is on the disk, so that it survives a loss of power; many events share one write. With `process` it is
    /// answered once the system has it: it survives the end of the daemon, however sudden, but the last moments before a loss of power may be lost. Default: `disk`.
    pub durability: Durability,

    /// Largest size of the events that are kept
    ///
    /// Handled events leave, oldest first, to stay below it. What is not handled yet never leaves: when that alone reaches the limit, publishers wait and
    /// HTTP callers get 503. Unit: bytes, or text such as `512MiB`. Default: `1GiB`.
    pub max_bytes: ByteSize,

    /// Age up to which handled events are kept for `rohas events replay`
    ///
    /// They are kept at least as long as the longest `dedupe` window, by which copies of them are known. Default: `7d`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub retention: Duration,
}

/// What an acknowledged event survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// A loss of power: the answer waits for the disk.
    #[default]
    Disk,
    /// The end of the process: the answer waits for the system only.
    Process,
}

impl Default for RocksDb {
    fn default() -> Self {
        Self {
            buffer_size: BUFFER_SIZE,
            path: PathBuf::from(".rohas/events"),
            durability: Durability::default(),
            max_bytes: ByteSize::gib(1),
            retention: Duration::from_hours(7 * 24),
        }
    }
}

impl Value for Durability {
    const EXPECTED: &'static str = "\"disk\" or \"process\"";

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "disk" => Ok(Self::Disk),
            "process" => Ok(Self::Process),
            _ => Err(Fault::new(format!("unknown durability {text:?}")).choices(text, &["disk", "process"])),
        }
    }
}

impl RocksDb {
    /// The directory of the store of the project at `root`.
    #[must_use]
    pub fn directory(&self, root: &Path) -> PathBuf {
        root.join(&self.path)
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            buffer_size: section.get("buffer_size", default.buffer_size),
            path: section.get("path", default.path),
            durability: section.get("durability", default.durability),
            max_bytes: section.get("max_bytes", default.max_bytes),
            retention: section.get("retention", default.retention),
        }
    }
}
