//! What is one open connection to the rest of the daemon? An id, a queue, and signs of life; its task does the rest.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::trigger::websocket::pulse::Pulse;
use crate::trigger::websocket::queue::{End, Queue};

/// One open connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: Uuid,
    /// Name of its WebSocket.
    pub(super) websocket: Arc<str>,
    pub(super) queue: Queue,
    pub(super) pulse: Pulse,
}

impl Peer {
    /// Sends a message that is a whole frame, at the time `now` of the registry's clock.
    pub(super) fn send(&self, frame: Bytes, now: u64) {
        self.pulse.speak(now);
        self.queue.push(frame);
    }

    pub(super) fn end(&self, end: End) {
        self.queue.end(end);
    }
}
