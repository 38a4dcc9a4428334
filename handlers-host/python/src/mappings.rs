//! What do query parameters and headers become? Instances of the classes that the generated code has for them.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyType};

use crate::input::{Pairs, TextPairs};
use crate::raw;

/// The generated classes of mappings.
pub(crate) struct Mappings {
    /// `generated.runtime.QueryParams`
    query_params: Py<PyType>,
    /// `generated.runtime.Headers`
    headers: Py<PyType>,
}

impl Mappings {
    /// Reads what the loader found out.
    ///
    /// # Errors
    ///
    /// When the loader left something out.
    pub(crate) fn new(loaded: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self {
            query_params: loaded.getattr("query_params")?.extract()?,
            headers: loaded.getattr("headers")?.extract()?,
        })
    }

    /// Query parameters: the last value by name, and all pairs where a name is repeated.
    ///
    /// # Errors
    ///
    /// When there is no memory left.
    pub(crate) fn query_params<'py>(&self, pairs: &TextPairs, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let params = self.query_params.bind(py).call0()?;
        if pairs.is_empty() {
            return Ok(params);
        }
        let by_name = params.cast::<PyDict>()?;
        for (name, value) in pairs {
            by_name.set_item(name, value)?;
        }
        if by_name.len() < pairs.len() {
            params.setattr(intern!(py, "_pairs"), PyList::new(py, pairs)?)?;
        }
        Ok(params)
    }

    /// Headers, not decoded until they are asked for.
    ///
    /// # Errors
    ///
    /// When there is no memory left.
    pub(crate) fn headers<'py>(&self, pairs: &Py<Pairs>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let headers = raw::blank(self.headers.bind(py))?;
        raw::set(&headers, intern!(py, "_pairs"), pairs.bind(py))?;
        Ok(headers)
    }
}

/// Pairs as a dict; of a repeated name the last value.
///
/// # Errors
///
/// When there is no memory left.
pub(crate) fn dict<'py>(pairs: &TextPairs, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in pairs {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}
