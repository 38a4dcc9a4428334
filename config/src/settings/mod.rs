//! How the daemon runs: `config/rohas.toml`, the environment and flags, checked.
//!
//! `layers` holds what was written and where, `reader` turns sections into structs and notices what nobody asked for,
//! `problem` says what was wrong, `effective` shows what holds and why,
//! `manual` describes what can be set; each section has a file of its own.

mod adapter;
mod address;
mod duration;
mod effective;
mod events;
mod layers;
mod load;
mod manual;
mod network;
mod origin;
mod problem;
mod project;
mod python;
mod reader;
mod redact;
mod reference;
mod secret;
mod server;
mod size;
mod stores;
mod suggest;
mod telemetry;
mod unknown;
mod url;
mod value;
mod websocket;
mod workbench;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;

pub use adapter::{
    Account, Adapter, Aws, AwsType, Brokers, Bus, Compression, Durability, EventBridge, ExchangeType, Kafka, Memory,
    Nats, QueueNames, Queues, RabbitMq, Remote, RocksDb, SaslMechanism, Sqs, Tls,
};
pub use address::{CorsOrigin, Host};
pub use duration::{format as format_duration, parse as parse_duration};
pub use effective::{Effective, Setting};
pub use events::Events;
pub use load::{Error, FILE, Loaded, Overrides};
pub use manual::{json_schema, reference};
pub use network::Network;
pub use origin::Origin;
pub use problem::{Problem, Problems};
pub use project::Project;
pub use python::{Python, PythonMode, Workers};
pub use secret::Secret;
pub use server::{MOST_BODY, Server};
pub use size::ByteSize;
pub use telemetry::{Telemetry, TelemetryType};
pub use url::BrokerUrl;
pub use websocket::WebSocket;
pub use workbench::Workbench;

/// The settings of a project, `config/rohas.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields)]
pub struct Settings {
    /// The project itself.
    pub project: Project,
    /// The HTTP listener and its limits.
    pub server: Server,
    /// The broker of every event that names no other.
    pub adapter: Adapter,
    /// Further brokers by name; an event chooses one with `adapter:`.
    pub adapters: IndexMap<String, Adapter>,
    /// Defaults of delivery; an `event` in the schema overrides them for itself.
    pub events: Events,
    /// The workers that run Python handlers.
    pub python: Python,
    /// The record of every invocation.
    pub telemetry: Telemetry,
    /// The limits of WebSocket connections.
    pub websocket: WebSocket,
    /// Access to the workbench, which this version does not serve yet; existing projects have these keys.
    pub workbench: Workbench,
}
