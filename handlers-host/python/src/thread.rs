//! How does a plain `def` handler run? In a thread of the pool, in a context of its own.

use pyo3::intern;
use pyo3::prelude::*;

use crate::call::Call;
use crate::connection::lock;

/// Runs a call in the current thread and answers it.
pub(crate) fn start(slf: &Bound<'_, Call>) {
    if let Err(error) = try_start(slf) {
        slf.get().abort(slf.py(), error);
    }
}

fn try_start(slf: &Bound<'_, Call>) -> PyResult<()> {
    let py = slf.py();
    let environment = slf.get().worker.get().environment()?;
    let context = environment.context(py)?;
    context.call_method1(intern!(py, "run"), (slf.getattr(intern!(py, "run"))?,))?;
    // An awaitable needs the loop. It goes on in a copy of this context.
    if lock(&slf.get().coroutine).is_some() { environment.resume(slf, &context) } else { Ok(()) }
}

/// The part inside of the context.
///
/// # Errors
///
/// When an awaitable can't be waited for.
pub(crate) fn run(slf: &Bound<'_, Call>) -> PyResult<()> {
    let (py, call) = (slf.py(), slf.get());
    if !call.enter(py) {
        return Ok(());
    }
    let environment = call.worker.get().environment()?;
    let outcome = if call.is_cancelled() { Err(environment.cancelled(py)) } else { Call::call_function(slf) };
    if let Ok(result) = &outcome
        && result.hasattr(intern!(py, "__await__"))?
    {
        *lock(&call.coroutine) = Some(environment.coroutine(result)?.unbind());
        return Ok(());
    }
    call.finish(py, &outcome);
    Ok(())
}
