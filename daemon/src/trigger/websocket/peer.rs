//! What is one open connection to the rest of the daemon? An id, a queue, and signs of life; its task does the rest.

use std::sync::Arc;

use uuid::Uuid;

use crate::trigger::websocket::message::Message;
use crate::trigger::websocket::pulse::Pulse;
use crate::trigger::websocket::queue::Queue;

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
    /// Sends a message that anyone has for the client, at the time `now` of the registry's clock.
    pub(super) fn send(&self, message: Message, now: u64) {
        self.pulse.speak(now);
        self.queue.push(message);
    }

    /// Sends a message that is what the connection's own handlers return.
    pub(super) fn answer(&self, message: Message, now: u64) {
        self.pulse.speak(now);
        self.queue.answer(message);
    }
}
