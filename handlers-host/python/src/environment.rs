//! What does the worker call in Python again and again? Looked up once, when it attaches to its event loop.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ThreadId};

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyType};

use crate::call::Call;
use crate::coroutine;
use crate::raw;
use crate::reply::Pair;

/// Callables of the interpreter, the event loop and our own Python part.
pub(crate) struct Environment {
    thread: ThreadId,
    event_loop: Py<PyAny>,
    create_task: Py<PyAny>,
    /// `create_task` takes the context since 3.11; before, it copies the one it is called in.
    pub(crate) takes_context: bool,
    /// Our class of tasks, and what asyncio offers to drive one by hand.
    tasks: Tasks,
    call_soon: Py<PyAny>,
    call_soon_threadsafe: Py<PyAny>,
    copy_context: Py<PyAny>,
    current: Py<PyAny>,
    set_current: Py<PyAny>,
    /// `Worker.flush`, bound.
    flush: Py<PyAny>,
    /// `Worker.writable`, bound.
    writable: Py<PyAny>,
    /// `Worker.proceed`, bound.
    proceed: Py<PyAny>,
    pub(crate) datetime: Py<PyAny>,
    /// `datetime.fromisoformat`, which reads a time in UTC with its `Z` since 3.11.
    pub(crate) from_iso: Option<Py<PyAny>>,
    pub(crate) utc: Py<PyAny>,
    /// `pydantic_core.to_json`; without pydantic no handler was loaded, so nothing calls it.
    to_json: Option<Serializer>,
    cancelled_error: Py<PyAny>,
    /// Our Python part: what isn't on the hot path.
    pub(crate) support: Py<PyAny>,
}

/// A `functools.partial` taken apart, because it copies its options at each call.
struct Serializer {
    function: Py<PyAny>,
    options: Py<PyDict>,
}

impl Serializer {
    fn new(partial: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        if partial.is_none() {
            return Ok(None);
        }
        let options = partial.getattr("keywords")?.cast_into()?.unbind();
        Ok(Some(Self { function: partial.getattr("func")?.unbind(), options }))
    }
}

struct Tasks {
    /// The loop has to make the tasks itself.
    by_loop: AtomicBool,
    class: Py<PyType>,
    /// `asyncio.Task.__init__`
    initialise: Py<PyAny>,
    enter: Py<PyAny>,
    leave: Py<PyAny>,
    first_step: Py<PyAny>,
    later_step: Py<PyAny>,
    /// From an awaitable to a coroutine.
    wait: Py<PyAny>,
}

impl Tasks {
    fn new(worker: &Bound<'_, PyAny>, support: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = worker.py();
        let asyncio = py.import("asyncio")?.getattr("tasks")?;
        let ours = support.getattr("tasks")?;
        let class = ours.getattr("task_class")?.call1((worker.getattr("materialise")?,))?;
        Ok(Self {
            // Later interpreters keep their tasks in another way, which nobody has tried with blank ones.
            by_loop: AtomicBool::new(py.version_info() >= (3, 14)),
            class: class.cast_into()?.unbind(),
            initialise: asyncio.getattr("Task")?.getattr("__init__")?.unbind(),
            enter: asyncio.getattr("_enter_task")?.unbind(),
            leave: asyncio.getattr("_leave_task")?.unbind(),
            first_step: wrap_pyfunction!(coroutine::first_step, py)?.into_any().unbind(),
            later_step: wrap_pyfunction!(coroutine::later_step, py)?.into_any().unbind(),
            wait: ours.getattr("wait")?.unbind(),
        })
    }
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
        let moment = datetime.getattr("datetime")?;
        let from_iso = (py.version_info() >= (3, 11)).then(|| moment.getattr("fromisoformat"));
        Ok(Self {
            thread: thread::current().id(),
            create_task: event_loop.getattr("create_task")?.unbind(),
            tasks: Tasks::new(worker, support)?,
            takes_context: py.version_info() >= (3, 11),
            call_soon: event_loop.getattr("call_soon")?.unbind(),
            call_soon_threadsafe: event_loop.getattr("call_soon_threadsafe")?.unbind(),
            event_loop: event_loop.clone().unbind(),
            copy_context: py.import("contextvars")?.getattr("copy_context")?.unbind(),
            set_current: current.getattr("set")?.unbind(),
            current: current.getattr("get")?.unbind(),
            flush: worker.getattr("flush")?.unbind(),
            writable: worker.getattr("writable")?.unbind(),
            proceed: worker.getattr("proceed")?.unbind(),
            utc: datetime.getattr("timezone")?.getattr("utc")?.unbind(),
            from_iso: from_iso.transpose()?.map(Bound::unbind),
            datetime: moment.unbind(),
            cancelled_error: py.import("asyncio")?.getattr("CancelledError")?.unbind(),
            to_json: Serializer::new(&support.getattr("to_json")?)?,
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

    /// Has the loop act on the rest of what was read at its next turn.
    pub(crate) fn proceed_soon(&self, py: Python<'_>) -> PyResult<()> {
        self.call_soon.bind(py).call1((self.proceed.bind(py),)).map(drop)
    }

    /// Has the loop flush, from another thread.
    pub(crate) fn call_soon_threadsafe(&self, py: Python<'_>) -> PyResult<()> {
        self.call_soon_threadsafe.bind(py).call1((self.flush.bind(py),)).map(drop)
    }

    /// An object that stands for the current task while a call's first step runs; `None` when tasks have to be made by the
    /// loop, because the project has set a task factory or a task is running already.
    pub(crate) fn blank_task<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.tasks.by_loop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let task = raw::blank(self.tasks.class.bind(py))?;
        match raw::call(self.tasks.enter.bind(py), [self.event_loop.bind(py), &task]) {
            Ok(_) => Ok(Some(task)),
            Err(error) if error.is_instance_of::<PyRuntimeError>(py) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks whether the project has set a task factory while it was loaded: then it wants to see every task.
    pub(crate) fn find_task_factory(&self, py: Python<'_>) -> PyResult<()> {
        let factory = self.event_loop.bind(py).call_method0(intern!(py, "get_task_factory"))?;
        self.tasks.by_loop.fetch_or(!factory.is_none(), Ordering::Relaxed);
        Ok(())
    }

    /// The contrary of [`Environment::blank_task`].
    pub(crate) fn leave_task(&self, task: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = task.py();
        raw::call(self.tasks.leave.bind(py), [self.event_loop.bind(py), task]).map(drop)
    }

    /// Makes a blank task a real one, which drives the call from the loop's next turn on.
    pub(crate) fn initialise_task(
        &self,
        task: &Bound<'_, PyAny>,
        call: &Bound<'_, Call>,
        context: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = task.py();
        let options = PyDict::new(py);
        options.set_item(intern!(py, "loop"), &self.event_loop)?;
        if self.takes_context {
            options.set_item(intern!(py, "context"), context)?;
        }
        self.tasks.initialise.bind(py).call((task, call), Some(&options)).map(drop)
    }

    /// Runs a call's first step in its context.
    pub(crate) fn first_step(&self, context: &Bound<'_, PyAny>, call: &Bound<'_, Call>) -> PyResult<()> {
        let py = call.py();
        raw::call_method(context, intern!(py, "run"), [self.tasks.first_step.bind(py), call.as_any()]).map(drop)
    }

    /// Runs a later step in its context.
    pub(crate) fn later_step<'py>(
        &self,
        context: &Bound<'py, PyAny>,
        call: &Bound<'py, Call>,
        exception: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        context.call_method1(intern!(call.py(), "run"), (&self.tasks.later_step, call, exception))
    }

    /// A coroutine that waits for an awaitable.
    pub(crate) fn coroutine<'py>(&self, awaitable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.tasks.wait.bind(awaitable.py()).call1((awaitable,))
    }

    /// Has the loop go on with a call, from a thread.
    pub(crate) fn resume(&self, call: &Bound<'_, Call>, context: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = call.py();
        let options = PyDict::new(py);
        options.set_item(intern!(py, "context"), context)?;
        let resume = call.getattr(intern!(py, "resume"))?;
        self.call_soon_threadsafe.bind(py).call((resume,), Some(&options)).map(drop)
    }

    /// A `CancelledError`.
    pub(crate) fn cancelled(&self, py: Python<'_>) -> PyErr {
        self.cancelled_error.bind(py).call0().map_or_else(|error| error, PyErr::from_value)
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
        raw::call(self.set_current.bind(call.py()), [call.as_any()]).map(drop)
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

    /// The status, headers and body of an answer as a middleware leaves it, and whether it is another one.
    ///
    /// # Errors
    ///
    /// When the middleware returned something that is no answer, or one that can't be serialised.
    pub(crate) fn settle<'py>(
        &self,
        result: &Bound<'py, PyAny>,
        answer: &Bound<'py, PyAny>,
    ) -> PyResult<(u16, Vec<Pair<'py>>, Bound<'py, PyBytes>, bool)> {
        let py = result.py();
        self.support.bind(py).getattr(intern!(py, "settle"))?.call1((result, answer))?.extract()
    }

    /// The keys of a middleware's dict that mean nothing.
    ///
    /// # Errors
    ///
    /// When a key has no text form.
    pub(crate) fn ignored<'py>(&self, said: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        self.support.bind(said.py()).call_method1(intern!(said.py(), "ignored"), (said,))
    }

    /// A value as JSON.
    ///
    /// # Errors
    ///
    /// When it can't be serialised.
    pub(crate) fn to_json<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let serializer = self.to_json.as_ref().ok_or_else(|| PyRuntimeError::new_err("pydantic is not installed"))?;
        let (function, options) = (serializer.function.bind(value.py()), serializer.options.bind(value.py()));
        Ok(function.call((value,), Some(options))?.cast_into()?)
    }

    /// Raises why a payload can't be serialised.
    ///
    /// # Errors
    ///
    /// Always, unless it can be serialised after all.
    pub(crate) fn explain<'py>(&self, payload: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let py = payload.py();
        Ok(self.support.bind(py).call_method1(intern!(py, "encode"), (payload,))?.cast_into()?)
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
    pub(crate) fn describe<'py>(
        &self,
        error: &PyErr,
        failure: &str,
        result: Option<&Bound<'py, PyAny>>,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        // The value alone doesn't know the traceback.
        let arguments = (error.clone_ref(py).into_value(py), failure, result);
        let described = self.support.bind(py).call_method1(intern!(py, "describe_failure"), arguments)?;
        Ok(described.cast_into()?)
    }
}
