//! Where do plain `def` handlers run? In a bounded number of Python threads that are started as they are needed.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;

use crate::call::Call;
use crate::connection::lock;
use crate::environment::Environment;
use crate::thread;

/// The threads and what waits for them. The queue is bounded by the daemon, which gives a worker no more calls than slots.
#[derive(Default)]
pub(crate) struct Pool {
    state: Mutex<State>,
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Py<Call>>,
    threads: usize,
    idle: usize,
    limit: usize,
}

impl Pool {
    /// Sets how many threads there may be.
    pub(crate) fn limit(&self, threads: usize) {
        lock(&self.state).limit = threads.max(1);
    }

    /// Hands over a call; starts another thread when all are busy and the limit allows it.
    ///
    /// # Errors
    ///
    /// When the first thread can't be started; as long as there is one, the call waits for it.
    pub(crate) fn submit(&self, environment: &Environment, call: &Bound<'_, Call>) -> PyResult<()> {
        let start = {
            let mut state = lock(&self.state);
            state.waiting.push_back(call.clone().unbind());
            let start = state.waiting.len() > state.idle && state.threads < state.limit;
            state.threads += usize::from(start);
            start
        };
        self.arrived.notify_one();
        if !start {
            return Ok(());
        }
        let py = call.py();
        let started =
            environment.support.bind(py).call_method1(intern!(py, "start_thread"), (call.get().worker.bind(py),));
        let Err(error) = started else { return Ok(()) };
        let mut state = lock(&self.state);
        state.threads -= 1;
        if state.threads > 0 {
            return Ok(());
        }
        state.waiting.pop_back();
        Err(error)
    }

    /// Takes a call back that no thread has begun with.
    pub(crate) fn withdraw(&self, id: u64) -> Option<Py<Call>> {
        let mut state = lock(&self.state);
        let at = state.waiting.iter().position(|call| call.get().id == id)?;
        state.waiting.remove(at)
    }

    /// Runs calls for ever, in a thread that Python started.
    pub(crate) fn serve(&self, py: Python<'_>) -> ! {
        loop {
            let call = py.detach(|| self.next());
            thread::start(call.bind(py));
        }
    }

    fn next(&self) -> Py<Call> {
        let mut state = lock(&self.state);
        state.idle += 1;
        loop {
            if let Some(call) = state.waiting.pop_front() {
                state.idle -= 1;
                return call;
            }
            state = self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
