//! What happens between an invoke and its result? One [`Call`] knows: it is entered, runs, and is answered exactly once.
//!
//! For asyncio it is a coroutine: a task drives it, and it drives the handler's coroutine. No lock is held and nothing is
//! borrowed while Python runs, because a handler may come back here by printing, logging or cancelling itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::{PyBaseException, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::connection::lock;
use crate::input::Input;
use crate::message::{Header, Invoke};
use crate::output::Lines;
use crate::plan::Plan;
use crate::raw::{self, Step};
use crate::reply::Reply;
use crate::worker::Worker;

/// One call of one handler.
#[pyclass(frozen, weakref, module = "rohas_python")]
pub(crate) struct Call {
    pub(crate) worker: Py<Worker>,
    pub(crate) id: u64,
    slot: u32,
    /// Index into the handlers.
    pub(crate) handler: u32,
    pub(crate) attempt: u32,
    pub(crate) trace_id: Py<PyString>,
    /// Present until the call is entered.
    input: Mutex<Option<Input>>,
    /// The handler's coroutine, from its creation to its end.
    coroutine: Mutex<Option<Py<PyAny>>>,
    /// The handler's second argument.
    state: Mutex<Option<Py<PyAny>>>,
    /// The task that runs it.
    task: Mutex<Option<Py<PyAny>>>,
    /// The daemon wants it stopped.
    cancelled: AtomicBool,
    /// Its end has come; set before the answer is made, so that it is made once.
    ending: AtomicBool,
    /// It was answered or dropped.
    finished: AtomicBool,
    /// What was printed since the last line end.
    pub(crate) lines: Lines,
}

/// What the daemon is told when a call fails.
#[derive(Clone, Copy)]
enum Failure {
    Raised,
    Cancelled,
    Result,
}

impl Failure {
    fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Cancelled => "cancelled",
            Self::Result => "result",
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
        let call = Self {
            worker: worker.clone().unbind(),
            id: invoke.id,
            slot: invoke.slot,
            handler: invoke.handler,
            attempt: invoke.attempt,
            trace_id: PyString::new(py, invoke.trace_id).unbind(),
            input: Mutex::new(Some(Input::new(py, &invoke.input, body)?)),
            coroutine: Mutex::default(),
            state: Mutex::default(),
            task: Mutex::default(),
            cancelled: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            lines: Lines::default(),
        };
        Py::new(py, call)
    }

    /// Whether it was answered.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Runs it on the loop.
    ///
    /// # Errors
    ///
    /// When no task can be made.
    pub(crate) fn start(slf: &Bound<'_, Self>) -> PyResult<()> {
        let call = slf.get();
        let task = call.worker.get().environment()?.create_task(slf)?;
        *lock(&call.task) = Some(task);
        Ok(())
    }

    /// Stops it as the daemon asks: at once when it has not started, at its next `await` when it runs on the loop. In a
    /// thread it goes on.
    ///
    /// # Errors
    ///
    /// When the task can't be cancelled.
    pub(crate) fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        self.cancelled.store(true, Ordering::Release);
        let task = lock(&self.task).as_ref().map(|task| task.clone_ref(py));
        match task {
            Some(task) => task.bind(py).call_method0(intern!(py, "cancel")).map(drop),
            None => Ok(()),
        }
    }

    /// Runs a plain function in the current thread, in a context of its own.
    ///
    /// # Errors
    ///
    /// When it can't be answered.
    pub(crate) fn run_in_thread(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let context = slf.get().worker.get().environment()?.context(py)?;
        context.call_method1(intern!(py, "run"), (slf.getattr(intern!(py, "run"))?,)).map(drop)
    }

    /// Takes the call over from the daemon; false when the daemon has taken it back.
    fn enter(&self) -> bool {
        self.worker.get().slots.enter(self.slot, self.id)
    }

    /// Calls the handler's function: a result from a plain one, a coroutine from an asynchronous one.
    fn call_function<'py>(slf: &Bound<'py, Self>, plan: &Plan) -> PyResult<Bound<'py, PyAny>> {
        let (py, call) = (slf.py(), slf.get());
        let worker = call.worker.get();
        worker.environment()?.set_current(slf)?;
        let input = lock(&call.input).take();
        let function = plan.function.bind(py);
        if plan.parameters == 0 {
            return function.call0();
        }
        let input = input.ok_or_else(|| PyRuntimeError::new_err("a call was entered twice"))?;
        let argument = plan.argument(worker.environment()?, &input, py)?;
        drop(input);
        if plan.parameters == 1 {
            return function.call1((argument,));
        }
        let state = worker.loaded()?.state(plan, slf)?;
        *lock(&call.state) = Some(state.clone().unbind());
        function.call1((argument, state))
    }

    /// One step of an asynchronous call: what to wait for, or `None` at its end.
    fn step<'py>(slf: &Bound<'py, Self>, step: PyResult<Step<'py>>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match step {
            Ok(Step::Yielded(awaited)) => return Ok(Some(awaited)),
            Ok(Step::Returned(result)) => Self::finish(slf, Ok(result))?,
            Err(error) => Self::finish(slf, Err(error))?,
        }
        Ok(None)
    }

    fn first_step<'py>(slf: &Bound<'py, Self>) -> PyResult<Step<'py>> {
        let (py, call) = (slf.py(), slf.get());
        let worker = call.worker.get();
        let Some(plan) = worker.plan(call.handler) else { return Err(not_loaded(call.handler)) };
        let coroutine = Self::call_function(slf, plan)?;
        *lock(&call.coroutine) = Some(coroutine.clone().unbind());
        raw::send(&coroutine, &py.None().into_bound(py))
    }

    /// The handler's coroutine, if the call has been entered.
    fn entered<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        lock(&self.coroutine).as_ref().map(|coroutine| coroutine.bind(py).clone())
    }

    /// Answers the daemon and lets go of everything.
    fn finish(slf: &Bound<'_, Self>, outcome: PyResult<Bound<'_, PyAny>>) -> PyResult<()> {
        let (py, call) = (slf.py(), slf.get());
        let worker = call.worker.get();
        if call.ending.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let state = lock(&call.state).take();
        let answered = match outcome {
            Ok(result) => match call.complete(&result, state.as_ref().map(|state| state.bind(py))) {
                Ok(()) => Ok(()),
                Err(error) => call.fail(py, &error, Failure::Result),
            },
            Err(error) => call.fail(py, &error, call.failure(py, &error)),
        };
        call.finished.store(true, Ordering::Release);
        drop(state);
        call.forget();
        worker.finished(py, call.id)?;
        answered
    }

    fn forget(&self) {
        let input = lock(&self.input).take();
        let coroutine = lock(&self.coroutine).take();
        let task = lock(&self.task).take();
        // Dropped only now, without a lock: user code may run when an object dies.
        drop((input, coroutine, task));
    }

    fn complete(&self, result: &Bound<'_, PyAny>, state: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let worker = self.worker.get();
        let reply = Reply::new(self.id, (worker.environment()?, worker.loaded()?), result, state)?;
        self.end_output(&worker.connection)?;
        worker.answer(&reply.header, &reply.parts())
    }

    fn fail(&self, py: Python<'_>, error: &PyErr, failure: Failure) -> PyResult<()> {
        let worker = self.worker.get();
        let described = worker.environment()?.describe(error, failure.name(), py)?;
        self.end_output(&worker.connection)?;
        worker.answer(&Header::failed(self.id), &[described.as_bytes()])
    }

    fn failure(&self, py: Python<'_>, error: &PyErr) -> Failure {
        let cancelled = self.cancelled.load(Ordering::Acquire)
            && self.worker.get().environment().is_ok_and(|environment| environment.is_cancelled(error, py));
        if cancelled { Failure::Cancelled } else { Failure::Raised }
    }
}

fn not_loaded(handler: u32) -> PyErr {
    PyRuntimeError::new_err(format!("handler {handler} is not loaded in this worker"))
}

#[pymethods]
impl Call {
    /// The next step, as asyncio's tasks ask for it.
    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, call) = (slf.py(), slf.get());
        if let Some(coroutine) = call.entered(py) {
            return Self::step(slf, raw::send(&coroutine, &py.None().into_bound(py)));
        }
        if call.is_finished() || !call.enter() {
            call.drop_it(py)?;
            return Ok(None);
        }
        Self::step(slf, Self::first_step(slf))
    }

    /// The same as `__next__`: nothing is ever sent to a task's coroutine.
    fn send<'py>(slf: &Bound<'py, Self>, _value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match Self::__next__(slf)? {
            Some(awaited) => Ok(awaited),
            None => Err(pyo3::exceptions::PyStopIteration::new_err(())),
        }
    }

    /// Raises an exception where the handler waits.
    #[pyo3(signature = (kind, value = None, _traceback = None))]
    fn throw<'py>(
        slf: &Bound<'py, Self>,
        kind: &Bound<'py, PyAny>,
        value: Option<&Bound<'py, PyAny>>,
        _traceback: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, call) = (slf.py(), slf.get());
        let exception = exception(kind, value)?;
        let Some(coroutine) = call.entered(py) else {
            if call.is_finished() || !call.enter() {
                call.drop_it(py)?;
            } else {
                Self::finish(slf, Err(PyErr::from_value(exception)))?;
            }
            return Err(pyo3::exceptions::PyStopIteration::new_err(()));
        };
        let step = match coroutine.call_method1(intern!(py, "throw"), (exception,)) {
            Ok(awaited) => Ok(Step::Yielded(awaited)),
            Err(error) if error.is_instance_of::<pyo3::exceptions::PyStopIteration>(py) => {
                error.value(py).getattr(intern!(py, "value")).map(Step::Returned)
            }
            Err(error) => Err(error),
        };
        match Self::step(slf, step)? {
            Some(awaited) => Ok(awaited),
            None => Err(pyo3::exceptions::PyStopIteration::new_err(())),
        }
    }

    /// Closes the handler's coroutine.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.entered(py) {
            Some(coroutine) => coroutine.call_method0(intern!(py, "close")).map(drop),
            None => Ok(()),
        }
    }

    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// Runs a plain function, in a thread of the pool.
    fn run(slf: &Bound<'_, Self>) -> PyResult<()> {
        let call = slf.get();
        let worker = call.worker.get();
        if !call.enter() {
            return call.drop_it(slf.py());
        }
        let Some(plan) = worker.plan(call.handler) else { return Self::finish(slf, Err(not_loaded(call.handler))) };
        let result = Self::call_function(slf, plan);
        Self::finish(slf, result)
    }

    /// A line of the handler's logger: `log_fn` of the generated state.
    fn __call__(
        slf: &Bound<'_, Self>,
        _handler: &Bound<'_, PyAny>,
        level: &str,
        message: &str,
        fields: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let worker = slf.get().worker.get();
        worker.log(slf.py(), Some(slf.get()), (level, message), Some(fields))
    }
}

impl Call {
    /// Forgets a call that the daemon has taken back.
    fn drop_it(&self, py: Python<'_>) -> PyResult<()> {
        if self.ending.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.finished.store(true, Ordering::Release);
        self.forget();
        self.worker.get().finished(py, self.id)
    }
}

fn exception<'py>(kind: &Bound<'py, PyAny>, value: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    if kind.is_instance_of::<PyBaseException>() {
        return Ok(kind.clone());
    }
    match value {
        Some(value) if value.is_instance_of::<PyBaseException>() => Ok(value.clone()),
        Some(value) => kind.call1((value,)),
        None => kind.call0(),
    }
}
