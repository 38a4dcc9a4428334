//! What are the handlers of a WebSocket called with? A connection, and those that want it, a message.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::environment::Environment;
use crate::input::{Connection, Phase, WebSocket};
use crate::instance::Class;
use crate::mappings::{self, Mappings};
use crate::time;

/// How to make the arguments of a WebSocket's handler.
pub(crate) struct Socket {
    connections: Connections,
    message: Class,
    /// From JSON to a message's data.
    data: Py<PyAny>,
}

/// How to make connections.
pub(crate) struct Connections {
    class: Class,
    mappings: Mappings,
}

impl Socket {
    /// Reads what the loader found out.
    ///
    /// # Errors
    ///
    /// When the loader left something out.
    pub(crate) fn new(loaded: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            connections: Connections::new(loaded)?,
            message: Class::new(&loaded.getattr("message_class")?, &loaded.getattr("message_fields")?)?,
            data: loaded.getattr("payload")?.unbind(),
        })
    }

    /// The connection; when it was closed with its code and reason.
    ///
    /// # Errors
    ///
    /// When there is no memory left.
    pub(crate) fn connection<'py>(
        &self,
        environment: &Environment,
        input: &WebSocket,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let closed = match &input.phase {
            Phase::Closed { code, reason } => Some((*code, reason)),
            Phase::Opened | Phase::Message { .. } => None,
        };
        let fields = self.connections.fields(environment, &input.connection, py)?;
        fields.set_item(intern!(py, "close_code"), closed.map(|(code, _)| code))?;
        fields.set_item(intern!(py, "close_reason"), closed.map(|(_, reason)| reason))?;
        self.connections.class.instance(&fields)
    }

    /// The message; `None` when it is none that has called the handler.
    ///
    /// # Errors
    ///
    /// What pydantic objects to.
    pub(crate) fn message<'py>(
        &self,
        environment: &Environment,
        input: &WebSocket,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Phase::Message { time, binary, data } = &input.phase else { return Ok(py.None().into_bound(py)) };
        let fields = PyDict::new(py);
        if *binary {
            fields.set_item(intern!(py, "data"), data)?;
        } else {
            fields.set_item(intern!(py, "data"), self.data.bind(py).call1((data,))?)?;
        }
        fields.set_item(intern!(py, "timestamp"), time::datetime(environment, time, py)?)?;
        self.message.instance(&fields)
    }
}

impl Connections {
    /// Reads what the loader found out.
    ///
    /// # Errors
    ///
    /// When the loader left something out.
    pub(crate) fn new(loaded: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            class: Class::new(&loaded.getattr("argument_class")?, &loaded.getattr("fields")?)?,
            mappings: Mappings::new(loaded)?,
        })
    }

    /// A connection that is about to be opened.
    ///
    /// # Errors
    ///
    /// When there is no memory left.
    pub(crate) fn unopened<'py>(
        &self,
        environment: &Environment,
        connection: &Connection,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let fields = self.fields(environment, connection, py)?;
        fields.set_item(intern!(py, "close_code"), py.None())?;
        fields.set_item(intern!(py, "close_reason"), py.None())?;
        self.class.instance(&fields)
    }

    /// The classes of mappings.
    pub(crate) fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    fn fields<'py>(
        &self,
        environment: &Environment,
        connection: &Connection,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        fields.set_item(intern!(py, "connection_id"), &connection.id)?;
        fields.set_item(intern!(py, "path"), &connection.path)?;
        fields.set_item(intern!(py, "connected_at"), time::datetime(environment, &connection.connected_at, py)?)?;
        fields.set_item(intern!(py, "path_params"), mappings::dict(&connection.path_params, py)?)?;
        fields.set_item(intern!(py, "query_params"), self.mappings.query_params(&connection.query_params, py)?)?;
        fields.set_item(intern!(py, "headers"), self.mappings.headers(&connection.headers, py)?)?;
        fields.set_item(intern!(py, "client"), &connection.client)?;
        Ok(fields)
    }
}
