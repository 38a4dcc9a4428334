//! What is recorded, where, and for how long? `[telemetry]`.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::reader::Section;
use super::size::ByteSize;
use super::value::{Fault, Value};

/// The record of every invocation.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Telemetry {
    /// Where it is stored
    ///
    /// `rocksdb` is a store inside the daemon. Default: `rocksdb`.
    #[serde(rename = "type")]
    pub store: TelemetryType,

    /// Directory of the store
    ///
    /// Relative paths count from the project's root. Default: `.rohas/telemetry`.
    pub path: PathBuf,

    /// Age after which traces are deleted
    ///
    /// 0 keeps them for ever, as far as `max_bytes` allows. Unit: days. Default: 30.
    pub retention_days: u32,

    /// Largest size of the store
    ///
    /// The oldest traces are deleted when it is exceeded. Unit: bytes, or text such as `512MiB`. Default: `1GiB`.
    pub max_bytes: ByteSize,

    /// How many of the latest traces are kept in memory too
    ///
    /// Unit: traces. Default: 1000.
    pub max_cache_size: u32,

    /// Whether invocations are recorded
    ///
    /// Default: true.
    pub enable_traces: bool,

    /// Whether log lines of handlers are recorded
    ///
    /// They are part of the invocation's trace. Default: true.
    pub enable_logs: bool,

    /// Whether metrics are recorded
    ///
    /// Accepted because existing projects have it; this version records no metrics, whatever it says. Default: true.
    pub enable_metrics: bool,
}

/// Where telemetry is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TelemetryType {
    /// A store inside the daemon.
    #[default]
    RocksDb,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self {
            store: TelemetryType::RocksDb,
            path: PathBuf::from(".rohas/telemetry"),
            retention_days: 30,
            max_bytes: ByteSize::gib(1),
            max_cache_size: 1000,
            enable_traces: true,
            enable_logs: true,
            enable_metrics: true,
        }
    }
}

impl Telemetry {
    /// The directory of the store of the project at `root`.
    #[must_use]
    pub fn directory(&self, root: &Path) -> PathBuf {
        root.join(&self.path)
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            store: section.get("type", default.store),
            path: section.get("path", default.path),
            retention_days: section.get("retention_days", default.retention_days),
            max_bytes: section.get("max_bytes", default.max_bytes),
            max_cache_size: section.get("max_cache_size", default.max_cache_size),
            enable_traces: section.get("enable_traces", default.enable_traces),
            enable_logs: section.get("enable_logs", default.enable_logs),
            enable_metrics: section.get("enable_metrics", default.enable_metrics),
        }
    }
}

impl Value for TelemetryType {
    const EXPECTED: &'static str = "\"rocksdb\"";

    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.to_ascii_lowercase().as_str() {
            "rocksdb" => Ok(Self::RocksDb),
            "prometheus" | "influxdb" | "timescaledb" => {
                Err(Fault::new(format!("this version does not have the telemetry type {text:?}"))
                    .help("this version offers the telemetry type \"rocksdb\" only"))
            }
            _ => Err(Fault::new(format!("unknown telemetry type {text:?}")).choices(text, &["rocksdb"])),
        }
    }
}
