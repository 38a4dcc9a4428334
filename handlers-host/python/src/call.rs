//! What happens between an invoke and its result? One [`Call`] knows: it is entered, runs, and is answered exactly once.
//!
//! **Invariant**: no lock is held and nothing is borrowed while Python runs, because a handler may come back here by
//! printing, logging or cancelling itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyOverflowError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::connection::lock;
use crate::coroutine::{self, Pending};
use crate::decode::Invoke;
use crate::frame;
use crate::input::Input;
use crate::message::Header;
use crate::output::Lines;
use crate::plan::{Parameters, Plan};
use crate::raw;
use crate::reply::{Form, Reply};
use crate::thread;
use crate::watchdog;
use crate::worker::{Worker, sent};

/// One call of one handler. For asyncio it is a coroutine: a task drives it, and it drives the handler's coroutine.
#[pyclass(frozen, weakref, module = "rohas_python")]
pub(crate) struct Call {
    pub(crate) worker: Py<Worker>,
    pub(crate) id: u64,
    slot: u32,
    /// Index into the handlers.
    pub(crate) handler: u32,
    pub(crate) attempt: u32,
    pub(crate) trace_id: Py<PyString>,
    /// How its result goes to the daemon.
    form: Form,
    /// Present until the call is entered.
    input: Mutex<Option<Input>>,
    /// The handler's coroutine, from its creation to its end.
    pub(crate) coroutine: Mutex<Option<Py<PyAny>>>,
    /// What the handler waits for while its task doesn't know it yet, or how it ended.
    pub(crate) pending: Mutex<Option<Pending>>,
    /// Where each step runs, on interpreters whose tasks can't be given a context.
    pub(crate) context: Mutex<Option<Py<PyAny>>>,
    /// The arguments that say more when it ends.
    held: Mutex<Option<Held>>,
    /// The task that runs it.
    pub(crate) task: Mutex<Option<Py<PyAny>>>,
    /// The worker knows it by its id.
    pub(crate) is_remembered: AtomicBool,
    /// Its task is one that the loop made.
    pub(crate) is_plain: AtomicBool,
    /// The daemon wants it stopped.
    cancelled: AtomicBool,
    /// It was taken over from the daemon.
    entered: AtomicBool,
    /// Its end has come; set before the answer is made, so that it is made once.
    ending: AtomicBool,
    /// It was answered or dropped.
    finished: AtomicBool,
    /// What was printed since the last line end.
    pub(crate) lines: Lines,
}

/// Arguments of a handler that the answer is made from.
struct Held {
    state: Py<PyAny>,
    /// What a middleware is given after a handler, and may have changed.
    answer: Option<Py<PyAny>>,
}

/// The body of `failed` when an error can't be described.
const INDESCRIBABLE: &[u8] = br#"{"class":"failed","code":null,"type":"WorkerError","message":"the handler failed, and its error can't be described","status":null,"details":null,"retry_after_ms":null,"expected":false,"traceback":"","file":null,"line":null}"#;

/// What the daemon is told when a call fails.
#[derive(Clone, Copy)]
enum Failure {
    /// The handler raised an exception.
    Raised,
    /// It was cancelled, as the daemon asked for.
    Cancelled,
    /// The result can't be written as JSON.
    Result,
    /// The result doesn't fit into a frame.
    TooLarge,
}

impl Failure {
    fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cancelled => "cancelled",
            Self::Result => "result",
            Self::TooLarge => "too_large",
        }
    }
}

impl Call {
    /// A call as the daemon asks for it.
    ///
    /// # Errors
    ///
    /// When the interpreter has no memory left.
    pub(crate) fn new(worker: &Bound<'_, Worker>, invoke: &Invoke<'_>, body: &[u8]) -> PyResult<Py<Self>> {
        let py = worker.py();
        let input = Input::new(py, &invoke.input, body)?;
        let call = Self {
            worker: worker.clone().unbind(),
            id: invoke.id,
            slot: invoke.slot,
            handler: invoke.handler,
            attempt: invoke.attempt,
            trace_id: PyString::new(py, invoke.trace_id).unbind(),
            form: input.form(),
            input: Mutex::new(Some(input)),
            coroutine: Mutex::default(),
            pending: Mutex::default(),
            context: Mutex::default(),
            held: Mutex::default(),
            task: Mutex::default(),
            is_remembered: AtomicBool::new(false),
            is_plain: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            entered: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            lines: Lines::default(),
        };
        Py::new(py, call)
    }

    /// Whether it was answered or dropped.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Notes that the daemon wants it stopped; returns the task that has to be told.
    pub(crate) fn cancel(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.cancelled.store(true, Ordering::Release);
        lock(&self.task).as_ref().map(|task| task.clone_ref(py))
    }

    /// Whether the daemon wants it stopped.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    /// Takes the call over from the daemon, right before user code runs; false when the daemon has taken it back, so that it
    /// is forgotten without an answer.
    pub(crate) fn enter(&self, py: Python<'_>) -> bool {
        if !self.is_finished() && self.worker.get().slots.enter(self.slot, self.id) {
            self.entered.store(true, Ordering::Release);
            return true;
        }
        if !self.ending.swap(true, Ordering::AcqRel) {
            self.finished.store(true, Ordering::Release);
            self.forget();
            self.worker.get().finished(py, self);
        }
        false
    }

    /// Answers that the worker itself failed to run it.
    pub(crate) fn abort(&self, py: Python<'_>, error: PyErr) {
        if self.entered.load(Ordering::Acquire) || self.enter(py) {
            self.finish(py, &Err(error));
        }
    }

    /// Calls the handler's function: a result from a plain one, a coroutine from an asynchronous one.
    ///
    /// # Errors
    ///
    /// What the handler raises, or what its input lacks.
    pub(crate) fn call_function<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, call) = (slf.py(), slf.get());
        let worker = call.worker.get();
        let plan = worker.plan(call.handler).ok_or_else(|| call.not_loaded())?;
        worker.environment()?.set_current(slf)?;
        let input = lock(&call.input).take();
        let function = plan.function.bind(py);
        match plan.parameters {
            Parameters::None => function.call0(),
            Parameters::One => raw::call(function, [&call.argument(plan, input, py)?]),
            Parameters::OneAndState => {
                let argument = call.argument(plan, input, py)?;
                let state = worker.project()?.state(plan, slf)?;
                *lock(&call.held) = Some(Held { state: state.clone().unbind(), answer: None });
                raw::call(function, [&argument, &state])
            }
            Parameters::TwoAndState => {
                let (first, second) = call.arguments(plan, input, py)?;
                let state = worker.project()?.state(plan, slf)?;
                let answer = (call.form == Form::After).then(|| second.clone().unbind());
                *lock(&call.held) = Some(Held { state: state.clone().unbind(), answer });
                function.call1((first, second, state))
            }
        }
    }

    fn argument<'py>(&self, plan: &Plan, input: Option<Input>, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let input = input.ok_or_else(|| PyRuntimeError::new_err("a call was entered twice"))?;
        plan.argument(self.worker.get().environment()?, (self, &input), py)
    }

    fn arguments<'py>(
        &self,
        plan: &Plan,
        input: Option<Input>,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let input = input.ok_or_else(|| PyRuntimeError::new_err("a call was entered twice"))?;
        plan.arguments(self.worker.get().environment()?, (self, &input), py)
    }

    fn not_loaded(&self) -> PyErr {
        PyRuntimeError::new_err(format!("handler {} is not loaded in this worker", self.handler))
    }

    /// Answers the daemon and lets go of everything.
    pub(crate) fn finish(&self, py: Python<'_>, outcome: &PyResult<Bound<'_, PyAny>>) {
        if self.ending.swap(true, Ordering::AcqRel) {
            return;
        }
        let held = lock(&self.held).take();
        let answered = match outcome {
            Ok(result) => self.complete(result, held.as_ref()),
            Err(error) => self.fail(error, self.failure(error, py), None, py),
        };
        if answered.is_err() {
            self.fail_briefly();
        }
        drop(held);
        self.forget();
        self.worker.get().finished(py, self);
    }

    fn forget(&self) {
        let input = lock(&self.input).take();
        let coroutine = lock(&self.coroutine).take();
        let task = lock(&self.task).take();
        // The context refers to the call: a circle that the garbage collector can't see.
        let context = lock(&self.context).take();
        // Dropped only now, without a lock: user code may run when an object dies.
        drop((input, coroutine, task, context));
    }

    fn complete(&self, result: &Bound<'_, PyAny>, held: Option<&Held>) -> PyResult<()> {
        let (py, worker) = (result.py(), self.worker.get());
        let state = held.map(|held| held.state.bind(py));
        let shared = (worker.environment()?, worker.project()?);
        let reply = match self.form {
            Form::Plain => Reply::new(self.id, shared, result, state),
            form => {
                let answer = held.and_then(|held| held.answer.as_ref()).map(|answer| answer.bind(py));
                form.content(shared, result, answer).and_then(|content| Reply::of(self.id, content, state))
            }
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => return self.fail(&error, Failure::Result, Some(result), py),
        };
        match self.answer(&reply.header, &reply.parts()) {
            Ok(()) => Ok(()),
            Err(error) => self.fail(&PyOverflowError::new_err(error.to_string()), Failure::TooLarge, None, py),
        }
    }

    fn fail(&self, error: &PyErr, failure: Failure, result: Option<&Bound<'_, PyAny>>, py: Python<'_>) -> PyResult<()> {
        let described = self.worker.get().environment()?.describe(error, failure.name(), result, py)?;
        let answered = self.answer(&Header::failed(self.id), &[described.as_bytes()]);
        answered.map_err(|error| PyOverflowError::new_err(error.to_string()))
    }

    /// The answer when no other can be made, for lack of memory above all.
    fn fail_briefly(&self) {
        if self.answer(&Header::failed(self.id), &[INDESCRIBABLE]).is_err() {
            watchdog::fail("a call can't be answered");
        }
    }

    fn answer(&self, header: &Header, parts: &[&[u8]]) -> Result<(), frame::Error> {
        let connection = &self.worker.get().connection;
        sent(self.end_output(connection));
        connection.push(header, parts)?;
        // Before anything is dropped: what user code prints then comes behind the answer.
        self.finished.store(true, Ordering::Release);
        Ok(())
    }

    fn failure(&self, error: &PyErr, py: Python<'_>) -> Failure {
        let environment = self.worker.get().environment();
        let cancelled = self.is_cancelled() && environment.is_ok_and(|environment| environment.is_cancelled(error, py));
        if cancelled { Failure::Cancelled } else { Failure::Raised }
    }
}

#[pymethods]
impl Call {
    /// The handler's coroutine, as long as it runs.
    #[getter]
    fn coroutine(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.coroutine).as_ref().map(|coroutine| coroutine.clone_ref(py))
    }

    /// What debuggers and task groups of other libraries ask a coroutine for: `cr_frame`, `cr_await`, `__name__`, ...
    fn __getattr__<'py>(&self, py: Python<'py>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        coroutine::attribute(self, py, name)
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        coroutine::next(slf)
    }

    /// The same as `__next__`: nothing but `None` is ever sent to a task's coroutine.
    fn send<'py>(slf: &Bound<'py, Self>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        coroutine::next(slf)
    }

    /// Raises an exception where the handler waits.
    #[pyo3(signature = (kind, value = None, _traceback = None))]
    fn throw<'py>(
        slf: &Bound<'py, Self>,
        kind: &Bound<'py, PyAny>,
        value: Option<&Bound<'py, PyAny>>,
        _traceback: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        coroutine::throw(slf, kind, value)
    }

    /// Closes the handler's coroutine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        coroutine::close(self, py)
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Runs a plain function, in a thread of the pool.
    fn run(slf: &Bound<'_, Self>) -> PyResult<()> {
        thread::run(slf)
    }

    /// Goes on on the loop with an awaitable that a plain function returned.
    fn resume(slf: &Bound<'_, Self>) -> PyResult<()> {
        coroutine::start_task(slf)
    }

    /// A line of the handler's logger: `log_fn` of the generated state.
    #[pyo3(signature = (*arguments))]
    fn __call__(slf: &Bound<'_, Self>, arguments: &Bound<'_, PyTuple>) -> PyResult<()> {
        let (_handler, level, message, fields): (
            Bound<'_, PyAny>,
            Bound<'_, PyString>,
            Bound<'_, PyString>,
            Bound<'_, PyAny>,
        ) = arguments.extract()?;
        let line = (&*level.to_string_lossy(), &*message.to_string_lossy());
        slf.get().worker.get().log(slf.py(), Some(slf.get()), line, Some(&fields))
    }
}
