//! What does an event look like at a broker? CloudEvents 1.0, and what others send.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::envelope::Envelope;

/// A message on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The event.
    pub envelope: Envelope,
    /// How long another message of the same id is taken for a copy; zero for never.
    pub dedupe: Duration,
}

/// A message as a broker has it: headers without their prefix and in lower case, so that `ce-id`, `ce_id` and `cloudEvents:id` are all `id`.
#[derive(Debug, Clone, Default)]
pub struct Incoming {
    /// The event whose stream, queue or topic it came from.
    pub event: Arc<str>,
    /// CloudEvents attributes, by their names.
    pub attributes: Vec<(Box<str>, Box<str>)>,
    /// The content type, if it was said.
    pub content_type: Option<Box<str>>,
    /// The body.
    pub body: Bytes,
    /// The key by which the broker orders it, if it has one.
    pub key: Option<Arc<str>>,
    /// When the broker has taken it in, if it tells.
    pub time: Option<SystemTime>,
    /// The broker's own name of this message, the same each time that it is handed out, such as a stream and a sequence number.
    pub place: Option<Box<str>>,
}
