//! When did an event happen? RFC 3339 text becomes an aware `datetime`.

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::environment::Environment;
use crate::raw;
use crate::rfc3339;

/// An aware `datetime`; in UTC for `Z`.
///
/// # Errors
///
/// When the text is no RFC 3339 time.
pub(crate) fn datetime<'py>(environment: &Environment, text: &str, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
    // What the interpreter can't read, such as a leap second, is read below.
    if let Some(read) = &environment.from_iso
        && text.ends_with('Z')
        && let Ok(moment) = raw::call(read.bind(py), [PyString::new(py, text).as_any()])
    {
        return Ok(moment);
    }
    let time = rfc3339::parse(text).ok_or_else(|| PyValueError::new_err(format!("{text:?} is no RFC 3339 time")))?;
    let [year, month, day] = time.date;
    let [hour, minute, second] = time.clock;
    // Python knows no leap seconds.
    let second = second.min(59);
    let utc = environment.utc.bind(py);
    let arguments = (year, month, day, hour, minute, second, time.micros, utc);
    let moment = environment.datetime.bind(py).call1(arguments)?;
    if time.offset == 0 {
        return Ok(moment);
    }
    let options = PyDict::new(py);
    options.set_item(intern!(py, "minutes"), time.offset)?;
    let offset = py.import("datetime")?.getattr("timedelta")?.call((), Some(&options))?;
    moment.sub(offset)
}
