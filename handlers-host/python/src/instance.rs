//! How is an instance of a generated class made without validating again what the daemon has validated?

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyFrozenSet, PySet, PyType};

use crate::raw;

/// A generated class, a pydantic model.
pub(crate) struct Class {
    class: Py<PyType>,
    /// The names of all fields that the worker sets.
    fields: Py<PyFrozenSet>,
}

impl Class {
    /// Looks at a class whose instances will get these fields.
    ///
    /// # Errors
    ///
    /// When the class makes its instances in a way of its own.
    pub(crate) fn new(class: &Bound<'_, PyAny>, fields: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = class.py();
        let class: Bound<'_, PyType> = class.clone().cast_into()?;
        let object = py.get_type::<PyAny>();
        if !class.getattr(intern!(py, "__new__"))?.is(&object.getattr(intern!(py, "__new__"))?) {
            return Err(PyTypeError::new_err(format!("{} has a __new__ of its own", class.name()?)));
        }
        let names = PyFrozenSet::new(py, fields.try_iter()?.collect::<PyResult<Vec<_>>>()?)?;
        Ok(Self { class: class.unbind(), fields: names.unbind() })
    }

    /// An instance with these fields.
    ///
    /// # Errors
    ///
    /// When there is no memory left.
    pub(crate) fn instance<'py>(&self, fields: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        let py = fields.py();
        let instance = raw::blank(self.class.bind(py))?;
        let none = py.None().into_bound(py);
        let names = raw::call(py.get_type::<PySet>().as_any(), [self.fields.bind(py).as_any()])?;
        raw::set(&instance, intern!(py, "__dict__"), fields)?;
        raw::set(&instance, intern!(py, "__pydantic_fields_set__"), &names)?;
        raw::set(&instance, intern!(py, "__pydantic_extra__"), &none)?;
        raw::set(&instance, intern!(py, "__pydantic_private__"), &none)?;
        Ok(instance)
    }
}
