//! How do commands reach a running daemon? HTTP over a Unix socket in the project, which only its owner can open.

mod client;
mod server;

pub(crate) use client::Client;
pub(crate) use server::Socket;

use std::path::{Path, PathBuf};

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
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) telemetry: rohas_telemetry::Stats,
}

/// How a subscription stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Subscription {
    pub(crate) event: String,
    pub(crate) handler: String,
    pub(crate) waiting: usize,
    pub(crate) in_flight: usize,
    pub(crate) dead_letters: usize,
}

/// An event that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    pub(crate) id: String,
    pub(crate) event: String,
    pub(crate) trace_id: String,
}

/// The socket of the project at `root`.
fn path(root: &Path) -> PathBuf {
    root.join(".rohas/rohas.sock")
}
