//! How does what a handler returned become a `completed` frame?

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyString};

use crate::environment::Environment;
use crate::message::Header;
use crate::project::Project;
use crate::raw;

/// A reply with all that goes out with it.
pub(crate) struct Reply<'py> {
    /// The frame's header.
    pub(crate) header: Header,
    body: Bound<'py, PyBytes>,
    payloads: Vec<Bound<'py, PyBytes>>,
}

/// Texts of reply headers.
pub(crate) type Pair<'py> = (Bound<'py, PyString>, Bound<'py, PyString>);

/// What a result says.
pub(crate) struct Content<'py> {
    /// 0 for none.
    status: u16,
    headers: Vec<Pair<'py>>,
    body: Bound<'py, PyBytes>,
    /// Whether it takes the place of the answer that there was.
    replaces: bool,
}

/// How a result goes to the daemon.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As a value, or as a response with status and headers.
    Plain,
    /// As what is sent to WebSocket clients: bytes as they are.
    Frame,
    /// As what a middleware says before the handler.
    Before,
    /// As the answer that a middleware leaves after the handler.
    After,
}

/// The status of an answer that a middleware gives without one.
const OK: u16 = 200;

impl Form {
    /// What a result says in this form; `answer` is the answer before it, for what runs after a handler.
    ///
    /// # Errors
    ///
    /// When the result can't be serialised, or is none that such a handler can return.
    pub(crate) fn content<'py>(
        self,
        (environment, project): (&Environment, &Project),
        result: &Bound<'py, PyAny>,
        answer: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Content<'py>> {
        let py = result.py();
        let plain = |value: &Bound<'py, PyAny>| {
            Ok(Content { status: 0, headers: Vec::new(), body: project.to_json(environment, value)?, replaces: false })
        };
        match (self, answer) {
            (Self::Frame, _) if is_bytes(result) => {
                let binary = (PyString::intern(py, "content-type"), PyString::intern(py, "application/octet-stream"));
                Ok(Content { status: 0, headers: vec![binary], body: raw::bytes(result)?, replaces: false })
            }
            (Self::Before, _) if project.is_response(result) => {
                let (status, headers) = status_and_headers(result)?;
                let status = if status == 0 { OK } else { status };
                Ok(Content { status, headers, body: project.to_json(environment, result)?, replaces: false })
            }
            (Self::Before, _) => match result.cast::<PyDict>() {
                Ok(said) => plain(&project.said(environment, said)?),
                Err(_) => plain(result),
            },
            (Self::After, Some(answer)) => {
                let (status, headers, body, replaces) = environment.settle(result, answer)?;
                Ok(Content { status, headers, body, replaces })
            }
            _ => plain(result),
        }
    }
}

fn is_bytes(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyBytes>() || value.is_instance_of::<PyByteArray>()
}

impl<'py> Reply<'py> {
    /// Serialises a result and collects what the state holds.
    ///
    /// # Errors
    ///
    /// When the result can't be serialised.
    pub(crate) fn new(
        id: u64,
        (environment, project): (&Environment, &Project),
        result: &Bound<'py, PyAny>,
        state: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        let body = project.to_json(environment, result)?;
        let (status, headers) = if project.is_response(result) { status_and_headers(result)? } else { (0, Vec::new()) };
        Self::of(id, Content { status, headers, body, replaces: false }, state)
    }

    /// A reply of this content, with what the state holds.
    ///
    /// # Errors
    ///
    /// When a header has no text form.
    pub(crate) fn of(id: u64, content: Content<'py>, state: Option<&Bound<'py, PyAny>>) -> PyResult<Self> {
        let Content { status, headers, body, replaces } = content;
        let mut header = if replaces { Header::replaced(id, status) } else { Header::completed(id, status) };
        header.elements(headers.len());
        for (name, value) in &headers {
            header.elements(2);
            header.text(&name.to_cow()?);
            header.text(&value.to_cow()?);
        }
        header.length(body.as_bytes().len());
        let mut reply = Self { header, body, payloads: Vec::new() };
        match state {
            Some(state) => reply.emit(state)?,
            None => reply.emit_nothing(),
        }
        if replaces {
            reply.header.boolean(true);
        }
        Ok(reply)
    }

    /// The frame's body.
    pub(crate) fn parts(&self) -> Vec<&[u8]> {
        let mut parts = Vec::with_capacity(1 + self.payloads.len());
        parts.push(self.body.as_bytes());
        parts.extend(self.payloads.iter().map(|payload| payload.as_bytes()));
        parts
    }

    fn emit_nothing(&mut self) {
        self.header.elements(0);
        self.header.elements(0);
    }

    fn emit(&mut self, state: &Bound<'py, PyAny>) -> PyResult<()> {
        let py = state.py();
        let triggers: Bound<'py, PyList> = state.getattr(intern!(py, "_triggers"))?.cast_into()?;
        self.header.elements(triggers.len());
        for trigger in triggers {
            let (event, payload, key, due): (Bound<'py, PyString>, _, Option<Bound<'py, PyString>>, u64) =
                trigger.extract()?;
            self.header.elements(4);
            self.header.text(&event.to_cow()?);
            match key {
                Some(key) => self.header.text(&key.to_cow()?),
                None => self.header.nil(),
            }
            self.header.number(due);
            self.payload(payload);
        }
        let sets: Bound<'py, PyDict> = state.getattr(intern!(py, "_auto_payloads"))?.cast_into()?;
        self.header.elements(sets.len());
        for (event, payload) in sets {
            self.header.elements(2);
            self.header.text(&event.cast::<PyString>()?.to_cow()?);
            self.payload(payload.cast_into()?);
        }
        Ok(())
    }

    fn payload(&mut self, payload: Bound<'py, PyBytes>) {
        self.header.length(payload.as_bytes().len());
        self.payloads.push(payload);
    }
}

fn status_and_headers<'py>(response: &Bound<'py, PyAny>) -> PyResult<(u16, Vec<Pair<'py>>)> {
    let py = response.py();
    let status: Option<u16> = response.getattr(intern!(py, "status"))?.extract()?;
    let headers = response.getattr(intern!(py, "headers"))?;
    let mut pairs = Vec::new();
    if headers.is_none() {
        return Ok((status.unwrap_or(0), pairs));
    }
    for item in headers.call_method0(intern!(py, "items"))?.try_iter()? {
        let (name, value): (Bound<'py, PyAny>, Bound<'py, PyAny>) = item?.extract()?;
        let name = name.str()?;
        match value.cast::<PyList>() {
            Ok(values) => {
                for value in values {
                    pairs.push((name.clone(), value.str()?));
                }
            }
            Err(_) => pairs.push((name, value.str()?)),
        }
    }
    Ok((status.unwrap_or(0), pairs))
}
