//! How does a handler's coroutine run on the loop? Its first step at once, before there is a task; the others as a task's.
//!
//! A handler that never waits costs no task and no turn of the loop. While its first step runs, a blank [task object][tasks] is
//! the current one. When the handler waits, or somebody uses that object, it is initialised as the task that it looks like,
//! with the [`Call`] as its coroutine: the call first hands over what the handler already waits for.
//!
//! [tasks]: ../support/tasks.py

use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyAttributeError, PyBaseException, PyKeyboardInterrupt, PyStopIteration, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::call::Call;
use crate::connection::lock;
use crate::raw::{self, Step};

/// What a call's task has to be told at its first step.
pub(crate) enum Pending {
    /// The handler waits for this.
    Awaited(Py<PyAny>),
    /// The handler has ended.
    Ended(PyResult<Py<PyAny>>),
}

/// Where a step left the handler.
enum Progress<'py> {
    Waits(Bound<'py, PyAny>),
    /// With what its task is told; the daemon has its answer.
    Ended(PyResult<Bound<'py, PyAny>>),
}

/// A call whose first step is running.
pub(crate) struct Starting {
    pub(crate) task: Py<PyAny>,
    pub(crate) call: Py<Call>,
    pub(crate) context: Py<PyAny>,
    /// The task has been initialised.
    pub(crate) real: bool,
}

/// Starts a call: runs its first step.
///
/// # Errors
///
/// When the loop is broken; what the handler raises is answered.
pub(crate) fn start(slf: &Bound<'_, Call>) -> PyResult<()> {
    let py = slf.py();
    let worker = slf.get().worker.get();
    let environment = worker.environment()?;
    let Some(task) = environment.blank_task(py)? else { return start_task(slf) };
    let context = environment.context(py)?;
    worker.starting_push(Starting {
        task: task.clone().unbind(),
        call: slf.clone().unbind(),
        context: context.clone().unbind(),
        real: false,
    });
    let stepped = environment.first_step(&context, slf);
    let real = worker.starting_pop().is_some_and(|starting| starting.real);
    environment.leave_task(&task)?;
    stepped?;
    settle(slf, &task, &context, real)
}

/// Turns the blank task into a real one if the handler waits or somebody holds it.
fn settle(slf: &Bound<'_, Call>, task: &Bound<'_, PyAny>, context: &Bound<'_, PyAny>, real: bool) -> PyResult<()> {
    let call = slf.get();
    let waits = matches!(*lock(&call.pending), Some(Pending::Awaited(_)));
    if waits {
        *lock(&call.task) = Some(task.clone().unbind());
    }
    let kept = waits || real || !raw::is_alone(task);
    if !kept {
        let ended = lock(&call.pending).take();
        drop(ended);
        return Ok(());
    }
    let environment = call.worker.get().environment()?;
    if waits && !environment.takes_context {
        *lock(&call.context) = Some(context.clone().unbind());
    }
    if waits {
        call.worker.get().remember(slf);
    }
    if real { Ok(()) } else { environment.initialise_task(task, slf, context) }
}

/// Starts a call the ordinary way, by a task that runs all of its steps.
///
/// # Errors
///
/// When no task can be made.
pub(crate) fn start_task(slf: &Bound<'_, Call>) -> PyResult<()> {
    let call = slf.get();
    call.is_plain.store(true, Ordering::Relaxed);
    call.worker.get().remember(slf);
    let task = call.worker.get().environment()?.create_task(slf)?;
    *lock(&call.task) = Some(task);
    Ok(())
}

/// The first step, inside of the call's context: what comes of it is left in [`Call::pending`].
#[pyfunction]
pub(crate) fn first_step(call: &Bound<'_, Call>) {
    let pending = match enter(call) {
        Progress::Waits(awaited) => Pending::Awaited(awaited.unbind()),
        Progress::Ended(outcome) => Pending::Ended(outcome.map(Bound::unbind)),
    };
    *lock(&call.get().pending) = Some(pending);
}

/// A later step, inside of the call's context, on interpreters whose tasks can't be given one.
///
/// # Errors
///
/// What the handler raises; `StopIteration` at its end.
#[pyfunction]
pub(crate) fn later_step<'py>(call: &Bound<'py, Call>, exception: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let exception = (!exception.is_none()).then_some(exception);
    told(call, drive(call, exception))
}

/// The next step, as a task asks for it.
///
/// # Errors
///
/// What the handler raises; `StopIteration` at its end.
pub(crate) fn next<'py>(slf: &Bound<'py, Call>) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let pending = lock(&slf.get().pending).take();
    match pending {
        // A bare yield asks for one turn of the loop, which has passed.
        Some(Pending::Awaited(awaited)) if !awaited.is_none(py) => Ok(awaited.into_bound(py)),
        Some(Pending::Ended(outcome)) => told(slf, Progress::Ended(outcome.map(|value| value.into_bound(py)))),
        _ => step(slf, None),
    }
}

/// Raises an exception where the handler waits.
///
/// # Errors
///
/// What the handler raises; `StopIteration` at its end.
pub(crate) fn throw<'py>(
    slf: &Bound<'py, Call>,
    kind: &Bound<'py, PyAny>,
    value: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let exception = exception(kind, value)?;
    let pending = lock(&slf.get().pending).take();
    match pending {
        // The task was cancelled before it knew what the handler waits for, which is then cancelled in its place.
        Some(Pending::Awaited(awaited)) if !awaited.is_none(py) && cancel_awaited(awaited.bind(py), &exception)? => {
            Ok(awaited.into_bound(py))
        }
        Some(Pending::Ended(outcome)) => told(slf, Progress::Ended(outcome.map(|value| value.into_bound(py)))),
        _ => step(slf, Some(&exception)),
    }
}

/// Closes the handler's coroutine, when its task is destroyed.
///
/// # Errors
///
/// What the handler raises.
pub(crate) fn close(call: &Call, py: Python<'_>) -> PyResult<()> {
    match entered(call, py) {
        Some(coroutine) => coroutine.call_method0(intern!(py, "close")).map(drop),
        None => Ok(()),
    }
}

/// An attribute of the handler's coroutine.
///
/// # Errors
///
/// When there is no coroutine, or no such attribute.
pub(crate) fn attribute<'py>(call: &Call, py: Python<'py>, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    let text = name.to_cow()?;
    let known = text.starts_with("cr_") || matches!(&*text, "__name__" | "__qualname__");
    match entered(call, py) {
        Some(coroutine) if known => coroutine.getattr(name),
        _ => Err(PyAttributeError::new_err(format!("'Call' object has no attribute '{text}'"))),
    }
}

fn entered<'py>(call: &Call, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
    lock(&call.coroutine).as_ref().map(|coroutine| coroutine.bind(py).clone())
}

/// A step, in the context that belongs to the call.
fn step<'py>(slf: &Bound<'py, Call>, exception: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    let context = lock(&slf.get().context).as_ref().map(|context| context.clone_ref(slf.py()));
    match context {
        Some(context) => slf.get().worker.get().environment()?.later_step(context.bind(slf.py()), slf, exception),
        None => told(slf, drive(slf, exception)),
    }
}

fn drive<'py>(slf: &Bound<'py, Call>, exception: Option<&Bound<'py, PyAny>>) -> Progress<'py> {
    let (py, call) = (slf.py(), slf.get());
    match (entered(call, py), exception) {
        (Some(coroutine), None) => progress(slf, raw::send(&coroutine, &py.None().into_bound(py))),
        (Some(coroutine), Some(exception)) => progress(slf, thrown(&coroutine, exception)),
        (None, None) => enter(slf),
        // It is stopped before it began.
        (None, Some(exception)) if call.enter(py) => progress(slf, Err(PyErr::from_value(exception.clone()))),
        (None, Some(_)) => Progress::Ended(Ok(py.None().into_bound(py))),
    }
}

/// Enters the call and drives it up to its first wait.
fn enter<'py>(slf: &Bound<'py, Call>) -> Progress<'py> {
    let (py, call) = (slf.py(), slf.get());
    if !call.enter(py) {
        return Progress::Ended(Ok(py.None().into_bound(py)));
    }
    let first = Call::call_function(slf).and_then(|coroutine| {
        *lock(&call.coroutine) = Some(coroutine.clone().unbind());
        raw::send(&coroutine, &py.None().into_bound(py))
    });
    progress(slf, first)
}

/// Answers the daemon when a step was the last one.
fn progress<'py>(slf: &Bound<'py, Call>, step: PyResult<Step<'py>>) -> Progress<'py> {
    let outcome = match step {
        Ok(Step::Yielded(awaited)) => return Progress::Waits(awaited),
        Ok(Step::Returned(result)) => Ok(result),
        Err(error) => Err(error),
    };
    slf.get().finish(slf.py(), &outcome);
    Progress::Ended(outcome)
}

/// What a task wants to hear: what to wait for, or the end as an exception.
fn told<'py>(slf: &Bound<'py, Call>, progress: Progress<'py>) -> PyResult<Bound<'py, PyAny>> {
    match progress {
        Progress::Waits(awaited) => Ok(awaited),
        Progress::Ended(Ok(result)) => Err(PyStopIteration::new_err((result.unbind(),))),
        Progress::Ended(Err(error)) if is_harmless(slf, &error) => Err(error),
        Progress::Ended(Err(_)) => Err(PyStopIteration::new_err(())),
    }
}

/// Whether a task may hear of a failure. asyncio lets two exceptions end the loop, and has those reported that nobody asks
/// for; only for our own tasks is that report held back.
fn is_harmless(slf: &Bound<'_, Call>, error: &PyErr) -> bool {
    let py = slf.py();
    let ends = error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py);
    !ends && !slf.get().is_plain.load(Ordering::Relaxed)
}

fn thrown<'py>(coroutine: &Bound<'py, PyAny>, exception: &Bound<'py, PyAny>) -> PyResult<Step<'py>> {
    let py = coroutine.py();
    match coroutine.call_method1(intern!(py, "throw"), (exception,)) {
        Ok(awaited) => Ok(Step::Yielded(awaited)),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => {
            error.value(py).getattr(intern!(py, "value")).map(Step::Returned)
        }
        Err(error) => Err(error),
    }
}

/// Cancels a future with the message of a `CancelledError`; false when it is done already, or no future.
fn cancel_awaited(awaited: &Bound<'_, PyAny>, exception: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = awaited.py();
    let Ok(cancel) = awaited.getattr(intern!(py, "cancel")) else { return Ok(false) };
    match exception.getattr(intern!(py, "args"))?.get_item(0) {
        Ok(message) => cancel.call1((message,))?.is_truthy(),
        Err(_) => cancel.call0()?.is_truthy(),
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
