//! What is a call of a handler made of?

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::time::Instant;
use uuid::Uuid;

use crate::protocol;

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
    /// For a call that waits for its start for as long as it takes: how long it may run once it has begun, while `deadline` only says
    /// when to look. It may run for twice as long.
    pub patient: Option<Duration>,
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
    /// A run of a cron job. The invocation has no body.
    Cron(CronInput),
    /// A client of a WebSocket has come, sent a message, or gone. Only a message has a body.
    WebSocket(WebSocketInput),
    /// Before or after a handler. The body is the payload as JSON, empty for none; after a handler its answer's data follows.
    Middleware(MiddlewareInput),
}

impl Input {
    /// Whether the handler is told that a client has gone.
    #[must_use]
    pub fn is_disconnect(&self) -> bool {
        matches!(self, Self::WebSocket(WebSocketInput { phase: WebSocketPhase::Closed { .. }, .. }))
    }
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
    pub id: Uuid,
    /// When it was published.
    pub time: SystemTime,
    /// Its key.
    pub key: Option<Arc<str>>,
    /// Its name.
    pub event: Arc<str>,
}

/// A run of a cron job.
#[derive(Debug, Clone)]
pub struct CronInput {
    /// The job's name.
    pub name: Arc<str>,
    /// Its schedule as declared.
    pub schedule: Arc<str>,
    /// When it was due.
    pub slot: SystemTime,
}

/// What has happened on a WebSocket connection.
#[derive(Debug, Clone)]
pub struct WebSocketInput {
    /// The connection.
    pub connection: Arc<ConnectionInput>,
    /// What has happened.
    pub phase: WebSocketPhase,
}

/// What happens on a WebSocket connection.
#[derive(Debug, Clone)]
pub enum WebSocketPhase {
    /// The client has connected.
    Opened,
    /// The client has sent a message.
    Message {
        /// When it came.
        time: SystemTime,
        /// Whether the invocation's body is a binary frame as it came; else it is the message's data as JSON, already checked.
        binary: bool,
    },
    /// The client has gone.
    Closed {
        /// Close code; 1005 and 1006 stand for none, as in RFC 6455.
        code: u16,
        /// Close reason.
        reason: String,
    },
}

/// A WebSocket connection.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Unique.
    pub id: Arc<str>,
    /// Path as the schema has it.
    pub path: Arc<str>,
    /// Since when it is open.
    pub connected_at: SystemTime,
    /// Path parameters, decoded.
    pub path_params: Vec<(String, String)>,
    /// Query parameters, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Headers of the request that opened it.
    pub headers: HeaderMap,
    /// Address of the client.
    pub client: Option<IpAddr>,
}

/// A [`Connection`] as its calls carry it: encoded once, since it never changes.
#[derive(Clone)]
pub struct ConnectionInput {
    id: Arc<str>,
    encoded: Box<[u8]>,
}

/// Before or after a handler.
#[derive(Debug, Clone)]
pub struct MiddlewareInput {
    /// What is the same for all middlewares of a request.
    pub context: Arc<ContextInput>,
    /// Query parameters, as the middlewares before have left them.
    pub query: Vec<(String, String)>,
    /// The answer so far, for what runs after the handler.
    pub after: Option<AfterInput>,
}

/// A request that middlewares look at.
#[derive(Debug, Clone)]
pub struct MiddlewareContext {
    /// What was requested.
    pub target: MiddlewareTarget,
    /// Its method.
    pub method: Method,
    /// Its path as sent, without the query.
    pub path: Arc<str>,
    /// Path parameters, decoded.
    pub path_params: Vec<(String, String)>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Address of the client.
    pub client: Option<IpAddr>,
}

/// What a request that middlewares look at leads to.
#[derive(Debug, Clone)]
pub enum MiddlewareTarget {
    /// The api of this name.
    Api(Arc<str>),
    /// A WebSocket.
    WebSocket {
        /// Its name.
        name: Arc<str>,
        /// The connection that is about to be opened.
        connection: Arc<ConnectionInput>,
    },
}

/// A [`MiddlewareContext`] as its calls carry it: encoded once for all middlewares of a request.
#[derive(Clone)]
pub struct ContextInput {
    encoded: Box<[u8]>,
}

/// The answer to a request, so far.
#[derive(Debug, Clone)]
pub struct AfterInput {
    /// How many bytes of the invocation's body are the payload. The answer's data as JSON follows, nothing for none.
    pub payload_length: usize,
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
}

impl ConnectionInput {
    /// Encodes a connection.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self { id: Arc::clone(&connection.id), encoded: protocol::encode_connection(connection).into() }
    }

    /// The connection's id.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

impl fmt::Debug for ConnectionInput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ConnectionInput").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ContextInput {
    /// Encodes a context.
    #[must_use]
    pub fn new(context: &MiddlewareContext) -> Self {
        Self { encoded: protocol::encode_context(context).into() }
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

impl fmt::Debug for ContextInput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ContextInput").finish_non_exhaustive()
    }
}
