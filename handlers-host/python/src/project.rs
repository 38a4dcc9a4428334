//! What do all calls of a loaded project share? The class of the second argument, and how results become JSON.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes, PyDict, PyType};

use crate::call::Call;
use crate::environment::Environment;
use crate::plan::Plan;
use crate::raw;

/// What a middleware can say in a dict. It may return its whole context; of what else there is only the keys are looked at.
const SAYS: [&str; 4] = ["payload", "query_params", "response_headers", "error"];

/// The loaded project.
pub(crate) struct Project {
    /// `generated.state.State`
    state: Py<PyAny>,
    /// The names of all declared events.
    events: Py<PyAny>,
    /// `Worker.generate_id`, bound.
    generate_id: Py<PyAny>,
    /// `Worker.encode`, bound.
    encode: Py<PyAny>,
    /// `generated.runtime.Response`
    response: Py<PyType>,
    /// `generated.runtime.QueryParams`
    query_params: Py<PyType>,
    /// `pydantic.BaseModel`
    model: Py<PyType>,
    by_alias: Py<PyDict>,
}

impl Project {
    /// Reads what the loader found out.
    ///
    /// # Errors
    ///
    /// When the loader left something out.
    pub(crate) fn new(worker: &Bound<'_, PyAny>, loaded: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            state: loaded.getattr("state")?.unbind(),
            events: loaded.getattr("events")?.unbind(),
            generate_id: worker.getattr("generate_id")?.unbind(),
            encode: worker.getattr("encode")?.unbind(),
            response: loaded.getattr("response")?.extract()?,
            query_params: loaded.getattr("query_params")?.extract()?,
            model: loaded.getattr("model")?.extract()?,
            by_alias: [("by_alias", true)].into_py_dict(worker.py())?.unbind(),
        })
    }

    /// The state of a call.
    ///
    /// # Errors
    ///
    /// When there is no memory left.
    pub(crate) fn state<'py>(&self, plan: &Plan, call: &Bound<'py, Call>) -> PyResult<Bound<'py, PyAny>> {
        let known = call.get();
        let arguments =
            (&plan.name, call, &self.generate_id, &self.events, known.trace_id.as_ref(), known.attempt, &self.encode);
        self.state.bind(call.py()).call1(arguments)
    }

    /// Whether a result is a reply with status and headers.
    pub(crate) fn is_response(&self, result: &Bound<'_, PyAny>) -> bool {
        raw::inherits(result, self.response.bind(result.py()))
    }

    /// What a middleware says in the dict that it returns.
    ///
    /// # Errors
    ///
    /// When a key has no text form.
    pub(crate) fn said<'py>(
        &self,
        environment: &Environment,
        result: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = result.py();
        let said = PyDict::new(py);
        for name in SAYS {
            let Some(value) = result.get_item(name)? else { continue };
            if raw::inherits(&value, self.query_params.bind(py)) {
                said.set_item(name, value.call_method0(intern!(py, "all"))?)?;
            } else {
                said.set_item(name, value)?;
            }
        }
        if said.len() < result.len() {
            let ignored = environment.ignored(result)?;
            if ignored.is_truthy()? {
                said.set_item(intern!(py, "ignored"), ignored)?;
            }
        }
        Ok(said.into_any())
    }

    /// A result or payload as JSON.
    ///
    /// # Errors
    ///
    /// When it has no JSON form.
    pub(crate) fn to_json<'py>(
        &self,
        environment: &Environment,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = value.py();
        if value.is_none() {
            return Ok(null(py));
        }
        if raw::inherits(value, self.model.bind(py))
            && let Ok(json) = self.model_to_json(value)
        {
            return Ok(json);
        }
        // What a model's own serialiser doesn't know, the general one may.
        environment.to_json(value)
    }

    fn model_to_json<'py>(&self, model: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let py = model.py();
        let serializer = model.get_type().getattr(intern!(py, "__pydantic_serializer__"))?;
        let to_json = serializer.getattr(intern!(py, "to_json"))?;
        Ok(to_json.call((model,), Some(self.by_alias.bind(py)))?.cast_into()?)
    }
}

fn null(py: Python<'_>) -> Bound<'_, PyBytes> {
    PyBytes::new(py, b"null")
}
