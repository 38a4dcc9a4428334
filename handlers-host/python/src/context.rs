//! What are middlewares called with? A dict that describes the request, and after its handler the answer.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::call::Call;
use crate::environment::Environment;
use crate::input::{Middleware, Target};
use crate::mappings;
use crate::socket::Connections;

/// How to make the arguments of a middleware.
pub(crate) struct Context {
    connections: Connections,
    /// `generated.runtime.cookies`
    cookies: Py<PyAny>,
    /// From JSON to whatever it says.
    json: Py<PyAny>,
    /// `generated.responses.Answer`
    answer: Py<PyAny>,
}

impl Context {
    /// Reads what the loader found out.
    ///
    /// # Errors
    ///
    /// When the loader left something out.
    pub(crate) fn new(loaded: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            connections: Connections::new(loaded)?,
            cookies: loaded.getattr("cookies")?.unbind(),
            json: loaded.getattr("payload")?.unbind(),
            answer: loaded.getattr("answer")?.unbind(),
        })
    }

    /// The dict that describes the request.
    ///
    /// # Errors
    ///
    /// When the payload is no JSON, or there is no memory left.
    pub(crate) fn context<'py>(
        &self,
        environment: &Environment,
        (call, input): (&Call, &Middleware),
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let context = PyDict::new(py);
        let mappings = self.connections.mappings();
        context.set_item(intern!(py, "payload"), self.payload(input, py)?)?;
        context.set_item(intern!(py, "query_params"), mappings.query_params(&input.query_params, py)?)?;
        context.set_item(intern!(py, "headers"), mappings.headers(&input.headers, py)?)?;
        context.set_item(intern!(py, "cookies"), self.cookies(input, py)?)?;
        context.set_item(intern!(py, "method"), &input.method)?;
        context.set_item(intern!(py, "path"), &input.path)?;
        context.set_item(intern!(py, "path_params"), mappings::dict(&input.path_params, py)?)?;
        context.set_item(intern!(py, "client_ip"), &input.client)?;
        context.set_item(intern!(py, "trace_id"), &call.trace_id)?;
        match &input.target {
            Target::Api(name) => context.set_item(intern!(py, "api_name"), name)?,
            Target::WebSocket(name, connection) => {
                let connection = self.connections.unopened(environment, connection, py)?;
                context.set_item(intern!(py, "websocket_name"), name)?;
                context.set_item(intern!(py, "connection"), connection)?;
            }
        }
        Ok(context.into_any())
    }

    /// The answer so far, for what runs after the handler.
    ///
    /// # Errors
    ///
    /// When the daemon sent none, or there is no memory left.
    pub(crate) fn answer<'py>(&self, input: &Middleware, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(answer) = &input.answer else {
            return Err(PyTypeError::new_err("the daemon sent no answer to what runs after a handler"));
        };
        let headers = PyList::new(py, &answer.headers)?;
        self.answer.bind(py).call1((answer.status, headers, &answer.body))
    }

    fn payload<'py>(&self, input: &Middleware, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &input.payload {
            Some(payload) => self.json.bind(py).call1((payload,)),
            None => Ok(py.None().into_bound(py)),
        }
    }

    fn cookies<'py>(&self, input: &Middleware, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match input.headers.get().cookie() {
            Some(cookies) => self.cookies.bind(py).call1((cookies,)),
            None => Ok(PyDict::new(py).into_any()),
        }
    }
}
