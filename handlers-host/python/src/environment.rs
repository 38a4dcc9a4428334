//! What does the worker call in Python again and again? Looked up once, when it attaches to its event loop.

use std::os::fd::RawFd;
use std::thread::{self, ThreadId};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::call::Call;

/// Callables of the interpreter, the event loop and our own Python part.
pub(crate) struct Environment {
    thread: ThreadId,
    event_loop: Py<PyAny>,
    create_task: Py<PyAny>,
    /// `create_task` takes the context since 3.11; before, it copies the one it is called in.
    takes_context: bool,
    call_soon: Py<PyAny>,
    call_soon_threadsafe: Py<PyAny>,
    copy_context: Py<PyAny>,
    current: Py<PyAny>,
    set_current: Py<PyAny>,
    /// `Worker.flush`, bound.
    flush: Py<PyAny>,
    /// `Worker.writable`, bound.
    writable: Py<PyAny>,
    pub(crate) datetime: Py<PyAny>,
    pub(crate) utc: Py<PyAny>,
    /// `pydantic_core.to_json` with our options; without pydantic no handler was loaded, so nothing calls it.
    to_json: Py<PyAny>,
    cancelled_error: Py<PyAny>,
    /// Our Python part: what isn't on the hot path.
    pub(crate) support: Py<PyAny>,
}

impl Environment {
    /// Looks everything up, on the loop's thread.
    ///
    /// # Errors
    ///
    /// When the interpreter or the loop lacks something.
    pub(crate) fn new(
        worker: &Bound<'_, PyAny>,
        event_loop: &Bound<'_, PyAny>,
        support: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let py = worker.py();
        let current = support.getattr("current_call")?;
        let datetime = py.import("datetime")?;
        Ok(Self {
            thread: thread::current().id(),
            create_task: event_loop.getattr("create_task")?.unbind(),
            takes_context: py.version_info() >= (3, 11),
            call_soon: event_loop.getattr("call_soon")?.unbind(),
            call_soon_threadsafe: event_loop.getattr("call_soon_threadsafe")?.unbind(),
            event_loop: event_loop.clone().unbind(),
            copy_context: py.import("contextvars")?.getattr("copy_context")?.unbind(),
            set_current: current.getattr("set")?.unbind(),
            current: current.getattr("get")?.unbind(),
            flush: worker.getattr("flush")?.unbind(),
            writable: worker.getattr("writable")?.unbind(),
            utc: datetime.getattr("timezone")?.getattr("utc")?.unbind(),
            datetime: datetime.getattr("datetime")?.unbind(),
            cancelled_error: py.import("asyncio")?.getattr("CancelledError")?.unbind(),
            to_json: support.getattr("to_json")?.unbind(),
            support: support.clone().unbind(),
        })
    }

    /// Whether this is the loop's thread.
    pub(crate) fn on_loop(&self) -> bool {
        thread::current().id() == self.thread
    }

    /// Has the loop flush at its next turn.
    pub(crate) fn call_soon(&self, py: Python<'_>) -> PyResult<()> {
        self.call_soon.bind(py).call1((self.flush.bind(py),)).map(drop)
    }

    /// The same from another thread.
    pub(crate) fn call_soon_threadsafe(&self, py: Python<'_>) -> PyResult<()> {
        self.call_soon_threadsafe.bind(py).call1((self.flush.bind(py),)).map(drop)
    }

    /// Has the loop run something, from another thread.
    pub(crate) fn on_loop_soon(&self, callback: &Bound<'_, PyAny>) -> PyResult<()> {
        self.call_soon_threadsafe.bind(callback.py()).call1((callback,)).map(drop)
    }

    /// A task that runs a call in a context of its own.
    pub(crate) fn create_task(&self, call: &Bound<'_, Call>) -> PyResult<Py<PyAny>> {
        let py = call.py();
        let context = self.context(py)?;
        let create_task = self.create_task.bind(py);
        let task = if self.takes_context {
            let options = PyDict::new(py);
            options.set_item(intern!(py, "context"), context)?;
            create_task.call((call,), Some(&options))?
        } else {
            context.call_method1(intern!(py, "run"), (create_task, call))?
        };
        Ok(task.unbind())
    }

    /// A context of its own for a call.
    pub(crate) fn context<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.copy_context.bind(py).call0()
    }

    /// Makes a call the one that prints and logs in the current context.
    pub(crate) fn set_current(&self, call: &Bound<'_, Call>) -> PyResult<()> {
        self.set_current.bind(call.py()).call1((call,)).map(drop)
    }

    /// The call that the current context belongs to.
    pub(crate) fn current<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, Call>>> {
        let current = self.current.bind(py).call0()?;
        Ok(current.cast_into().ok())
    }

    /// Has the loop tell us when the socket takes more.
    pub(crate) fn add_writer(&self, py: Python<'_>, fd: RawFd) -> PyResult<()> {
        let arguments = (fd, self.writable.bind(py));
        self.event_loop.bind(py).call_method1(intern!(py, "add_writer"), arguments).map(drop)
    }

    /// The contrary of [`Environment::add_writer`].
    pub(crate) fn remove_writer(&self, py: Python<'_>, fd: RawFd) -> PyResult<()> {
        self.event_loop.bind(py).call_method1(intern!(py, "remove_writer"), (fd,)).map(drop)
    }

    /// Ends the loop.
    pub(crate) fn stop(&self, py: Python<'_>) -> PyResult<()> {
        self.event_loop.bind(py).call_method0(intern!(py, "stop")).map(drop)
    }

    /// A value as JSON.
    ///
    /// # Errors
    ///
    /// When it can't be serialised.
    pub(crate) fn to_json<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(self.to_json.bind(value.py()).call1((value,))?.cast_into()?)
    }

    /// The fields of a log line as JSON.
    ///
    /// # Errors
    ///
    /// When the interpreter has no memory left: what JSON doesn't know becomes its `repr`.
    pub(crate) fn fields(&self, fields: &Bound<'_, PyAny>) -> PyResult<String> {
        self.support.bind(fields.py()).call_method1(intern!(fields.py(), "log_fields"), (fields,))?.extract()
    }

    /// Whether an exception is asyncio's `CancelledError`.
    pub(crate) fn is_cancelled(&self, error: &PyErr, py: Python<'_>) -> bool {
        error.matches(py, self.cancelled_error.bind(py)).unwrap_or(false)
    }

    /// The body of `failed` for an exception.
    ///
    /// # Errors
    ///
    /// When even that fails, for lack of memory for instance.
    pub(crate) fn describe<'py>(&self, error: &PyErr, failure: &str, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        // The value alone doesn't know the traceback.
        let arguments = (error.clone_ref(py).into_value(py), failure);
        let described = self.support.bind(py).call_method1(intern!(py, "describe_failure"), arguments)?;
        Ok(described.cast_into()?)
    }
}
