//! What did the daemon send with an invoke? Kept as Python objects and bytes until the call is entered.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator, PyList, PyString};

use crate::message;

/// The input of one call.
pub(crate) enum Input {
    /// An HTTP request.
    Api(Request),
    /// A message of an event.
    Event(Event),
}

/// An HTTP request.
pub(crate) struct Request {
    pub(crate) path_params: Vec<Py<PyString>>,
    pub(crate) query_params: Vec<(Py<PyString>, Py<PyString>)>,
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

impl Input {
    /// Copies what a frame refers to.
    ///
    /// # Errors
    ///
    /// When the interpreter has no memory left.
    pub(crate) fn new(py: Python<'_>, input: &message::Input<'_>, body: &[u8]) -> PyResult<Self> {
        let text = |text: &str| PyString::new(py, text).unbind();
        match input {
            message::Input::Api { path_params, query, headers, has_body, query_length } => {
                let (query_text, body) = split(body, *query_length);
                Ok(Self::Api(Request {
                    path_params: path_params.iter().map(|value| text(value)).collect(),
                    query_params: query.iter().map(|(name, value)| (text(name), text(value))).collect(),
                    headers: Py::new(py, Pairs { encoded: (*headers).into() })?,
                    query: query_text.map(|text| PyBytes::new(py, text).unbind()),
                    body: has_body.then(|| PyBytes::new(py, body).unbind()),
                }))
            }
            message::Input::Event { id, time, key } => Ok(Self::Event(Event {
                id: text(id),
                time: (*time).into(),
                key: key.map(text),
                payload: PyBytes::new(py, body).unbind(),
            })),
        }
    }
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

#[pymethods]
impl Pairs {
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let pairs = message::decode_pairs(&self.encoded).map_err(|error| PyValueError::new_err(error.to_string()))?;
        PyList::new(py, pairs)?.try_iter()
    }
}
