//! What does an event look like at a broker? CloudEvents 1.0, and what others send.
//!
//! `name` has the attributes' names and bounds, `write` makes messages of envelopes, `read` envelopes of messages, with `object` (members of
//! a JSON object), `found` (attributes before they are understood), `time` and `text` (what headers cannot carry) below it.
//!
//! Reading is total: whatever comes becomes an [`Envelope`] or [`Unreadable`], which has an envelope too. What is decided:
//!
//! - A message is structured where its content type says so; else binary where it has a `specversion`; else its body decides: an object
//!   with `specversion`, `id`, `source` and `type` is structured, one with `topic`, `payload` and `timestamp` is the original's, and any other body is the
//!   payload as plain JSON, whatever its content type says.
//! - Only version 1.0 of CloudEvents is understood. `id`, `source` and `type` must be there, `time` must be RFC 3339. An attribute that comes twice must say the same
//!   twice. Batches, and formats other than JSON, are refused.
//! - Data is JSON unless its content type says otherwise: text becomes a JSON string, anything else a JSON string in base64, as the type `Bytes` of
//!   the schema has it. No data is `null`. JSON is what `serde_json` reads as a value: no NaN, at most 128 levels, numbers in the range of a double.
//! - The event is that of the place it came from, whatever `type` or `topic` say: others have names of their own.
//! - Without `rohasversion` it is not known to be checked against any declaration: its version is 0.

mod found;
mod name;
mod object;
mod read;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod write;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::envelope::Envelope;

pub use name::MAX_ATTRIBUTE;
pub use read::{Reason, Unreadable, read};
pub use text::{decoded, encoded};
pub use write::{Attributes, attributes, compact, original, structured};

/// The content type of a body that is the data itself.
pub const JSON: &str = "application/json";

/// The content type of [`structured`].
pub const CLOUD_EVENTS_JSON: &str = "application/cloudevents+json";

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
