//! What is a call of a handler made of?

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

/// One attempt at running a handler.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Index of the handler in what the host loaded.
    pub handler: u32,
    /// Counted from 1.
    pub attempt: u32,
    /// Whether it must have a worker for itself while it runs, as a call that may kill its worker must.
    pub alone: bool,
    /// When it must have ended.
    pub deadline: Instant,
    /// The trace it belongs to.
    pub trace_id: [u8; 16],
    /// What the handler is given.
    pub input: Input,
    /// The payload as JSON, already checked against the schema; empty when there is none.
    pub body: Bytes,
}

/// What a handler is given besides its payload.
#[derive(Debug, Clone)]
pub enum Input {
    /// An HTTP request.
    Api(ApiInput),
    /// A delivery of an event.
    Event(EventInput),
}

/// An HTTP request.
#[derive(Debug, Clone)]
pub struct ApiInput {
    /// Path parameters in the order of the api's path, decoded.
    pub path_params: Vec<String>,
    /// Query parameters, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Request headers.
    pub headers: HeaderMap,
    /// Whether the request has a body; a body of the text `null` is one.
    pub has_body: bool,
    /// How many bytes of the invocation's body are the typed query, for an api that declares one.
    pub query_length: Option<usize>,
}

/// A delivery of an event.
#[derive(Debug, Clone)]
pub struct EventInput {
    /// The event's id.
    pub id: String,
    /// When it was published.
    pub time: SystemTime,
    /// Its key.
    pub key: Option<Arc<str>>,
    /// Its name.
    pub event: Arc<str>,
}
