//! How does a worker come up? From the descriptors in its environment to the running loop.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyModule};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::connection::Connection;
use crate::flusher::Flusher;
use crate::ids::Ids;
use crate::slots::Slots;
use crate::watchdog;
use crate::worker::Worker;

/// A module of the Python part.
struct Support {
    name: &'static CStr,
    file: &'static CStr,
    code: &'static str,
}

/// The Python part, each module before those that import it.
const SUPPORT: [Support; 7] = [
    Support { name: c"rohas_worker.values", file: c"<rohas_worker.values>", code: include_str!("support/values.py") },
    Support {
        name: c"rohas_worker.failure",
        file: c"<rohas_worker.failure>",
        code: include_str!("support/failure.py"),
    },
    Support { name: c"rohas_worker.remedy", file: c"<rohas_worker.remedy>", code: include_str!("support/remedy.py") },
    Support { name: c"rohas_worker.output", file: c"<rohas_worker.output>", code: include_str!("support/output.py") },
    Support { name: c"rohas_worker.tasks", file: c"<rohas_worker.tasks>", code: include_str!("support/tasks.py") },
    Support { name: c"rohas_worker.loader", file: c"<rohas_worker.loader>", code: include_str!("support/loader.py") },
    Support { name: c"rohas_worker.loop", file: c"<rohas_worker.loop>", code: include_str!("support/loop.py") },
];

/// Runs the worker until it is drained; returns the exit code.
#[pyfunction]
pub(crate) fn main(py: Python<'_>) -> PyResult<i32> {
    let connection = Connection::new(inherited(py, "ROHAS_SOCKET_FD")?);
    let slots = Slots::map(&File::from(inherited(py, "ROHAS_SLOTS_FD")?))?;
    let ids = Ids::map(&File::from(inherited(py, "ROHAS_IDS_FD")?))?;
    watchdog::start(&connection)?;
    let worker = Bound::new(py, Worker::new(connection, slots, ids))?;
    Flusher::start(worker.clone().unbind())?;
    let event_loop = support(py)?;
    event_loop.getattr("run")?.call1((worker,))?.extract()
}

/// Makes the package of the Python part; returns its last module.
fn support(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    let package = PyModule::new(py, "rohas_worker")?;
    package.setattr("__path__", PyList::empty(py))?;
    let modules = py.import("sys")?.getattr("modules")?;
    modules.set_item("rohas_worker", &package)?;
    let mut last = package.clone();
    for part in SUPPORT {
        // `from_code` enters the module under its name as well.
        last = PyModule::from_code(py, &CString::new(part.code)?, part.file, part.name)?;
        let name = part.name.to_string_lossy();
        package.setattr(name.trim_start_matches("rohas_worker."), &last)?;
    }
    Ok(last)
}

/// A descriptor that the daemon named in the environment. It goes no further: not to the handlers' environment and not to
/// the programs they start.
fn inherited(py: Python<'_>, variable: &str) -> PyResult<OwnedFd> {
    let environ = py.import("os")?.getattr("environ")?;
    let text: Option<String> = environ.call_method1("pop", (variable, py.None()))?.extract()?;
    let missing = || PyRuntimeError::new_err(format!("{variable} names no descriptor: the daemon starts this program"));
    let fd: RawFd = text.and_then(|text| text.parse().ok()).ok_or_else(missing)?;
    let owned = own(fd);
    fcntl_setfd(&owned, FdFlags::CLOEXEC).map_err(io::Error::from)?;
    Ok(owned)
}

#[expect(unsafe_code, reason = "a descriptor inherited from the parent process is only a number")]
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the daemon opened the descriptor for us alone and named it once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
