//! What the interpreter offers only through its C interface, made safe.

#![expect(unsafe_code, reason = "the C interface is only reachable by pointers; this is the one place for it")]

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyType};

/// What driving a coroutine by one step gave.
pub(crate) enum Step<'py> {
    /// It waits for this.
    Yielded(Bound<'py, PyAny>),
    /// It is finished.
    Returned(Bound<'py, PyAny>),
}

/// Drives a coroutine, as `coroutine.send(value)` does but without an exception for the end.
///
/// # Errors
///
/// What the coroutine raises.
pub(crate) fn send<'py>(coroutine: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>) -> PyResult<Step<'py>> {
    let py = coroutine.py();
    let mut result = std::ptr::null_mut();
    // SAFETY: both objects are alive and we are attached; `result` receives an owned reference, or null on an error.
    let outcome = unsafe { ffi::PyIter_Send(coroutine.as_ptr(), value.as_ptr(), &raw mut result) };
    // SAFETY: the reference is ours, see above.
    let result = unsafe { Bound::from_owned_ptr_or_opt(py, result) };
    match (outcome, result) {
        (ffi::PySendResult::PYGEN_NEXT, Some(result)) => Ok(Step::Yielded(result)),
        (ffi::PySendResult::PYGEN_RETURN, Some(result)) => Ok(Step::Returned(result)),
        _ => Err(PyErr::fetch(py)),
    }
}

/// Calls with one or two arguments, which need no tuple here.
///
/// # Errors
///
/// What the callable raises.
pub(crate) fn call<'py, const N: usize>(
    callable: &Bound<'py, PyAny>,
    arguments: [&Bound<'py, PyAny>; N],
) -> PyResult<Bound<'py, PyAny>> {
    let [first, second] = pointers(arguments);
    // SAFETY: all are alive and we are attached; a null ends the arguments. The function takes no reference over and returns an
    // owned one, or null with an error set.
    unsafe {
        let end = std::ptr::null_mut::<ffi::PyObject>();
        let result = ffi::PyObject_CallFunctionObjArgs(callable.as_ptr(), first, second, end);
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// Calls a method with one or two arguments, for which neither a tuple nor a bound method is made.
///
/// # Errors
///
/// What the method raises.
pub(crate) fn call_method<'py, const N: usize>(
    object: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
    arguments: [&Bound<'py, PyAny>; N],
) -> PyResult<Bound<'py, PyAny>> {
    let [first, second] = pointers(arguments);
    // SAFETY: as in `call`.
    unsafe {
        let end = std::ptr::null_mut::<ffi::PyObject>();
        let result = ffi::PyObject_CallMethodObjArgs(object.as_ptr(), name.as_ptr(), first, second, end);
        Bound::from_owned_ptr_or_err(object.py(), result)
    }
}

/// The arguments, then null.
fn pointers<const N: usize>(arguments: [&Bound<'_, PyAny>; N]) -> [*mut ffi::PyObject; 2] {
    const { assert!(0 < N && N <= 2, "one or two arguments") };
    std::array::from_fn(|index| arguments.get(index).map_or(std::ptr::null_mut(), |argument| argument.as_ptr()))
}

/// An instance on which no `__init__` was run, for a class that has `object`'s own `__new__`.
///
/// # Errors
///
/// When there is no memory left.
pub(crate) fn blank<'py>(class: &Bound<'py, PyType>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: the class is alive and we are attached; the function returns an owned reference or null with an error set.
    unsafe {
        let instance = ffi::PyType_GenericNew(class.as_type_ptr(), std::ptr::null_mut(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(class.py(), instance)
    }
}

/// `object.__setattr__`, which the class's own `__setattr__` doesn't get to see.
///
/// # Errors
///
/// When the attribute can't be set.
pub(crate) fn set(object: &Bound<'_, PyAny>, name: &Bound<'_, PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: all three are alive and we are attached; the function takes no reference over and returns 0 or -1 with an error set.
    let outcome = unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value.as_ptr()) };
    if outcome == 0 { Ok(()) } else { Err(PyErr::fetch(object.py())) }
}

/// What a buffer such as a `bytearray` holds; `bytes` themselves are not copied.
///
/// # Errors
///
/// When it is no buffer, or there is no memory left.
pub(crate) fn bytes<'py>(buffer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    // SAFETY: the object is alive and we are attached; the function returns an owned reference or null with an error set.
    let bytes = unsafe { Bound::from_owned_ptr_or_err(buffer.py(), ffi::PyBytes_FromObject(buffer.as_ptr())) };
    Ok(bytes?.cast_into()?)
}

/// Whether an object is an instance of a class or of one derived from it, by inheritance alone: a class can't claim otherwise,
/// and no Python code runs.
pub(crate) fn inherits(object: &Bound<'_, PyAny>, class: &Bound<'_, PyType>) -> bool {
    // SAFETY: both are alive, both are types, and we are attached.
    unsafe { ffi::PyType_IsSubtype(object.get_type_ptr(), class.as_type_ptr()) != 0 }
}

/// Whether nobody but the caller holds an object.
pub(crate) fn is_alone(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the object is alive and we are attached.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) == 1 }
}
