//! What must be known to call a handler? All that can be found out when it is loaded, so that a call looks nothing up.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::call::Call;
use crate::context::Context;
use crate::environment::Environment;
use crate::input::{Cron, Event, Input, Request};
use crate::instance::Class;
use crate::mappings::Mappings;
use crate::raw;
use crate::socket::Socket;
use crate::time;

/// A loaded handler.
pub(crate) struct Plan {
    /// The function.
    pub(crate) function: Py<PyAny>,
    /// What the function is called with.
    pub(crate) parameters: Parameters,
    /// Whether it runs on the loop.
    pub(crate) asynchronous: bool,
    shape: Shape,
    /// The handler's name.
    pub(crate) name: Py<PyString>,
}

/// What a function is called with.
#[derive(Clone, Copy)]
pub(crate) enum Parameters {
    /// Nothing.
    None,
    /// The argument of its kind: a request, an event, a connection.
    One,
    /// That and the state.
    OneAndState,
    /// Both arguments of its kind, a message and a connection or a context and an answer, and the state.
    TwoAndState,
}

enum Shape {
    Api(Api),
    Event {
        class: Class,
        /// From JSON to the payload's type.
        payload: Py<PyAny>,
    },
    Cron,
    WebSocket(Socket),
    Middleware(Context),
}

struct Api {
    class: Class,
    /// Attributes, in the order of the path.
    path_params: Vec<Py<PyString>>,
    body: Option<Py<PyAny>>,
    query: Option<Py<PyAny>>,
    mappings: Mappings,
}

impl Plan {
    /// Reads what the loader found out.
    ///
    /// # Errors
    ///
    /// When the loader left something out.
    pub(crate) fn new(loaded: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            function: loaded.getattr("function")?.unbind(),
            parameters: match loaded.getattr("parameters")?.extract()? {
                0_u8 => Parameters::None,
                1 => Parameters::One,
                2 => Parameters::OneAndState,
                _ => Parameters::TwoAndState,
            },
            asynchronous: loaded.getattr("asynchronous")?.extract()?,
            shape: Shape::new(loaded)?,
            name: loaded.getattr("name")?.extract()?,
        })
    }

    /// The handler's argument.
    ///
    /// # Errors
    ///
    /// What pydantic objects to.
    pub(crate) fn argument<'py>(
        &self,
        environment: &Environment,
        (call, input): (&Call, &Input),
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match (&self.shape, input) {
            (Shape::Api(api), Input::Api(request)) => api.class.instance(&api.fields(request, py)?),
            (Shape::Event { class, payload }, Input::Event(event)) => {
                class.instance(&event_fields(payload, environment, event, py)?)
            }
            (Shape::Cron, Input::Cron(cron)) => cron_request(environment, cron, py),
            (Shape::WebSocket(socket), Input::WebSocket(input)) => socket.connection(environment, input, py),
            (Shape::Middleware(context), Input::Middleware(input)) => context.context(environment, (call, input), py),
            _ => Err(another_kind()),
        }
    }

    /// Both arguments of a handler whose kind has two.
    ///
    /// # Errors
    ///
    /// What pydantic objects to.
    pub(crate) fn arguments<'py>(
        &self,
        environment: &Environment,
        (call, input): (&Call, &Input),
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        match (&self.shape, input) {
            (Shape::WebSocket(socket), Input::WebSocket(input)) => {
                Ok((socket.message(environment, input, py)?, socket.connection(environment, input, py)?))
            }
            (Shape::Middleware(context), Input::Middleware(input)) => {
                Ok((context.context(environment, (call, input), py)?, context.answer(input, py)?))
            }
            _ => Err(another_kind()),
        }
    }
}

fn another_kind() -> PyErr {
    PyTypeError::new_err("the daemon sent another kind of input than this handler takes")
}

impl Shape {
    fn new(loaded: &Bound<'_, PyAny>) -> PyResult<Self> {
        let get = |name: &str| loaded.getattr(name);
        let class = || Class::new(&get("argument_class")?, &get("fields")?);
        let kind: String = get("kind")?.extract()?;
        match kind.as_str() {
            "api" => Ok(Self::Api(Api::new(loaded, class()?)?)),
            "event" => Ok(Self::Event { class: class()?, payload: get("payload")?.unbind() }),
            "cron" => Ok(Self::Cron),
            "websocket" => Ok(Self::WebSocket(Socket::new(loaded)?)),
            _ => Ok(Self::Middleware(Context::new(loaded)?)),
        }
    }
}

impl Api {
    fn new(loaded: &Bound<'_, PyAny>, class: Class) -> PyResult<Self> {
        let get = |name: &str| loaded.getattr(name);
        let optional = |name: &str| get(name).map(|value| (!value.is_none()).then(|| value.unbind()));
        Ok(Self {
            class,
            path_params: get("path_params")?.extract()?,
            body: optional("body")?,
            query: optional("query")?,
            mappings: Mappings::new(loaded)?,
        })
    }

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
        fields.set_item(intern!(py, "query_params"), self.mappings.query_params(&request.query_params, py)?)?;
        fields.set_item(intern!(py, "headers"), self.mappings.headers(&request.headers, py)?)?;
        Ok(fields)
    }
}

fn validated<'py>(validate: &Py<PyAny>, json: Option<&Py<PyBytes>>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
    match json {
        Some(json) => raw::call(validate.bind(py), [json.bind(py).as_any()]),
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
    fields.set_item(intern!(py, "payload"), raw::call(payload.bind(py), [event.payload.bind(py).as_any()])?)?;
    fields.set_item(intern!(py, "timestamp"), time::datetime(environment, &event.time, py)?)?;
    fields.set_item(intern!(py, "event_id"), &event.id)?;
    fields.set_item(intern!(py, "key"), &event.key)?;
    Ok(fields)
}

fn cron_request<'py>(environment: &Environment, cron: &Cron, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
    let request = PyDict::new(py);
    request.set_item(intern!(py, "query_params"), PyDict::new(py))?;
    request.set_item(intern!(py, "cron_name"), &cron.name)?;
    request.set_item(intern!(py, "schedule"), &cron.schedule)?;
    request.set_item(intern!(py, "scheduled_at"), time::datetime(environment, &cron.slot, py)?)?;
    Ok(request.into_any())
}
