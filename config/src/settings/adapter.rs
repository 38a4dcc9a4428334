//! Which broker carries the events? `[adapter]` and `[adapters.NAME]`.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::duration::{self, DurationText};
use super::reader::{Foreign, Refused, Section};
use super::size::ByteSize;
use super::value::{Fault, Value};

/// A broker; `type` chooses which.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(deny_unknown_fields)]
pub enum Adapter {
    /// Queues in the daemon's memory: fast, without anything to install, and gone when the daemon ends.
    Memory(Memory),
    /// A durable queue on this machine, inside the daemon: nothing to install, and it survives the end of the daemon.
    #[serde(rename = "rocksdb")]
    RocksDb(RocksDb),
}

/// Settings of the adapter type `memory`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct Memory {
    /// Most messages of a subscription that the daemon holds in memory at a time
    ///
    /// Nothing is dropped beyond it: a publisher to `memory` waits, `rocksdb` keeps the rest on disk. Of those that stay behind others of their key it holds as many again. Unit: messages, at least 1. Default: 1000.
    pub buffer_size: NonZeroU32,
}

/// Settings of the adapter type `rocksdb`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default)]
pub struct RocksDb {
    /// Most messages of a subscription that the daemon holds in memory at a time
    ///
    /// Nothing is dropped beyond it: a publisher to `memory` waits, `rocksdb` keeps the rest on disk. Of those that stay behind others of their key it holds as many again. Unit: messages, at least 1. Default: 1000.
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

const BUFFER_SIZE: NonZeroU32 = NonZeroU32::new(1000).expect("not zero");

impl Default for Memory {
    fn default() -> Self {
        Self { buffer_size: BUFFER_SIZE }
    }
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

impl Default for Adapter {
    fn default() -> Self {
        Self::Memory(Memory::default())
    }
}

/// Keys of the original that mean something to other adapter types only, and those types.
const LATER_KEYS: [(&str, &str); 5] = [
    ("region", "sqs, eventbridge and aws"),
    ("aws_type", "aws"),
    ("queue_prefix", "sqs and aws"),
    ("event_bus_name", "eventbridge and aws"),
    ("source", "eventbridge and aws"),
];

/// Keys of the type `rocksdb` that `memory` does not have.
const ROCKSDB_KEYS: [&str; 4] = ["path", "durability", "max_bytes", "retention"];

/// Adapter types by name; those that cannot be chosen yet are refused by name, not as a typo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Memory,
    RocksDb,
}

const LATER: [&str; 6] = ["nats", "kafka", "rabbitmq", "sqs", "aws", "eventbridge"];

impl Value for Type {
    const EXPECTED: &'static str = "the name of an adapter type: \"memory\" or \"rocksdb\"";

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.to_ascii_lowercase().as_str() {
            "memory" => Ok(Self::Memory),
            "rocksdb" => Ok(Self::RocksDb),
            name if LATER.contains(&name) => {
                Err(Fault::new(format!("this version does not have the adapter type {text:?}"))
                    .help("this version offers the adapter types \"memory\" and \"rocksdb\""))
            }
            _ => Err(Fault::new(format!("unknown adapter type {text:?}")).choices(text, &["memory", "rocksdb"])),
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

    fn read(section: &mut Section<'_>) -> Self {
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

impl Adapter {
    /// Its `type`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory(_) => "memory",
            Self::RocksDb(_) => "rocksdb",
        }
    }

    /// How many messages of a subscription may be in memory.
    #[must_use]
    pub fn buffer_size(&self) -> NonZeroU32 {
        match self {
            Self::Memory(memory) => memory.buffer_size,
            Self::RocksDb(rocksdb) => rocksdb.buffer_size,
        }
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let chosen = match section.attempt("type") {
            Ok(chosen) => chosen.unwrap_or(Type::Memory),
            Err(Refused) => {
                // What the other keys mean depends on the type.
                section.skip_rest();
                return Self::default();
            }
        };
        for (key, types) in LATER_KEYS {
            section.foreign(key, Foreign::Later(types));
        }
        match chosen {
            Type::Memory => {
                for key in ROCKSDB_KEYS {
                    section.foreign(key, Foreign::Present("rocksdb"));
                }
                Self::Memory(Memory { buffer_size: section.get("buffer_size", Memory::default().buffer_size) })
            }
            Type::RocksDb => Self::RocksDb(RocksDb::read(section)),
        }
    }
}
