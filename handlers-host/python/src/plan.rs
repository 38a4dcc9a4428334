//! What must be known to call a handler? All that can be found out when it is loaded, so that a call looks nothing up.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyType};

use crate::environment::Environment;
use crate::input::{Event, Input, Request};
use crate::instance::Class;
use crate::raw;
use crate::time;

/// A loaded handler.
pub(crate) struct Plan {
    /// The function.
    pub(crate) function: Py<PyAny>,
    /// How many arguments the function takes, at most two.
    pub(crate) parameters: usize,
    /// Whether it runs on the loop.
    pub(crate) asynchronous: bool,
    /// The class of the first argument.
    class: Class,
    shape: Shape,
    /// The handler's name.
    pub(crate) name: Py<PyString>,
}

enum Shape {
    Api(Api),
    Event {
        /// From JSON to the payload's type.
        payload: Py<PyAny>,
    },
}

struct Api {
    /// Attributes, in the order of the path.
    path_params: Vec<Py<PyString>>,
    body: Option<Py<PyAny>>,
    query: Option<Py<PyAny>>,
    query_params: Py<PyType>,
    headers: Py<PyType>,
}

impl Plan {
    /// Reads what the loader found out.
    ///
    /// # Errors
    ///
    /// When the loader left something out.
    pub(crate) fn new(loaded: &Bound<'_, PyAny>) -> PyResult<Self> {
        let get = |name: &str| loaded.getattr(name);
        let optional = |name: &str| get(name).map(|value| (!value.is_none()).then(|| value.unbind()));
        let shape = if get("kind")?.eq("api")? {
            Shape::Api(Api {
                path_params: get("path_params")?.extract()?,
                body: optional("body")?,
                query: optional("query")?,
                query_params: get("query_params")?.extract()?,
                headers: get("headers")?.extract()?,
            })
        } else {
            Shape::Event { payload: get("payload")?.unbind() }
        };
        Ok(Self {
            function: get("function")?.unbind(),
            parameters: get("parameters")?.extract()?,
            asynchronous: get("asynchronous")?.extract()?,
            class: Class::new(&get("argument_class")?, &get("fields")?)?,
            shape,
            name: get("name")?.extract()?,
        })
    }

    /// The handler's first argument.
    ///
    /// # Errors
    ///
    /// What pydantic objects to.
    pub(crate) fn argument<'py>(
        &self,
        environment: &Environment,
        input: &Input,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let fields = match (&self.shape, input) {
            (Shape::Api(api), Input::Api(request)) => api.fields(request, py)?,
            (Shape::Event { payload }, Input::Event(event)) => event_fields(payload, environment, event, py)?,
            _ => return Err(PyTypeError::new_err("the daemon sent another kind of input than this handler takes")),
        };
        self.class.instance(&fields)
    }
}

impl Api {
    fn fields<'py>(&self, request: &Request, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        for (attribute, value) in self.path_params.iter().zip(&request.path_params) {
            fields.set_item(attribute, value)?;
        }
        if let Some(body) = &self.body {
            fields.set_item(intern!(py, "body"), validated(body, request.body.as_ref(), py)?)?;
        }
        if let Some(query) = &self.query {
            fields.set_item(intern!(py, "query"), validated(query, request.query.as_ref(), py)?)?;
        }
        fields.set_item(intern!(py, "query_params"), self.query_params(request, py)?)?;
        fields.set_item(intern!(py, "headers"), self.headers(request, py)?)?;
        Ok(fields)
    }

    fn query_params<'py>(&self, request: &Request, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let params = self.query_params.bind(py).call0()?;
        if request.query_params.is_empty() {
            return Ok(params);
        }
        let by_name = params.cast::<PyDict>()?;
        for (name, value) in &request.query_params {
            by_name.set_item(name, value)?;
        }
        if by_name.len() < request.query_params.len() {
            params.setattr(intern!(py, "_pairs"), PyList::new(py, &request.query_params)?)?;
        }
        Ok(params)
    }

    fn headers<'py>(&self, request: &Request, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let headers = raw::blank(self.headers.bind(py))?;
        raw::set(&headers, intern!(py, "_pairs"), request.headers.bind(py))?;
        Ok(headers)
    }
}

fn validated<'py>(validate: &Py<PyAny>, json: Option<&Py<PyBytes>>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
    match json {
        Some(json) => validate.bind(py).call1((json,)),
        None => Ok(py.None().into_bound(py)),
    }
}

fn event_fields<'py>(
    payload: &Py<PyAny>,
    environment: &Environment,
    event: &Event,
    py: Python<'py>,
) -> PyResult<Bound<'py, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item(intern!(py, "payload"), payload.bind(py).call1((&event.payload,))?)?;
    fields.set_item(intern!(py, "timestamp"), time::datetime(environment, &event.time, py)?)?;
    fields.set_item(intern!(py, "event_id"), &event.id)?;
    fields.set_item(intern!(py, "key"), &event.key)?;
    Ok(fields)
}
