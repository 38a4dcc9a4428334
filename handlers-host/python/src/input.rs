//! What did the daemon send with an invoke? Kept as Python objects and bytes until the call is entered.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyList, PyString};

use crate::decode;
use crate::reply::Form;

/// The input of one call.
pub(crate) enum Input {
    /// An HTTP request.
    Api(Request),
    /// A message of an event.
    Event(Event),
    /// A run of a cron job.
    Cron(Box<Cron>),
    /// What happened on a WebSocket connection.
    WebSocket(Box<WebSocket>),
    /// A request before its handler, or after it.
    Middleware(Box<Middleware>),
}

/// Decoded names and values, in order.
pub(crate) type TextPairs = Vec<(Py<PyString>, Py<PyString>)>;

/// An HTTP request.
pub(crate) struct Request {
    pub(crate) path_params: Vec<Py<PyString>>,
    pub(crate) query_params: TextPairs,
    pub(crate) headers: Py<Pairs>,
    /// The validated query, JSON.
    pub(crate) query: Option<Py<PyBytes>>,
    /// The validated body, JSON.
    pub(crate) body: Option<Py<PyBytes>>,
}

/// A message of an event.
pub(crate) struct Event {
    pub(crate) id: Py<PyString>,
    pub(crate) time: Box<str>,
    pub(crate) key: Option<Py<PyString>>,
    /// The validated payload, JSON.
    pub(crate) payload: Py<PyBytes>,
}

/// A run of a cron job.
pub(crate) struct Cron {
    pub(crate) name: Py<PyString>,
    pub(crate) schedule: Py<PyString>,
    pub(crate) slot: Box<str>,
}

/// What happened on a WebSocket connection.
pub(crate) struct WebSocket {
    pub(crate) connection: Connection,
    pub(crate) phase: Phase,
}

/// A WebSocket connection.
pub(crate) struct Connection {
    pub(crate) id: Py<PyString>,
    pub(crate) path: Py<PyString>,
    pub(crate) connected_at: Box<str>,
    pub(crate) path_params: TextPairs,
    pub(crate) query_params: TextPairs,
    pub(crate) headers: Py<Pairs>,
    pub(crate) client: Option<Py<PyString>>,
}

/// What happened on a WebSocket connection.
pub(crate) enum Phase {
    Opened,
    Message {
        time: Box<str>,
        /// Whether the data is the message itself, and not its validated JSON.
        binary: bool,
        data: Py<PyBytes>,
    },
    Closed {
        code: u16,
        reason: Py<PyString>,
    },
}

/// A request before its handler, or after it.
pub(crate) struct Middleware {
    pub(crate) target: Target,
    pub(crate) method: Py<PyString>,
    pub(crate) path: Py<PyString>,
    pub(crate) path_params: TextPairs,
    pub(crate) query_params: TextPairs,
    pub(crate) headers: Py<Pairs>,
    pub(crate) client: Option<Py<PyString>>,
    /// JSON; `None` when the request has no payload.
    pub(crate) payload: Option<Py<PyBytes>>,
    pub(crate) answer: Option<Answer>,
}

/// What a request leads to.
pub(crate) enum Target {
    Api(Py<PyString>),
    WebSocket(Py<PyString>, Connection),
}

/// The answer to a request, so far.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: TextPairs,
    /// JSON, empty for none.
    pub(crate) body: Py<PyBytes>,
}

impl Input {
    /// Copies what a frame refers to.
    ///
    /// # Errors
    ///
    /// When the interpreter has no memory left.
    pub(crate) fn new(py: Python<'_>, input: &decode::Input<'_>, body: &[u8]) -> PyResult<Self> {
        let text = |text: &str| PyString::new(py, text).unbind();
        match input {
            decode::Input::Api { path_params, query, headers, has_body, query_length } => {
                let (query_text, body) = split(body, *query_length);
                Ok(Self::Api(Request {
                    path_params: path_params.iter().map(|value| text(value)).collect(),
                    query_params: text_pairs(py, query),
                    headers: Pairs::new(py, headers)?,
                    query: query_text.map(|text| PyBytes::new(py, text).unbind()),
                    body: has_body.then(|| PyBytes::new(py, body).unbind()),
                }))
            }
            decode::Input::Event { id, time, key } => Ok(Self::Event(Event {
                id: text(id),
                time: (*time).into(),
                key: key.map(text),
                payload: PyBytes::new(py, body).unbind(),
            })),
            decode::Input::Cron { name, schedule, slot } => {
                Ok(Self::Cron(Box::new(Cron { name: text(name), schedule: text(schedule), slot: (*slot).into() })))
            }
            decode::Input::WebSocket { connection, phase } => {
                let connection = Connection::new(py, connection)?;
                Ok(Self::WebSocket(Box::new(WebSocket { connection, phase: Phase::new(py, phase, body) })))
            }
            decode::Input::Middleware { context, query, after } => {
                Ok(Self::Middleware(Box::new(Middleware::new(py, (context, query, after.as_ref()), body)?)))
            }
        }
    }

    /// How the result of a call with this input goes to the daemon.
    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Api(_) | Self::Event(_) | Self::Cron(_) => Form::Plain,
            Self::WebSocket(_) => Form::Frame,
            Self::Middleware(middleware) if middleware.answer.is_some() => Form::After,
            Self::Middleware(_) => Form::Before,
        }
    }
}

impl Connection {
    fn new(py: Python<'_>, connection: &decode::Connection<'_>) -> PyResult<Self> {
        Ok(Self {
            id: PyString::new(py, connection.id).unbind(),
            path: PyString::new(py, connection.path).unbind(),
            connected_at: connection.connected_at.into(),
            path_params: text_pairs(py, &connection.path_params),
            query_params: text_pairs(py, &connection.query),
            headers: Pairs::new(py, connection.headers)?,
            client: connection.client.map(|client| PyString::new(py, client).unbind()),
        })
    }
}

impl Phase {
    fn new(py: Python<'_>, phase: &decode::Phase<'_>, body: &[u8]) -> Self {
        match *phase {
            decode::Phase::Opened => Self::Opened,
            decode::Phase::Message { time, binary } => {
                Self::Message { time: time.into(), binary, data: PyBytes::new(py, body).unbind() }
            }
            decode::Phase::Closed { code, reason } => Self::Closed { code, reason: PyString::new(py, reason).unbind() },
        }
    }
}

impl Middleware {
    fn new(
        py: Python<'_>,
        (context, query, after): (&decode::Context<'_>, &decode::Pairs<'_>, Option<&decode::After<'_>>),
        body: &[u8],
    ) -> PyResult<Self> {
        let text = |text: &str| PyString::new(py, text).unbind();
        let (payload, answer) =
            match after.and_then(|after| Some((after, body.split_at_checked(after.payload_length)?))) {
                Some((after, (payload, rest))) => {
                    let headers = text_pairs(py, &after.headers);
                    (payload, Some(Answer { status: after.status, headers, body: PyBytes::new(py, rest).unbind() }))
                }
                None => (body, None),
            };
        Ok(Self {
            target: match &context.target {
                decode::Target::Api(name) => Target::Api(text(name)),
                decode::Target::WebSocket(name, connection) => {
                    Target::WebSocket(text(name), Connection::new(py, connection)?)
                }
            },
            method: text(context.method),
            path: text(context.path),
            path_params: text_pairs(py, &context.path_params),
            query_params: text_pairs(py, query),
            headers: Pairs::new(py, context.headers)?,
            client: context.client.map(text),
            payload: (!payload.is_empty()).then(|| PyBytes::new(py, payload).unbind()),
            answer,
        })
    }
}

fn text_pairs(py: Python<'_>, pairs: &decode::Pairs<'_>) -> TextPairs {
    let text = |text: &str| PyString::new(py, text).unbind();
    pairs.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn split(body: &[u8], query_length: Option<usize>) -> (Option<&[u8]>, &[u8]) {
    match query_length.and_then(|length| body.split_at_checked(length)) {
        Some((query, body)) => (Some(query), body),
        None => (None, body),
    }
}

/// Names and values of headers, decoded only when somebody iterates over them.
#[pyclass(frozen, module = "rohas_python")]
pub(crate) struct Pairs {
    encoded: Box<[u8]>,
}

impl Pairs {
    fn new(py: Python<'_>, encoded: &[u8]) -> PyResult<Py<Self>> {
        Py::new(py, Self { encoded: encoded.into() })
    }

    /// All values of a cookie header, as one text; `None` when there is none.
    pub(crate) fn cookie(&self) -> Option<String> {
        let pairs = decode::decode_pairs(&self.encoded).ok()?;
        let cookies: Vec<&str> = pairs.iter().filter(|(name, _)| *name == "cookie").map(|(_, value)| *value).collect();
        (!cookies.is_empty()).then(|| cookies.join("; "))
    }
}

#[pymethods]
impl Pairs {
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let pairs = decode::decode_pairs(&self.encoded).map_err(|error| PyValueError::new_err(error.to_string()))?;
        PyList::new(py, pairs)?.try_iter()
    }
}
