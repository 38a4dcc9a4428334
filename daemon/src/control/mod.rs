//! How do commands reach a running daemon? HTTP over a Unix socket in the project, which only its owner can open.

mod client;
mod server;

pub(crate) mod requests;
pub(crate) mod view;

pub(crate) use client::{Client, Lines};
pub(crate) use server::Socket;

use std::path::{Path, PathBuf};

use rohas_telemetry::{Filter, Kind, Timestamp};
use serde::{Deserialize, Serialize};

/// What a daemon says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) pid: u32,
    /// Version of rohas.
    pub(crate) rohas: String,
    /// `http://host:port`
    pub(crate) address: String,
    /// How many versions of the project have been served.
    pub(crate) version: u64,
    pub(crate) ready: bool,
    pub(crate) requests: usize,
    #[serde(flatten)]
    pub(crate) overview: view::Overview,
    pub(crate) telemetry: rohas_telemetry::Stats,
}

/// An event that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) trace_id: String,
}

/// How an event that is published by hand differs from what its payload says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishOptions {
    /// Instead of the payload's field that the schema names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    /// Milliseconds until it is due.
    #[serde(default)]
    pub(crate) delay_ms: u64,
}

/// Which entries of the traces list are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TraceQuery {
    pub(crate) limit: usize,
    /// Empty for all.
    pub(crate) statuses: Vec<rohas_telemetry::Status>,
    /// Empty for all.
    pub(crate) kinds: Vec<Kind>,
    /// Name of an api or event, or of a handler.
    pub(crate) name: Option<String>,
    /// Nanoseconds since 1970.
    pub(crate) since: Option<u64>,
}

impl From<TraceQuery> for Filter {
    fn from(query: TraceQuery) -> Self {
        Self {
            limit: query.limit,
            statuses: query.statuses,
            kinds: query.kinds,
            name: query.name,
            since: query.since.map(Timestamp::from_nanos),
            until: None,
        }
    }
}

/// The socket of the project at `root`.
fn path(root: &Path) -> PathBuf {
    root.join(".rohas/rohas.sock")
}
