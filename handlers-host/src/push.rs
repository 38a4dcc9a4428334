//! What can a handler do to WebSocket connections while it runs?

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

/// Takes what handlers do to WebSocket connections.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync + 'static {
    /// Called in the order in which one handler acts, and before its result is known. Nothing more is read from the worker until
    /// it is done; what takes long has to let others run meanwhile. A connection, WebSocket or room that isn't there is no
    /// error: it may just have gone.
    async fn push(&self, push: Push);
}

/// Where there are no connections.
#[async_trait]
impl Sink for () {
    async fn push(&self, _push: Push) {}
}

/// Something that a handler does to WebSocket connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// Send a frame to one connection.
    Send {
        /// Id of the connection.
        connection: String,
        /// What to send.
        frame: Frame,
    },
    /// Send a frame to all connections of a WebSocket.
    Broadcast {
        /// Name of the WebSocket.
        websocket: String,
        /// Only to those in this room.
        room: Option<String>,
        /// Not to this connection.
        exclude: Option<String>,
        /// What to send.
        frame: Frame,
    },
    /// Put a connection into a room of its WebSocket.
    Join {
        /// Id of the connection.
        connection: String,
        /// Name of the room.
        room: String,
    },
    /// Take a connection out of a room.
    Leave {
        /// Id of the connection.
        connection: String,
        /// Name of the room.
        room: String,
    },
    /// Close a connection.
    Close {
        /// Id of the connection.
        connection: String,
        /// Close code.
        code: u16,
        /// Close reason.
        reason: String,
    },
}

/// What is to be sent. The bytes are a part of what was read from the worker: whoever keeps them long copies them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// JSON.
    Text(Bytes),
    /// Anything.
    Binary(Bytes),
}
