//! What may WebSocket clients do, and how long do they stay? `[websocket]`.

use std::num::NonZeroU32;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::duration::{self, DurationText};
use super::reader::Section;
use super::server::MOST_BODY;
use super::size::ByteSize;

/// The limits of WebSocket connections.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(default, deny_unknown_fields, rename = "Websocket")]
pub struct WebSocket {
    /// Most connections open at a time
    ///
    /// Further ones are refused with 503 before the upgrade. Open WebSockets do not count for `server.max_connections`.
    /// At least 1. Default: 16384.
    pub max_connections: NonZeroU32,

    /// Largest message
    ///
    /// All frames of a message together. A client that sends a larger one is closed with 1009. Unit: bytes, or text such as
    /// `512KiB`, at most `63MiB`, which is what a worker can be given at a time. Default: `1MiB`.
    pub max_message: ByteSize,

    /// Largest frame
    ///
    /// A client that announces a larger one is closed with 1009. Default: `1MiB`.
    pub max_frame: ByteSize,

    /// How much may wait to be sent to one client
    ///
    /// Counted in bytes of frames that the client has not taken yet, and 64 for each of them. A client for which more would
    /// wait is closed with 1013; others do not notice. A single larger message is sent to a client for which nothing waits.
    /// Default: `1MiB`.
    pub send_queue: ByteSize,

    /// How long a client may be silent before it is sent a ping
    ///
    /// `0s` means that no pings are sent. Default: `30s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub ping_interval: Duration,

    /// How long a client may take to answer a ping
    ///
    /// Whatever it sends counts as an answer. One that sends nothing is taken for gone, and its connection is cut (1006).
    /// Default: `20s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub ping_timeout: Duration,

    /// How long a connection may stay open without a message
    ///
    /// From the client or to it; pings do not count. It is closed with 1001 then. `0s` means for ever. Default: `0s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub idle_timeout: Duration,

    /// How long a close may take
    ///
    /// From the close frame to the end of the connection; it is cut then. Default: `5s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub close_timeout: Duration,

    /// Time limit of a handler
    ///
    /// Holds for each call of a handler of a `ws`. A slower one is answered for with an error frame. Default: `30s`.
    #[serde(serialize_with = "duration::serialize")]
    #[schemars(with = "DurationText")]
    pub handler_timeout: Duration,

    /// Most messages in their handlers at a time
    ///
    /// Of all connections together. Further ones wait, and nothing more is read from their connections. At least 1.
    /// Default: 1024.
    pub max_in_flight: NonZeroU32,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self {
            max_connections: const { NonZeroU32::new(16384).expect("not zero") },
            max_message: ByteSize::mib(1),
            max_frame: ByteSize::mib(1),
            send_queue: ByteSize::mib(1),
            ping_interval: Duration::from_secs(30),
            ping_timeout: Duration::from_secs(20),
            idle_timeout: Duration::ZERO,
            close_timeout: Duration::from_secs(5),
            handler_timeout: Duration::from_secs(30),
            max_in_flight: const { NonZeroU32::new(1024).expect("not zero") },
        }
    }
}

impl WebSocket {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let default = Self::default();
        Self {
            max_connections: section.get("max_connections", default.max_connections),
            max_message: section.at_most("max_message", default.max_message, MOST_BODY),
            max_frame: section.at_most("max_frame", default.max_frame, MOST_BODY),
            send_queue: section.get("send_queue", default.send_queue),
            ping_interval: section.get("ping_interval", default.ping_interval),
            ping_timeout: section.positive("ping_timeout", default.ping_timeout),
            idle_timeout: section.get("idle_timeout", default.idle_timeout),
            close_timeout: section.positive("close_timeout", default.close_timeout),
            handler_timeout: section.positive("handler_timeout", default.handler_timeout),
            max_in_flight: section.get("max_in_flight", default.max_in_flight),
        }
    }
}
